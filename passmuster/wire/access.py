"""Connects to the broker: checks that the server is usable, and lists the errors that mean it is unreachable.

Imports redis: only runs with a broker may load this module. The error for an unusable server states what was
found, what is required, and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import redis
from redis.exceptions import AuthenticationError, InvalidResponse

from passmuster.model.errors import InfrastructureError
from passmuster.wire.broker import BrokerAddress
from passmuster.wire.broker_messages import DamagedDataError
from passmuster.wire.run_store import connect
from passmuster.wire.tls import check_tls_files, tls_problem

OLDEST_VERSION = (6, 2)
"""Of the server: what `run_lua` uses is all there."""


def check_server(info: Mapping[str, object], *, shown: str) -> None:
    """Refuse a server that cannot keep a run.

    Args:
        info: what the server answers to INFO.
        shown: its address without the password.

    Raises:
        InfrastructureError: it is too old, only read from, or throws data away when its memory is full.
    """
    version = str(info.get("redis_version", ""))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isascii() and part.isdigit())
    if len(numbers) < 2:
        raise InfrastructureError(
            f"the broker {shown} does not say that it is Redis or Valkey: give the address of one"
        )
    if numbers < OLDEST_VERSION:
        oldest = ".".join(map(str, OLDEST_VERSION))
        raise InfrastructureError(
            f"the broker {shown} has version {version}, at least {oldest} is needed: use a newer server"
        )
    role = str(info.get("role", "master"))
    if role != "master":
        raise InfrastructureError(
            f"the broker {shown} is a {role}, which takes no changes: give the address of its master"
        )
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        raise InfrastructureError(
            f"the broker {shown} throws data away when its memory is full (maxmemory-policy {policy}):"
            " set maxmemory-policy to noeviction"
        )


_PR_SET_DUMPABLE = 4


def hide_process() -> None:
    """Close `/proc/PID/environ`, `mem` and the like of this process to others that are not root (prctl(2)).

    Tests run as the same user as the worker that starts them, and could otherwise read the broker's address
    and the secret there. The programs that this process executes are not affected. Where the C library has no
    prctl (not Linux), nothing happens.
    """
    import ctypes  # Only runs with a broker need it.

    try:
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    except (AttributeError, OSError):
        return


BROKER_ERRORS: tuple[type[Exception], ...] = (redis.RedisError,)
"""What any question to the broker may fail with when it is away."""

BROKER_OR_DATA_ERRORS: tuple[type[Exception], ...] = (*BROKER_ERRORS, DamagedDataError)
"""The same, and where what it has is damaged: for questions whose answer can be done without."""

TIMEOUT_S = 5.0
"""Seconds for one answer: half of what a lease holds."""


def open_broker(address: BrokerAddress) -> redis.Redis:
    """Return a client of a broker that was found to be usable.

    This process, which holds the password and the secret, is hidden from tests: see `hide_process`.

    Raises:
        ConfigurationError: a file that its address names for TLS cannot be used.
        InfrastructureError: it cannot be reached, refuses the password, is something else, or cannot keep
            a run.
    """
    hide_process()
    check_tls_files(address)
    client = connect(address.url, timeout_s=TIMEOUT_S)
    commands: Any = client
    try:
        found = commands.info()
    except AuthenticationError as error:  # Before the next: to redis-py it is a kind of lost connection.
        raise InfrastructureError(
            f"the broker {address.shown} refuses the password: {error}; give the right one in the address"
            " or by --broker-password-file"
        ) from error
    except InvalidResponse as error:
        raise InfrastructureError(
            f"what answers at {address.shown} is neither Redis nor Valkey: give the address of one"
        ) from error
    except (redis.ConnectionError, redis.TimeoutError) as error:
        if reason := tls_problem(error):
            raise InfrastructureError(
                f"the broker {address.shown} cannot be trusted: {reason}; its certificate must be valid, for"
                " this name, and from a CA that the system or the address (?ssl_ca_certs=PATH) names"
            ) from error
        what = "Redis or Valkey" if address.tls is None else "Redis or Valkey with TLS"
        raise InfrastructureError(
            f"the broker {address.shown} cannot be reached: {str(error).rstrip('.')}; "
            f"look whether {what} runs there"
        ) from error
    except redis.RedisError as error:
        raise InfrastructureError(
            f"the broker {address.shown} does not let itself be used: {error}; "
            "what its user must be allowed is in docs/how-to/broker.md"
        ) from error
    check_server(found, shown=address.shown)
    return client
