"""Connects to the broker: checks that the server is usable, and lists the errors that mean it is unavailable.

Imports redis: only runs with a broker may load this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import redis
from redis.exceptions import AuthenticationError, InvalidResponse
from redis.sentinel import MasterNotFoundError

from passmuster.model.errors import InfrastructureError
from passmuster.wire.broker import BrokerAddress
from passmuster.wire.broker_messages import DamagedDataError
from passmuster.wire.run_store import connect
from passmuster.wire.tls import check_tls_files, tls_problem

OLDEST_VERSION = (6, 2)
"""The first server version with all commands of `run_store.lua` and `join_store.lua`."""

BROKER_ERRORS: tuple[type[Exception], ...] = (redis.RedisError,)
"""The errors of any broker call while the broker is unavailable."""

BROKER_OR_DATA_ERRORS: tuple[type[Exception], ...] = (*BROKER_ERRORS, DamagedDataError)
"""The same, and the error for damaged data: for calls whose result is not essential."""

TIMEOUT_S = 5.0
"""Seconds to wait for one reply: half of `LEASE_S`."""

_PR_SET_DUMPABLE = 4


def open_broker(address: BrokerAddress) -> redis.Redis:
    """Return a client of a broker that was checked to be usable.

    This process, which holds the password and the secret, is hidden from tests: see `hide_process`.

    Raises:
        ConfigurationError: a file that the address names for TLS cannot be used.
        InfrastructureError: the broker is unreachable, rejects the password, is another program, or cannot
            keep a run.
    """
    hide_process()
    check_tls_files(address)
    client = connect(address.url, timeout_s=TIMEOUT_S)
    commands: Any = client
    try:
        info = commands.info()
    except redis.RedisError as error:
        raise InfrastructureError(_connection_problem(error, address)) from error
    check_server(info, shown=address.shown)
    return client


def _connection_problem(error: redis.RedisError, address: BrokerAddress) -> str:
    if isinstance(error, AuthenticationError):  # First: to redis-py it is a kind of ConnectionError.
        return (
            f"the broker {address.shown} rejects the password: {error}; give the right one in the address"
            " or with --broker-password-file"
        )
    if isinstance(error, InvalidResponse):
        return (
            f"the server at {address.shown} is neither Redis nor Valkey: give the address of a Redis or"
            " Valkey server"
        )
    if not isinstance(error, redis.ConnectionError | redis.TimeoutError):
        return (
            f"the broker {address.shown} refuses a command: {error}; docs/how-to/broker.md lists the rights"
            " that its user needs"
        )
    if reason := tls_problem(error):
        return (
            f"the broker {address.shown} cannot be trusted: {reason}; its certificate must be valid, for"
            " this name, and from a CA that the system or the address (?ssl_ca_certs=PATH) names"
        )
    if isinstance(error, MasterNotFoundError):
        return (
            f"the broker {address.shown} cannot be reached: {error}; check the name, and that most of the"
            " Sentinels run"
        )
    server = "Redis or Valkey" if address.tls is None else "Redis or Valkey with TLS"
    return (
        f"the broker {address.shown} cannot be reached: {str(error).rstrip('.')}; "
        f"check that {server} runs there"
    )


def check_server(info: Mapping[str, object], *, shown: str) -> None:
    """Refuse a server that cannot keep a run.

    Args:
        info: the server's reply to INFO.
        shown: its address without the password.

    Raises:
        InfrastructureError: it is a Sentinel, too old, a read-only replica, or evicts data when its memory is
            full.
    """
    version = str(info.get("redis_version", ""))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isascii() and part.isdigit())
    role = str(info.get("role", "master"))
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if info.get("redis_mode") == "sentinel":
        problem = (
            "is a Sentinel: write sentinel:// instead of redis://,"
            " and ?master_name=NAME with the master's name"
        )
    elif len(numbers) < 2:
        problem = "does not identify itself as Redis or Valkey: give the address of a Redis or Valkey server"
    elif numbers < OLDEST_VERSION:
        oldest = ".".join(map(str, OLDEST_VERSION))
        problem = f"has version {version}, at least {oldest} is needed: use a newer server"
    elif role != "master":
        problem = f"is a {role}, which accepts no changes: give the address of its master"
    elif policy != "noeviction":
        problem = (
            f"evicts data when its memory is full (maxmemory-policy {policy}):"
            " set maxmemory-policy to noeviction"
        )
    else:
        return
    raise InfrastructureError(f"the broker {shown} {problem}")


def hide_process() -> None:
    """Protect `/proc/PID/environ`, `mem` and similar files of this process from other users (prctl(2)).

    Tests run as the same user as the worker that starts them, and could otherwise read the broker's address
    and the secret there. The programs that this process executes are not affected. Where the C library has no
    prctl (not Linux), nothing happens.
    """
    import ctypes  # Only runs with a broker need it.

    try:
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    except (AttributeError, OSError):
        return
