"""Defines the options of the queue worker."""

# Without `from __future__ import annotations`: the annotations are the table.

import re
from pathlib import Path
from typing import Annotated

from msgspec import Struct
from msgspec.structs import replace

from passmuster.metrics.options import LISTEN, METRICS_FILE_SUMMARY, METRICS_SUMMARY, ListenAddress
from passmuster.model.status import Isolation
from passmuster.model.units import Amount
from passmuster.settings.argument_parser import ArgumentParser
from passmuster.settings.help import program_help
from passmuster.settings.setting import Requirement, flag, option, rows_of
from passmuster.settings.values import MODULES, PATH, SIZE, TEXT, TIME, VARIABLES, ValueType, choice, count
from passmuster.wire.broker_settings import (
    BROKER,
    BROKER_ROW,
    BROKER_VARIABLE,
    PASSWORD_FILE_ROW,
    SECRET_FILE_ROW,
    SECRET_VARIABLE,
    own_variables,
)
from worker.queue.log import LogFormat

HEALTH = "health"
"""The subcommand that checks a worker from outside."""

DEFAULT_GRACE_S = 5.0
MAX_SLOTS = 4096
"""A larger number is a typing error."""

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NAME_ALLOWED = "up to 64 letters, digits, dots, dashes and underscores"


def _read_name(text: str) -> str:
    if _NAME.fullmatch(text) is None:
        raise ValueError(f"expected {_NAME_ALLOWED}, got {ascii(text)[:80]}")
    return text


WORKER_NAME = ValueType(parse=_read_name, expected=_NAME_ALLOWED, metavar="NAME")
FOLDER = replace(PATH, metavar="DIR")


class WorkerArguments(Struct, frozen=True, kw_only=True):
    """The values of a worker's options and environment variables."""

    broker: Annotated[
        str | None,
        replace(
            BROKER_ROW,
            type=BROKER,
            summary="the Redis or Valkey server from which the worker gets files",
            default=f"${BROKER_VARIABLE}",
        ),
    ] = None
    root: Annotated[
        Path | None,
        option("root", FOLDER, "the project's root", default="none: only runs with --ship are served"),
    ] = None
    workdir: Annotated[
        Path | None,
        option(
            "workdir",
            FOLDER,
            "working directory of the tests",
            default="the root",
            needs=(Requirement(name="root", what="a root (a run with --ship brings its own)"),),
        ),
    ] = None
    setup: Annotated[
        str,
        option(
            "setup",
            replace(TEXT, metavar="COMMAND"),
            "shell command to run once in each tree uploaded by --ship",
            default="nothing",
        ),
    ] = ""
    python: Annotated[
        str | None,
        option(
            "python", replace(TEXT, metavar="PATH"), "the interpreter for tests", default="the project's own"
        ),
    ] = None
    slots: Annotated[
        int | None,
        option(
            "slots",
            count(minimum=1, maximum=MAX_SLOTS),
            "maximum number of concurrent files",
            default="what CPUs and memory allow",
        ),
    ] = None
    memory_budget: Annotated[
        Amount | None,
        option(
            "memory-budget",
            SIZE,
            "memory for all files together, such as 4GiB or 80%",
            default="the smaller of 4 GiB and 80% of what is available",
        ),
    ] = None
    memory_limit: Annotated[
        Amount | None, option("memory-limit", SIZE, "memory for one file", default="the budget")
    ] = None
    machine_memory: Annotated[
        Amount | None,
        option("machine-memory", SIZE, "memory for all runs and workers on this machine", default="80%"),
    ] = None
    machine_folder: Annotated[
        Path | None,
        option(
            "machine-folder",
            FOLDER,
            "where runs of several users or containers share the machine",
            default="one of the user's own",
        ),
    ] = None
    nice: Annotated[bool, flag("nice", "give way to other programs and runs")] = False
    isolation: Annotated[Isolation, option("isolation", choice(Isolation), "start method of files")] = (
        Isolation.AUTO
    )
    preload: Annotated[
        tuple[str, ...],
        option("preload", MODULES, "packages to import before forks; may be repeated"),
    ] = ()
    keep_tmp: Annotated[bool, flag("keep-tmp", "keep the TMPDIR of files that do not pass")] = False
    name: Annotated[
        str | None,
        option("name", WORKER_NAME, "unique name of this worker", default="host and a number"),
    ] = None
    secret_file: Annotated[
        Path | None,
        replace(SECRET_FILE_ROW, summary="file with the secret that signs messages, readable only by you"),
    ] = None
    broker_password_file: Annotated[
        Path | None, replace(PASSWORD_FILE_ROW, summary="file with the broker's password")
    ] = None
    allow_env: Annotated[
        tuple[str, ...],
        option("allow-env", VARIABLES, "variables that runs may set; may be repeated"),
    ] = ()
    only_run_id: Annotated[
        str,
        option(
            "only-run-id",
            replace(TEXT, metavar="RUN"),
            "serve only the run with this ID",
            default="all runs",
            renamed_from="only-run",
        ),
    ] = ""
    grace_period: Annotated[
        float,
        option(
            "grace-period", TIME, "how long running files may continue after SIGTERM", renamed_from="grace"
        ),
    ] = DEFAULT_GRACE_S
    log_format: Annotated[LogFormat, option("log-format", choice(LogFormat), "format of log lines")] = (
        LogFormat.PLAIN
    )
    metrics: Annotated[ListenAddress | None, option("metrics", LISTEN, METRICS_SUMMARY)] = None
    metrics_file: Annotated[Path | None, option("metrics-file", PATH, METRICS_FILE_SUMMARY)] = None
    exit_with_stdin: Annotated[
        bool, flag("exit-with-stdin", "shut down immediately when standard input is closed")
    ] = False


ROWS = rows_of(WorkerArguments)
WORDS = ArgumentParser(ROWS)
OWN_VARIABLES = own_variables(ROWS)
"""Variables that configure the worker; tests never see them."""


def format_help(program: str) -> str:
    """Return the help text, without a final newline."""
    return program_help(
        f"{program} [{HEALTH}] [OPTION...]",
        "Runs the test files that dispatchers put on a queue.",
        ROWS,
        notes=(
            f"The secret that signs messages comes from {SECRET_VARIABLE} or --secret-file.",
            f"{program} {HEALTH} asks the broker about the worker of --name, or any of this host,",
            "and exits with 0 (healthy), 1 (not healthy), 2 (wrong option), or 3 (broker unavailable).",
        ),
    )
