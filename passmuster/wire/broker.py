"""Parses and validates the address of the broker, and formats it without its password.

Opens no connection: `run_store.connect` does that, and `passmuster.wire.access` checks the server.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit, urlunsplit

from msgspec import Struct

from passmuster.model.errors import ConfigurationError
from passmuster.model.hidden_fields import repr_without

_ALLOWED = (
    "redis://[[user]:password@]host[:port][/database], the same with rediss:// for TLS, "
    "or redis+socket://[[user]:password@]/path/of/the.socket"
)
_DEFAULT_PORT = 6379
_MAX_PORT = 65535

_DATABASE_OF_SOCKET = {"redis+socket": "virtual_host", "unix": "db"}
"""How the database is called behind the path of a socket: as Celery does, and as redis-py does."""


class TlsFiles(Struct, frozen=True, kw_only=True):
    """What takes part in TLS, as absolute paths; empty: there is none.

    Args:
        ca_certs: certificates that are trusted besides the system's.
        certfile: our own certificate, for a server that wants one.
        keyfile: its key; empty: it is in `certfile`.
    """

    ca_certs: str = ""
    certfile: str = ""
    keyfile: str = ""


class BrokerAddress(Struct, frozen=True, kw_only=True):
    """A broker's address.

    Args:
        url: as the user wrote it, with the password.
        user: the user's name, decoded; empty: the server's default one.
        password: decoded; empty: there is none.
        host: its name or number; empty for a socket in the file system.
        port: 0 for a socket in the file system.
        database: which of the server's databases.
        path: the socket in the file system; empty: there is none.
        tls: how the server proves who it is; None: nothing is encrypted.
        is_loopback: whether only this machine can reach it.
        shown: the address without the user's name and the password.
    """

    url: str
    user: str
    password: str
    host: str
    port: int
    database: int
    path: str
    tls: TlsFiles | None = None
    is_loopback: bool
    shown: str

    __repr__ = repr_without("url", "user", "password")


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
    if parts.scheme in _DATABASE_OF_SOCKET:
        return _socket_address(url, parts)
    if parts.scheme not in ("redis", "rediss"):
        raise _wrong(f"has the scheme {parts.scheme[:20]!r}")
    if not parts.hostname:
        raise _wrong("names no host")
    if parts.fragment or (parts.query and parts.scheme == "redis"):
        # An unencoded `#` or `?` in a password ends up here: the rest would be silently another address.
        raise _wrong("has a `?` or `#`; in a password write %3F and %23")
    tls = _tls(parts.query) if parts.scheme == "rediss" else None
    if port == 0:
        raise _wrong(f"has port 0 (1 to {_MAX_PORT} are possible)")
    database = _database(parts.path.removeprefix("/"))
    port = port or _DEFAULT_PORT
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return BrokerAddress(
        url=url,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        host=parts.hostname,
        port=port,
        database=database,
        path="",
        tls=tls,
        is_loopback=_is_loopback(parts.hostname),
        shown=f"{parts.scheme}://{host}:{port}/{database}" + (f"?{parts.query}" if parts.query else ""),
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


def _socket_address(url: str, parts: SplitResult) -> BrokerAddress:
    if parts.hostname or not parts.path.startswith("/") or parts.path == "/":
        raise _wrong("names no absolute path of a socket")
    name = _DATABASE_OF_SOCKET[parts.scheme]
    query = parse_qs(parts.query, keep_blank_values=True)
    if parts.fragment or query.keys() - {name}:
        raise _wrong(f"has more than `?{name}=DATABASE` behind the path")
    database = _database(query.get(name, [""])[-1])
    shown = f"{parts.scheme}://{parts.path}" + (f"?{name}={database}" if database else "")
    return BrokerAddress(
        url=url,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        host="",
        port=0,
        database=database,
        path=unquote(parts.path),
        is_loopback=True,
        shown=shown,
    )


def _tls(query: str) -> TlsFiles:
    """Read what may be said of TLS: which files take part in it, and nothing that would weaken it."""
    found = parse_qs(query, keep_blank_values=True)
    names = [f"ssl_{name}" for name in TlsFiles.__struct_fields__]
    if found.keys() - set(names):
        # Perhaps the rest of a password, so what it is is not said.
        raise _wrong(
            f"has something else than {', '.join(names)} behind `?`: certificates are always checked; "
            "in a password write %3F"
        )
    paths = {name.removeprefix("ssl_"): values[-1] for name, values in found.items()}
    if not all(path.startswith("/") and "\0" not in path for path in paths.values()):
        raise _wrong("names a file for TLS by a path that is not absolute")
    if "keyfile" in paths and "certfile" not in paths:
        raise _wrong("has ssl_keyfile without ssl_certfile")
    return TlsFiles(**paths)


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
