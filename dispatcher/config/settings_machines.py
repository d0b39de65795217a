"""The settings about several machines: a broker with workers, and shards. Part of `settings.py`'s table."""

from __future__ import annotations

from msgspec.structs import replace

from dispatcher.config.model import MixedWorkers
from dispatcher.config.setting import Group, Setting, switch, valued
from dispatcher.config.values import BROKER, PATH, SHARD, TEXT, TIME, choice, count, optional

MOST_WORKERS = 64
"""More workers than this on one machine share too little memory to be of use."""

TAIL = Setting(
    name="tail",
    target="tail",
    group=Group.QUEUE,
    kind=replace(TEXT, metavar="FILE"),
    summary="run nothing, but print what this file of a run on the broker prints, until it ends",
    default="nothing",
    options=("--tail",),
    in_file=False,
)

TAIL_RUN = Setting(
    name="run",
    target="tail_run",
    group=Group.QUEUE,
    kind=replace(TEXT, metavar="RUN"),
    summary="the run that --tail means, where several have that file",
    default="the one that has the file",
    options=("--run",),
    in_file=False,
)

MACHINES: tuple[Setting, ...] = (
    valued(
        "broker",
        "broker",
        Group.QUEUE,
        optional(BROKER),
        "the Redis or Valkey server over which workers elsewhere run the files",
        "none: this machine runs them",
        legacy="PASSMUSTER_BROKER_URL",
    ),
    valued(
        "broker-password-file",
        "broker_password_file",
        Group.QUEUE,
        optional(PATH),
        "a file that holds the server's password, so that no address has to",
        "none",
    ),
    valued(
        "secret-file",
        "secret_file",
        Group.QUEUE,
        optional(PATH),
        "a file that holds the secret by which this program and its workers know each other",
        "$PASSMUSTER_SECRET",
    ),
    valued(
        "wait-workers",
        "wait_workers_s",
        Group.QUEUE,
        TIME,
        "how long to wait for the first worker",
        "60s",
    ),
    valued(
        "mixed-workers",
        "mixed_workers",
        Group.QUEUE,
        choice(MixedWorkers),
        "what to do when workers have different interpreters or packages",
        MixedWorkers.WARN.value,
    ),
    valued(
        "cluster",
        "cluster",
        Group.QUEUE,
        optional(count(least=1, most=MOST_WORKERS)),
        "run over a server and this many workers of its own, all on this machine, to try that",
        "none",
        in_file=False,
    ),
    switch(
        "ship",
        "ship",
        Group.QUEUE,
        "send the project's files to the workers: what git tracks, and what it does not ignore",
    ),
    valued(
        "join",
        "join",
        Group.QUEUE,
        optional(TEXT),
        "take part in the run of this name on the broker, with every machine that says the same: one leads,"
        " all work, all end alike",
        "none: this machine alone leads, and workers run the files",
        in_file=False,
    ),
    valued(
        "shard",
        "shard",
        Group.SHARDS,
        optional(SHARD),
        "run only one of N parts, balanced by what files take; auto: as the CI's variables say",
        "everything",
        in_file=False,
    ),
    valued(
        "history-from",
        "history_from",
        Group.SHARDS,
        optional(PATH),
        "the history by which shards are balanced, the same on every machine",
        "none: shards are balanced by the number of files",
    ),
    valued(
        "record",
        "record",
        Group.SHARDS,
        optional(PATH),
        "write down all that happens below this folder, for merge",
        "none",
        in_file=False,
    ),
    TAIL,
    TAIL_RUN,
)
"""In the order of the help text."""
