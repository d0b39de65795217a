"""Reads the secret that signs messages, enforces it where one is required, and warns of weaknesses."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from passmuster.model.errors import ConfigurationError
from passmuster.wire.broker import BrokerAddress
from passmuster.wire.broker_settings import SECRET_VARIABLE

MIN_SECRET_CHARS = 16
"""Length below which a warning appears: 16 random letters and digits hold at least 80 bits."""

MAX_SECRETS = 2
"""Maximum number of valid secrets: a new one, and the one that it replaces."""

_CONTAINER_SECRETS = "/run/secrets/"
"""Directory in which container engines mount secrets, readable for every user of the container."""


def read_secret_file(path: Path, *, source: str) -> str:
    """Return the stripped content of a file with a secret or password, which the option `source` names.

    Raises:
        ConfigurationError: it cannot be read, or is empty.
    """
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{source} {path} cannot be read: {error}") from error
    if not text:
        raise ConfigurationError(f"{source} {path} is empty: write the secret or the password into it")
    return text


def require_secret(address: BrokerAddress, secret: str) -> None:
    """Refuse a broker without a secret if other users can reach it: they could start tests.

    Every user of this machine can reach a port on the loopback address. A socket in the file system is
    trusted without a secret if only its owner, who is this user or root, can connect to it.

    Raises:
        ConfigurationError: the secret is empty, and it is required; or there are more than two.
    """
    if len(secret.splitlines()) > MAX_SECRETS:
        raise ConfigurationError(
            f"the secret has {len(secret.splitlines())} lines: give one secret, or two on two lines while "
            "the first replaces the second"
        )
    if secret or (address.path and _is_private_socket(address.path)):
        return
    who = "other users of this machine" if address.is_loopback else "other machines"
    raise ConfigurationError(
        f"the broker {address.shown} can be reached from {who} and there is no secret: set "
        f"{SECRET_VARIABLE} to the same value for the dispatcher and all workers, "
        "or use --secret-file"
    )


def secret_warnings(address: BrokerAddress, secret: str, *, file: Path | None) -> tuple[str, ...]:
    """Return the weaknesses of the protection of messages, one line each.

    The secret was read from `file`, or from the environment if that is None; it is "" if none is required.
    """
    source = str(file) if file is not None else SECRET_VARIABLE
    found = []
    shortest = min((len(line) for line in secret.splitlines() if line.strip()), default=MIN_SECRET_CHARS)
    if shortest < MIN_SECRET_CHARS:
        found.append(
            f"the secret in {source} has {shortest} characters and can be guessed: use at least "
            f"{MIN_SECRET_CHARS} random ones"
        )
    if file is not None and _others_can_read(file):
        found.append(f"all users of this machine can read the secret in {file}: run `chmod 600` on it")
    if address.tls is None and not address.is_loopback:
        scheme = "rediss" if address.sentinel is None else "sentinels"
        found.append(
            f"the connection to {address.shown} is not encrypted: others in the network can read the "
            f"password and the results; use {scheme}:// with a server that has TLS"
        )
    return tuple(found)


def _is_private_socket(path: str) -> bool:
    """Whether a socket belongs to this user or root, and no other user has the write access to connect."""
    try:
        status = os.stat(path)  # noqa: PTH116 - the path is a text.
    except OSError:
        return True  # A missing socket is reported when it is opened.
    is_trusted = status.st_uid in (0, os.geteuid())
    return is_trusted and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _others_can_read(path: Path) -> bool:
    path = path.absolute()
    if str(path).startswith(_CONTAINER_SECRETS):
        return False
    try:
        is_readable = bool(path.stat().st_mode & stat.S_IROTH)
        return is_readable and all(folder.stat().st_mode & stat.S_IXOTH for folder in path.parents)
    except OSError:
        return False
