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
from passmuster.settings.argument_parser import (
    read_record,
    read_variables,
    refuse_problems,
    refuse_unknown,
    strongest_values,
)
from passmuster.settings.origins import Origin, Origins, Source, rename_notes
from passmuster.settings.path_resolver import PathResolver
from passmuster.settings.relations import Relations
from passmuster.wire.broker import BrokerAddress, parse_broker, with_password
from passmuster.wire.broker_settings import BROKER_VARIABLE, SECRET_VARIABLE, visible_password_warning
from passmuster.wire.signing_secret import read_secret_file, require_secret, secret_warnings
from worker.queue.command_line import ROWS, WORDS, WorkerArguments


class Options(Struct, frozen=True, kw_only=True):
    """A worker's validated options."""

    arguments: WorkerArguments
    """The options as given. The fields below are derived from them."""
    broker: BrokerAddress
    secret: str
    """Signs messages; empty: the signature only detects damage."""
    root: Path | None
    """The project's root, absolute; None: only uploaded trees are served."""
    workdir: Path | None
    """Working directory of the tests, absolute, inside the root; None: there is no root."""
    name: str
    """Unique among all workers."""
    warnings: tuple[str, ...] = ()
    """Weaknesses of the protection of messages, and notes on former names of options, a line each."""

    __repr__ = repr_without("arguments", "secret")


def read_options(argv: Sequence[str], environ: Mapping[str, str], *, needs_secret: bool = True) -> Options:
    """Return the options from the command line and the environment.

    Args:
        needs_secret: whether a missing secret is refused; without it, no message can be signed or verified.

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
    if needs_secret:
        require_secret(broker, secret)
    warnings = [*rename_notes(given.values()), *([warning] if warning else [])]
    warnings += secret_warnings(broker, secret, file=secret_file)
    root, workdir = _folders(found.root, found.workdir)
    return Options(
        arguments=found,
        broker=broker,
        secret=secret,
        root=root,
        workdir=workdir,
        name=found.name or f"{_host()}-{secrets.token_hex(4)}",
        warnings=tuple(warnings),
    )


def _secret(found: WorkerArguments, environ: Mapping[str, str], source: Origin) -> tuple[str, Path | None]:
    """Return the secret, and the file that it was read from; None: the environment."""
    if found.secret_file is None:
        return environ.get(SECRET_VARIABLE, ""), None
    return read_secret_file(found.secret_file, source=source.name), found.secret_file


def _folders(root: Path | None, workdir: Path | None) -> tuple[Path | None, Path | None]:
    """Return the root, and the working directory of the tests."""
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
