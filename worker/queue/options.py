"""Validates the options of a worker from its arguments and environment variables.

Imports nothing slow, so a wrong argument is refused immediately.
"""

from __future__ import annotations

import re
import secrets
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from passmuster.model.errors import ConfigurationError
from passmuster.model.hidden_fields import repr_without
from passmuster.model.status import Isolation
from passmuster.model.units import Amount
from passmuster.settings.argument_parser import (
    read_record,
    read_variables,
    refuse_problems,
    refuse_unknown,
    strongest_values,
)
from passmuster.settings.locations import PathResolver
from passmuster.settings.origins import Origin, Origins, Source, rename_notes
from passmuster.settings.relations import Relations
from passmuster.wire.broker import BrokerAddress, parse_broker, with_password
from passmuster.wire.broker_settings import BROKER_VARIABLE, SECRET_VARIABLE, visible_password_warning
from passmuster.wire.signing_secret import read_secret_file, require_secret, secret_warnings
from worker.queue.command_line import ROWS, WORDS, WorkerArguments
from worker.queue.log import LogFormat


class Options(Struct, frozen=True, kw_only=True):
    """What a worker was started with.

    Args:
        broker: where messages come from.
        secret: what signs them; empty: they are only guarded against damage.
        root: the project's root, absolute; None: only uploaded trees are served.
        workdir: where tests run, absolute, inside the root; None: there is no root.
        setup: shell command to run once in each uploaded tree; empty: none.
        python: the interpreter as it was named; None: the project's own.
        slots: files at once; None: what the machine allows.
        memory_budget: for all files together; None: the default.
        memory_limit: for one file; None: the budget.
        machine_memory: for the files of all runs and workers on this machine; None: 80 % of what it can give.
        machine_folder: where they meet to share it, absolute; None: in a folder of the user's own.
        nice: whether it gives way to other programs and runs.
        isolation: start method of files whose tasks set none.
        preload: the project's own packages that may be imported before a fork.
        keep_tmp: whether the TMPDIR of a file that does not pass is kept.
        name: unique among all workers.
        grace_s: seconds for which running files may continue after SIGTERM.
        allowed: names of variables that tasks may set in addition to Passmuster's own.
        only_run: the id of the one run that it serves; empty: all.
        ends_with_stdin: whether the worker ends when its standard input does.
        log_format: the form of the lines it prints.
        warnings: what weakens the protection of messages, a line each.
    """

    broker: BrokerAddress
    secret: str
    root: Path | None
    workdir: Path | None
    setup: str
    python: str | None
    slots: int | None
    memory_budget: Amount | None
    memory_limit: Amount | None
    isolation: Isolation
    preload: tuple[str, ...]
    keep_tmp: bool
    name: str
    grace_s: float
    allowed: tuple[str, ...]
    only_run: str = ""
    machine_memory: Amount | None = None
    machine_folder: Path | None = None
    nice: bool = False
    ends_with_stdin: bool
    log_format: LogFormat
    warnings: tuple[str, ...] = ()

    __repr__ = repr_without("secret")


def read_options(argv: Sequence[str], environ: Mapping[str, str]) -> Options:
    """Return what the words and the environment ask for.

    Raises:
        ConfigurationError: an option is missing, unknown, or invalid.
    """
    arguments = WORDS.parse(argv)
    refuse_problems(arguments)
    refuse_unknown((*arguments.unknown, *arguments.paths), WORDS)
    given = strongest_values((*read_variables(ROWS, environ), *arguments.given))
    cwd = Path.cwd()
    found = read_record(WorkerArguments, given.values(), PathResolver(cwd=cwd, root=cwd))
    origins = Origins({name: one.origin for name, one in given.items()})
    Relations(ROWS, found, origins).check()
    if found.broker is None:
        raise ConfigurationError(f"no broker was given: use --broker URL, or set {BROKER_VARIABLE}")
    source = origins["broker"]
    broker = parse_broker(found.broker, source=source.name)
    is_visible = source.source is Source.ARGUMENT
    warning = visible_password_warning(broker, option=source.name) if is_visible else None
    if found.broker_password_file is not None:
        source = origins["broker-password-file"]
        broker = with_password(broker, read_secret_file(found.broker_password_file, source=source.name))
    secret, secret_file = _secret(found, environ, origins["secret-file"])
    require_secret(broker, secret)
    warnings = [*rename_notes(given.values()), *([warning] if warning else [])]
    warnings += secret_warnings(broker, secret, file=secret_file)
    root, workdir = _folders(found.root, found.workdir)
    return Options(
        broker=broker,
        secret=secret,
        root=root,
        workdir=workdir,
        setup=found.setup,
        python=found.python,
        slots=found.slots,
        memory_budget=found.memory_budget,
        memory_limit=found.memory_limit,
        machine_memory=found.machine_memory,
        machine_folder=found.machine_folder,
        nice=found.nice,
        isolation=found.isolation,
        preload=found.preload,
        keep_tmp=found.keep_tmp,
        name=found.name or f"{_host()}-{secrets.token_hex(4)}",
        grace_s=found.grace_period,
        allowed=found.allow_env,
        only_run=found.only_run_id,
        ends_with_stdin=found.exit_with_stdin,
        log_format=found.log_format,
        warnings=tuple(warnings),
    )


def _secret(found: WorkerArguments, environ: Mapping[str, str], source: Origin) -> tuple[str, Path | None]:
    """Return the secret, and the file that it was read from; None: it is in the environment."""
    if found.secret_file is None:
        return environ.get(SECRET_VARIABLE, ""), None
    return read_secret_file(found.secret_file, source=source.name), found.secret_file


def _folders(root: Path | None, workdir: Path | None) -> tuple[Path | None, Path | None]:
    """Return the root, and the folder tests run in."""
    if root is None:
        return None, None
    top = _folder(root, "--root")
    inside = top if workdir is None else _folder(workdir, "--workdir")
    if not inside.is_relative_to(top):
        raise ConfigurationError(f"--workdir {inside} must be inside the root {top}")
    return top, inside


def _folder(path: Path, source: str) -> Path:
    if not path.is_dir():
        raise ConfigurationError(f"{source} {path} is not a directory")
    return path.resolve()


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname().partition(".")[0])[:40] or "worker"
