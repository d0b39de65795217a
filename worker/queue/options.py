"""What a worker is started with: its arguments and the variables that stand for some of them, checked.

Nothing slow is imported here: a wrong argument is refused at once.
"""

from __future__ import annotations

import re
import secrets
import socket
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path

from msgspec import Struct

from passmuster.model.errors import ConfigurationError
from passmuster.model.hidden_fields import repr_without
from passmuster.model.status import Isolation
from passmuster.model.units import Amount, parse_amount, parse_seconds
from passmuster.settings.option_parser import OptionParser
from passmuster.wire.broker import (
    BROKER_VARIABLE,
    DEFAULT_SECRET_VARIABLE,
    BrokerAddress,
    parse_broker,
    visible_password_warning,
    with_password,
)
from passmuster.wire.signing_secret import read_secret_file, require_secret, secret_warnings
from worker.queue.log import LogFormat

DEFAULT_GRACE = "5s"

PASSWORD_FILE_VARIABLE = "PASSMUSTER_BROKER_PASSWORD_FILE"
SECRET_FILE_VARIABLE = "PASSMUSTER_SECRET_FILE"
"""Name a file each, where no argument does: what a container is started with can be seen by others."""

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Options(Struct, frozen=True, kw_only=True):
    """What a worker was started with.

    Args:
        broker: where messages come from.
        secret: what signs them; empty: they are only guarded against damage.
        root: the project's root, absolute; None: only shipped trees are served.
        workdir: where tests run, absolute, inside the root; None: there is no root.
        setup: what is run once in each shipped tree, for the shell; empty: nothing.
        python: the interpreter as it was named; None: the project's own.
        slots: files at once; None: what the machine allows.
        memory_budget: for all files together; None: the default.
        memory_limit: for one file; None: the budget.
        machine_memory: for the files of all runs and workers on this machine; None: 80 % of what it can give.
        machine_folder: where they meet to share it, absolute; None: in a folder of the user's own.
        nice: whether it gives way to other programs and runs.
        isolation: how processes come into being where tasks say nothing.
        preload: the project's own packages that may be imported before a fork.
        keep_tmp: whether the TMPDIR of a file that does not pass is kept.
        name: unique among all workers.
        grace_s: seconds that running files may go on when the worker is asked to end.
        allowed: names of variables that tasks may set, besides our own.
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


def read_options(argv: Sequence[str], environ: MutableMapping[str, str]) -> Options:
    """Return what the words and the environment ask for.

    Raises:
        ConfigurationError: something is missing, unknown, or is not what it must be.
        SystemExit: the help or the version was printed (status 0).
    """
    parser = _parser()
    found, unknown = parser.parse_known_args(argv)
    if unknown:
        parser.refuse_misspelt(unknown)
        raise ConfigurationError(f"unknown argument: {ascii(unknown[0])[1:-1]}; see --help")
    url, source = found.broker, "--broker"
    if url is None:
        url, source = environ.get(BROKER_VARIABLE, ""), BROKER_VARIABLE
    if not url:
        raise ConfigurationError(f"no broker was given: use --broker URL, or set {BROKER_VARIABLE}")
    broker = parse_broker(url, source=source)
    warning = visible_password_warning(broker, option=source) if source == "--broker" else None
    password_file, password_source = found.broker_password_file, "--broker-password-file"
    if password_file is None:
        password_file, password_source = environ.get(PASSWORD_FILE_VARIABLE), PASSWORD_FILE_VARIABLE
    if password_file:
        broker = with_password(broker, read_secret_file(Path(password_file), source=password_source))
    secret, secret_file = _secret(found.secret_file, environ)
    require_secret(broker, secret)
    warnings = [warning] if warning else []
    warnings += secret_warnings(broker, secret, file=secret_file)
    root, workdir = _folders(found.root, found.workdir)
    name = found.name or f"{_host()}-{secrets.token_hex(4)}"
    if _NAME.fullmatch(name) is None:
        raise ConfigurationError(
            f"--name must have up to 64 letters, digits, dots, dashes and underscores, got {ascii(name)[:80]}"
        )
    for variable in found.allow_env:
        if _VARIABLE.fullmatch(variable) is None:
            raise ConfigurationError(
                f"--allow-env must be the name of a variable, got {ascii(variable)[:80]}"
            )
    if found.slots is not None and found.slots < 1:
        raise ConfigurationError(f"--slots must be at least 1, got {found.slots}")
    try:
        grace_s = parse_seconds(found.grace)
    except ValueError as error:
        raise ConfigurationError(f"--grace: {error}") from error
    return Options(
        broker=broker,
        secret=secret,
        root=root,
        workdir=workdir,
        setup=found.setup,
        python=found.python,
        slots=found.slots,
        memory_budget=_amount(found.memory_budget, "--memory-budget"),
        memory_limit=_amount(found.memory_limit, "--memory-limit"),
        machine_memory=_amount(found.machine_memory, "--machine-memory"),
        machine_folder=None if found.machine_folder is None else Path(found.machine_folder).absolute(),
        nice=found.nice,
        isolation=Isolation(found.isolation),
        preload=tuple(found.preload),
        keep_tmp=found.keep_tmp,
        name=name,
        grace_s=grace_s,
        allowed=tuple(found.allow_env),
        only_run=found.only_run,
        ends_with_stdin=found.exit_with_stdin,
        log_format=LogFormat(found.log_format),
        warnings=tuple(warnings),
    )


def _parser() -> OptionParser:
    parser = OptionParser(
        prog="run-tests-worker",
        description="Run the test files that dispatchers put on a queue.",
        epilog=f"The secret that signs messages comes from {DEFAULT_SECRET_VARIABLE} or --secret-file.",
    )
    add = parser.add_argument
    add("--broker", metavar="URL", help=f"where messages come from (or {BROKER_VARIABLE})")
    add("--root", metavar="DIR", help="the project's root (default: none, for runs with --ship alone)")
    add("--workdir", metavar="DIR", help="the folder tests run in (default: the root)")
    add("--setup", metavar="COMMAND", default="", help="run once in each tree that a run with --ship sends")
    add("--python", metavar="PATH", help="the interpreter for tests (default: the project's own)")
    add("--slots", metavar="N", type=int, help="files at once (default: what CPUs and memory allow)")
    add("--memory-budget", metavar="SIZE", help="memory for all files together, such as 4GiB or 80%%")
    add("--memory-limit", metavar="SIZE", help="memory for one file (default: the budget)")
    add("--machine-memory", metavar="SIZE", help="memory for all runs and workers on this machine (80%%)")
    add("--machine-folder", metavar="DIR", help="where runs of several users or containers share the machine")
    add("--nice", action="store_true", help="give way to other programs and runs")
    add("--isolation", choices=[one.value for one in Isolation], default="auto", help="how files are started")
    add("--preload", metavar="NAME", action="append", default=[], help="a package to import before forks")
    add("--keep-tmp", action="store_true", help="keep the TMPDIR of files that do not pass")
    add("--name", metavar="NAME", help="how this worker is called; unique (default: host and a number)")
    add("--secret-file", metavar="FILE", help="a file that holds the secret, readable by you alone")
    add("--broker-password-file", metavar="FILE", help="a file that holds the broker's password")
    add("--allow-env", metavar="NAME", action="append", default=[], help="a variable that runs may set")
    add("--only-run", metavar="RUN", default="", help="serve the run of this id alone (default: all runs)")
    add("--grace", metavar="TIME", default=DEFAULT_GRACE, help="how long files may go on at SIGTERM (5s)")
    add("--log-format", choices=[one.value for one in LogFormat], default="plain", help="lines, or JSON")
    add("--exit-with-stdin", action="store_true", help="end at once when standard input ends")
    return parser


def _secret(file_name: str | None, environ: Mapping[str, str]) -> tuple[str, Path | None]:
    """Return the secret, and the file that it was read from; None: it is in the environment."""
    source = "--secret-file"
    if file_name is None:
        file_name, source = environ.get(SECRET_FILE_VARIABLE), SECRET_FILE_VARIABLE
    if file_name:
        return read_secret_file(Path(file_name), source=source), Path(file_name)
    return environ.get(DEFAULT_SECRET_VARIABLE, ""), None


def _folders(root: str | None, workdir: str | None) -> tuple[Path | None, Path | None]:
    """Return the root, and the folder tests run in."""
    if root is None:
        if workdir is not None:
            raise ConfigurationError(f"--workdir {workdir} needs --root: a run with --ship brings its own")
        return None, None
    top = _folder(root, "--root")
    inside = top if workdir is None else _folder(workdir, "--workdir")
    if not inside.is_relative_to(top):
        raise ConfigurationError(f"--workdir {inside} must be inside the root {top}")
    return top, inside


def _folder(text: str, source: str) -> Path:
    path = Path(text).resolve()
    if not path.is_dir():
        raise ConfigurationError(f"{source} {text} is no folder")
    return path


def _amount(text: str | None, source: str) -> Amount | None:
    try:
        return None if text is None else parse_amount(text)
    except ValueError as error:
        raise ConfigurationError(f"{source}: {error}") from error


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname().partition(".")[0])[:40] or "worker"
