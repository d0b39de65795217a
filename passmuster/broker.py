"""Where the broker is: its address as the user wrote it, checked, and fit to be shown.

Purely about text: `run_record.connect` goes there, `passmuster.server_check` judges what is there.
"""

from __future__ import annotations

import ipaddress
from dataclasses import field
from urllib.parse import SplitResult, parse_qs, quote, urlsplit, urlunsplit

from passmuster.errors import ConfigurationError
from passmuster.records import dataclass

DEFAULT_SECRET_VARIABLE = "PASSMUSTER_SECRET"
"""Where the secret that signs messages comes from. Never an argument: those can be seen by everybody."""

BROKER_VARIABLE = "PASSMUSTER_BROKER_URL"
"""Where the address comes from when no argument gives it."""

_ALLOWED = "redis://[:password@]host[:port][/database], or redis+socket:///path/of/the.socket"
_DEFAULT_PORT = 6379
_MOST_PORT = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAddress:
    """A broker's address.

    Args:
        url: as the user wrote it, with the password.
        host: its name or number; empty for a socket in the file system.
        port: 0 for a socket in the file system.
        database: which of the server's databases.
        path: the socket in the file system; empty: there is none.
        is_loopback: whether only this machine can reach it.
        shown: the address without the user's name and the password.
    """

    url: str = field(repr=False)
    host: str
    port: int
    database: int
    path: str
    is_loopback: bool
    shown: str


def parse_broker(url: str, *, source: str) -> BrokerAddress:
    """Return the address that `url` means.

    Args:
        url: what the user wrote.
        source: where it came from (`--broker`), for errors.

    Raises:
        ConfigurationError: it is no address of a broker. The message never shows the password.
    """
    try:
        return read_address(url)
    except ValueError as error:
        raise ConfigurationError(f"wrong value for the broker: {error} (from {source})") from None


def read_address(url: str) -> BrokerAddress:
    """Return the address that `url` means.

    Raises:
        ValueError: it is none; says what was expected, and never shows the password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # Without its cause: that quotes what may be the password.
        raise _wrong("has a part that cannot be read") from None
    if parts.scheme == "redis+socket":
        return _socket_address(url, parts)
    if parts.scheme not in ("redis", "rediss"):
        raise _wrong(f"has the scheme {parts.scheme[:20]!r}")
    if not parts.hostname:
        raise _wrong("names no host")
    if parts.fragment or (parts.query and parts.scheme == "redis"):
        # An unencoded `#` or `?` in a password ends up here: the rest would be silently another address.
        raise _wrong("has a `?` or `#`; in a password write %3F and %23")
    if port == 0:
        raise _wrong(f"has port 0 (1 to {_MOST_PORT} are possible)")
    database = _database(parts.path.removeprefix("/"))
    port = port or _DEFAULT_PORT
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return BrokerAddress(
        url=url,
        host=parts.hostname,
        port=port,
        database=database,
        path="",
        is_loopback=_is_loopback(parts.hostname),
        shown=f"{parts.scheme}://{host}:{port}/{database}",
    )


def with_password(address: BrokerAddress, password: str) -> BrokerAddress:
    """Return the address with another password; the user's name stays.

    Args:
        address: with or without a password.
        password: as it is, not encoded.
    """
    parts = urlsplit(address.url)
    place = parts.netloc.rpartition("@")[2]
    netloc = f"{parts.username or ''}:{quote(password, safe='')}@{place}"
    return read_address(urlunsplit(parts._replace(netloc=netloc)))


def require_secret(address: BrokerAddress, secret: str) -> None:
    """Refuse a broker that others can reach without a secret: whoever reaches it could have tests run.

    Raises:
        ConfigurationError: the secret is empty and the broker is not on this machine alone.
    """
    if not secret and not address.is_loopback:
        raise ConfigurationError(
            f"the broker {address.shown} can be reached from other machines and there is no secret: set "
            f"{DEFAULT_SECRET_VARIABLE} to the same value for the dispatcher and all workers, "
            "or use --secret-file"
        )


def _socket_address(url: str, parts: SplitResult) -> BrokerAddress:
    if parts.hostname or not parts.path.startswith("/") or parts.path == "/":
        raise _wrong("names no absolute path of a socket")
    query = parse_qs(parts.query, keep_blank_values=True)
    if parts.fragment or query.keys() - {"virtual_host"}:
        raise _wrong("has more than `?virtual_host=DATABASE` behind the path")
    database = _database(query.get("virtual_host", [""])[-1])
    shown = f"redis+socket://{parts.path}" + (f"?virtual_host={database}" if database else "")
    return BrokerAddress(
        url=url, host="", port=0, database=database, path=parts.path, is_loopback=True, shown=shown
    )


def _database(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= 4):
        raise _wrong("names a database that is no number")
    return int(text)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _wrong(problem: str) -> ValueError:
    return ValueError(f"expected {_ALLOWED}, got an address that {problem}")
