"""Parses and validates the address of the broker, and formats it without its passwords.

Opens no connection: `run_store.connect` does that, and `passmuster.wire.access` checks the server.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit, urlunsplit

from msgspec import Struct

from passmuster.model.errors import ConfigurationError
from passmuster.model.hidden_fields import repr_without

_ALLOWED = (
    "redis://[[user]:password@]host[:port][/database], the same with rediss:// for TLS, "
    "redis+socket://[[user]:password@]/path/of/the.socket, or for Sentinel "
    "sentinel://[[user]:password@]host[:port][;sentinel://…][/database]?master_name=NAME"
)
_DEFAULT_PORT = 6379
_DEFAULT_SENTINEL_PORT = 26379
_ENCRYPTED_SENTINEL = "sentinels"
_SENTINEL_SCHEMES = ("sentinel", _ENCRYPTED_SENTINEL)
_SENTINEL_OPTIONS = ("master_name", "sentinel_user", "sentinel_password")
_MAX_PORT = 65535

_MASTER_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}")

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


class SentinelGroup(Struct, frozen=True, kw_only=True):
    """The Sentinel processes that know which server is the master."""

    nodes: tuple[tuple[str, int], ...]
    """Host and port of each, in the order in which they are asked."""
    master_name: str
    """The name under which they monitor the master and its replicas."""
    user: str = ""
    """Decoded; empty: the Sentinels' default user."""
    password: str = ""
    """Decoded; empty: the Sentinels require none."""

    __repr__ = repr_without("user", "password")


class BrokerAddress(Struct, frozen=True, kw_only=True):
    """A broker's address."""

    url: str
    """As the user wrote it, with the password."""
    user: str
    """Decoded; empty: the server's default user."""
    password: str
    """Decoded; empty: none."""
    host: str = ""
    """A name or an IP address; empty for a Unix socket or Sentinels."""
    port: int = 0
    """0 for a Unix socket or Sentinels."""
    database: int
    path: str = ""
    """Of the Unix socket; empty: none."""
    tls: TlsFiles | None = None
    """None: the connections, also those to Sentinels, are not encrypted."""
    sentinel: SentinelGroup | None = None
    """None: the address names the server itself."""
    is_loopback: bool
    """Whether only this machine can reach it; False for Sentinels, which may name servers elsewhere."""
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
    if url.partition("://")[0] in _SENTINEL_SCHEMES:
        return _sentinel_address(url)
    parts, port = _split(url)
    if parts.scheme in _DATABASE_OF_SOCKET:
        return _socket_address(url, parts)
    if parts.scheme not in ("redis", "rediss"):
        raise _wrong(f"has the scheme {parts.scheme[:20]!r}")
    if not parts.hostname:
        raise _wrong("names no host")
    if parts.fragment or (parts.query and parts.scheme == "redis"):
        # An unencoded `#` or `?` in a password ends up here: the rest would silently be another address.
        raise _wrong("has a `?` or `#`; in a password write %3F and %23")
    tls = _tls(parse_qs(parts.query, keep_blank_values=True)) if parts.scheme == "rediss" else None
    database = _database(parts.path.removeprefix("/"))
    port = port or _DEFAULT_PORT
    return BrokerAddress(
        url=url,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        host=parts.hostname,
        port=port,
        database=database,
        tls=tls,
        is_loopback=_is_loopback(parts.hostname),
        shown=f"{parts.scheme}://{netloc(parts.hostname, port)}/{database}"
        + (f"?{parts.query}" if parts.query else ""),
    )


def with_password(address: BrokerAddress, password: str) -> BrokerAddress:
    """Return the address with another password, given unencoded; the user's name stays."""
    parts = [urlsplit(address.url)] if address.sentinel is None else _sentinel_parts(address.url)
    login = f"{quote(address.user, safe='')}:{quote(password, safe='')}"
    changed = (part._replace(netloc=f"{login}@{part.netloc.rpartition('@')[2]}") for part in parts)
    return read_address(";".join(map(urlunsplit, changed)))


def _split(url: str) -> tuple[SplitResult, int | None]:
    """Return the parts of an address, and its port, or None if it has none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # Without its cause, which may quote the password.
        raise _wrong("has a part that cannot be read") from None
    if port == 0:
        raise _wrong(f"has port 0 (1 to {_MAX_PORT} are possible)")
    return parts, port


def netloc(host: str, port: int) -> str:
    """Return host and port as in an address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _sentinel_address(url: str) -> BrokerAddress:
    """Return the address in the form that Celery uses for Sentinel: one part for each, separated by `;`.

    User, password, database, and options may stand in any part, or be repeated in several.
    """
    parts = _sentinel_parts(url)
    scheme = parts[0].scheme
    user, password, path, query = (
        _same_in_all([(getattr(part, name) or "").removeprefix("/") for part in parts], name)
        for name in ("username", "password", "path", "query")
    )
    options = parse_qs(query, keep_blank_values=True)
    master, sentinel_user, sentinel_password = (options.pop(name, [""])[-1] for name in _SENTINEL_OPTIONS)
    if _MASTER_NAME.fullmatch(master) is None:
        raise _wrong("has no `?master_name=NAME` with the name by which the Sentinels know the master")
    if options and scheme != _ENCRYPTED_SENTINEL:
        raise _wrong(f"has an option other than {', '.join(_SENTINEL_OPTIONS)} after `?`")
    nodes = tuple((part.hostname or "", part.port or _DEFAULT_SENTINEL_PORT) for part in parts)
    database = _database(path)
    shown = ";".join(f"{scheme}://{netloc(*node)}" for node in nodes)
    return BrokerAddress(
        url=url,
        user=unquote(user),
        password=unquote(password),
        database=database,
        tls=_tls(options) if scheme == _ENCRYPTED_SENTINEL else None,
        sentinel=SentinelGroup(
            nodes=nodes, master_name=master, user=sentinel_user, password=sentinel_password
        ),
        is_loopback=False,
        shown=f"{shown}/{database}?master_name={master}",
    )


def _sentinel_parts(url: str) -> list[SplitResult]:
    scheme, _, rest = url.partition("://")
    parts = [_split(f"{scheme}://{text.removeprefix(f'{scheme}://')}")[0] for text in rest.split(";")]
    if any(part.fragment for part in parts):
        raise _wrong("has a `#`; in a password write %23")
    if not all(part.hostname for part in parts):
        raise _wrong("has a part without a host; in a password write %3B for `;`")
    return parts


def _same_in_all(texts: Sequence[str], name: str) -> str:
    """Return the only value besides "", which is also the default."""
    found = {text for text in texts if text}
    if len(found) > 1:
        raise _wrong(f"has a different {name} for each Sentinel")
    return found.pop() if found else ""


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
        database=database,
        path=unquote(parts.path),
        is_loopback=True,
        shown=f"{parts.scheme}://{parts.path}" + (f"?{name}={database}" if database else ""),
    )


def _tls(found: Mapping[str, list[str]]) -> TlsFiles:
    """Return the files for TLS from an address's options. Any other option could weaken TLS: refused."""
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
