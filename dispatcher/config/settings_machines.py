"""The settings for several machines: a broker with workers, and shards. A part of the table."""

# Without `from __future__ import annotations`: the annotations are the table.

from functools import partial
from pathlib import Path
from typing import Annotated

from msgspec.structs import replace

from dispatcher.config.choices import SHARD, MixedWorkers, Mode
from dispatcher.config.settings_reports import ReportSettings
from dispatcher.model.shard_option import Shard
from passmuster.model.hidden_fields import repr_without
from passmuster.settings.setting import Conflict, Group, Requirement, option, setting, switch
from passmuster.settings.values import OUTPUT_DIRECTORY, PATH, RUN_NAME, TEXT, TIME, choice, count, optional
from passmuster.wire.broker_settings import BROKER_ROW, PASSWORD_FILE_ROW, SECRET_FILE_ROW

DEFAULT_WORKER_TIMEOUT_S = 60.0
"""Seconds to wait for the first worker: a container takes several to start."""

MAX_WORKERS = 64
"""More workers than this on one machine have too little memory each."""

_queue = partial(setting, group=Group.QUEUE)
_shards = partial(setting, group=Group.SHARDS)


class MachineSettings(ReportSettings, frozen=True, kw_only=True):
    """Which machines run the files, and what they share."""

    broker: Annotated[str | None, BROKER_ROW] = None
    broker_password_file: Annotated[Path | None, PASSWORD_FILE_ROW] = None
    secret_file: Annotated[Path | None, SECRET_FILE_ROW] = None
    worker_timeout_s: Annotated[
        float,
        _queue("worker-timeout", TIME, "how long to wait for the first worker", renamed_from="wait-workers"),
    ] = DEFAULT_WORKER_TIMEOUT_S
    mixed_workers: Annotated[
        MixedWorkers,
        _queue(
            "mixed-workers",
            choice(MixedWorkers),
            "what to do when workers have different interpreters or packages",
        ),
    ] = MixedWorkers.WARN
    cluster: Annotated[
        int | None,
        _queue(
            "cluster",
            optional(count(minimum=1, maximum=MAX_WORKERS)),
            "try a distributed run on this machine: start a server and this many workers for it",
            in_file=False,
            conflicts=(Conflict(name="broker", why="a cluster brings its own server"),),
        ),
    ] = None
    ship: Annotated[
        bool,
        switch(
            "ship",
            "send the project's files to the workers: those that git tracks or does not ignore",
            group=Group.QUEUE,
            needs=(Requirement(name="broker", what="a broker with workers elsewhere", of_this_call=True),),
            conflicts=(
                Conflict(
                    name="join", why="machines that join a run have the files already", of_this_call=True
                ),
            ),
        ),
    ] = False
    join: Annotated[
        str | None,
        _queue(
            "join",
            optional(RUN_NAME),
            "join the run of this name: every machine runs this command, one is elected leader, and all"
            " report the same result",
            default="none: this machine alone leads, and workers run the files",
            in_file=False,
            needs=(Requirement(name="broker", what="a broker that all machines reach"),),
            conflicts=(
                Conflict(name="cluster", why="no other machine reaches the server of a cluster"),
                Conflict(name="record", why="every machine that joins has all reports"),
                Conflict(name="resume", why="a machine that joins again resumes by itself"),
                Conflict(
                    name="failed", why="each machine has its own history, and the next round runs what failed"
                ),
                Conflict(name="changed", why="each machine has its own history"),
                Conflict(name="explain", why="it runs nothing"),
                Conflict(name="mode", why="it runs nothing", values=(Mode.DRY_RUN,)),
            ),
        ),
    ] = None
    shard: Annotated[
        Shard | None,
        _shards(
            "shard",
            optional(SHARD),
            "run only one of N shards, balanced by predicted time; auto: as the CI's variables say",
            default="everything",
            in_file=False,
            conflicts=(
                Conflict(
                    name="failed", why="every machine has its own history, so their shards would differ"
                ),
                Conflict(name="broker", why="a broker gives each file to any free worker"),
                Conflict(name="cluster", why="a cluster gives each file to any free worker"),
                Conflict(name="join", why="a joined run gives each file to any free machine"),
            ),
        ),
    ] = None
    history_from: Annotated[
        Path | None,
        _shards(
            "history-from",
            optional(PATH),
            "balance shards, and compare files for --changed and --cached, with this history file; shards"
            " need the same one on every machine",
            default="none: shards are balanced by the number of files",
            only_with=("shard", "changed", "cached"),
        ),
    ] = None
    record: Annotated[
        Path | None,
        _shards(
            "record",
            optional(OUTPUT_DIRECTORY),
            "record the run's events below this directory, for merge",
            in_file=False,
        ),
    ] = None
    tail: Annotated[
        str | None,
        option(
            "tail",
            replace(TEXT, metavar="FILE"),
            "run nothing; print the output of this file of a run on the broker until it finishes",
            group=Group.QUEUE,
            default="nothing",
            conflicts=(
                Conflict(name="mode", why="each asks for something else"),
                Conflict(name="paths", why="--tail follows one file and runs nothing"),
            ),
        ),
    ] = None
    tail_run_id: Annotated[
        str | None,
        option(
            "run-id",
            replace(TEXT, metavar="RUN"),
            "the run that --tail follows, if several contain the file",
            group=Group.QUEUE,
            default="the one that contains the file",
            renamed_from="run",
            needs=(Requirement(name="tail", what="the file to follow"),),
        ),
    ] = None

    __repr__ = repr_without("broker")
