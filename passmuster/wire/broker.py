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
"""The query parameter for the database of a socket's address, as Celery and redis-py name it."""


class TlsFiles(Struct, frozen=True, kw_only=True):
    """The files for TLS, as absolute paths, or ""."""

    ca_certs: str = ""
    """Trusted certificates in addition to the system's."""
    certfile: str = ""
    """The client's certificate, for a server that requires one."""
    keyfile: str = ""
    """Its key; empty: `certfile` contains it."""


class BrokerAddress(Struct, frozen=True, kw_only=True):
    """A broker's address."""

    url: str
    """As the user wrote it, with the password."""
    user: str
    """Decoded; empty: the server's default user."""
    password: str
    """Decoded; empty: none."""
    host: str
    """A name or an IP address; empty for a Unix socket."""
    port: int
    """0 for a Unix socket."""
    database: int
    path: str
    """Of the Unix socket; empty: none."""
    tls: TlsFiles | None = None
    """None: the connection is not encrypted."""
    is_loopback: bool
    """Whether only this machine can reach it."""
    shown: str
    """The address without the user's name and the password."""

    __repr__ = repr_without("url", "user", "password")


def parse_broker(url: str, *, source: str) -> BrokerAddress:
    """Return the address in `url`, which came from `source` (`--broker`).

    Raises:
        ConfigurationError: it is not a broker's address. The message never shows the password.
    """
    try:
        return read_address(url)
    except ValueError as error:
        raise ConfigurationError(f"wrong value for the broker: {error} (from {source})") from None


def read_address(url: str) -> BrokerAddress:
    """Return the address in `url`.

    Raises:
        ValueError: it is not one; the message says what was expected, and never shows the password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # Without its cause, which may quote the password.
        raise _wrong("has a part that cannot be read") from None
    if parts.scheme in _DATABASE_OF_SOCKET:
        return _socket_address(url, parts)
    if parts.scheme not in ("redis", "rediss"):
        raise _wrong(f"has the scheme {parts.scheme[:20]!r}")
    if not parts.hostname:
        raise _wrong("names no host")
    if parts.fragment or (parts.query and parts.scheme == "redis"):
        # An unencoded `#` or `?` in a password ends up here: the rest would silently be another address.
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
    """Return the address with another password, given unencoded; the user's name stays."""
    parts = urlsplit(address.url)
    host = parts.netloc.rpartition("@")[2]
    netloc = f"{parts.username or ''}:{quote(password, safe='')}@{host}"
    return read_address(urlunsplit(parts._replace(netloc=netloc)))


def _socket_address(url: str, parts: SplitResult) -> BrokerAddress:
    if parts.hostname or not parts.path.startswith("/") or parts.path == "/":
        raise _wrong("names no absolute path of a socket")
    name = _DATABASE_OF_SOCKET[parts.scheme]
    query = parse_qs(parts.query, keep_blank_values=True)
    if parts.fragment or query.keys() - {name}:
        raise _wrong(f"has more than `?{name}=DATABASE` behind the path")
    database = _database(query.get(name, [""])[-1])
    return BrokerAddress(
        url=url,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        host="",
        port=0,
        database=database,
        path=unquote(parts.path),
        is_loopback=True,
        shown=f"{parts.scheme}://{parts.path}" + (f"?{name}={database}" if database else ""),
    )


def _tls(query: str) -> TlsFiles:
    """Return the files for TLS. No other option is allowed, because it could weaken TLS."""
    found = parse_qs(query, keep_blank_values=True)
    names = [f"ssl_{name}" for name in TlsFiles.__struct_fields__]
    if found.keys() - set(names):
        # The message does not quote it: it may be the rest of a password.
        raise _wrong(
            f"has an option other than {', '.join(names)} after `?`: certificates are always checked; "
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
        raise _wrong("names a database that is not a number")
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
