"""The way to the broker: a look whether it can be used at all, and what stands for "it is away".

Imports redis: only runs with a broker may load this module.
"""

from __future__ import annotations

from typing import Any

import redis
from redis.exceptions import AuthenticationError, InvalidResponse

from passmuster.broker import BrokerAddress
from passmuster.errors import InfrastructureError
from passmuster.run_record import connect

BROKEN: tuple[type[Exception], ...] = (redis.RedisError,)
"""What any question to the broker may fail with."""

TIMEOUT_S = 5.0
"""Seconds for one answer: half of what a lease holds."""

OLDEST_VERSION = (6, 2)
"""Of the server: what `passmuster.run_scripts` uses is all there."""


def open_broker(address: BrokerAddress) -> redis.Redis:
    """Return a client of a broker that was found to be usable.

    Raises:
        InfrastructureError: it cannot be reached, refuses the password, is something else, or is too old.
    """
    client = connect(address.url, timeout_s=TIMEOUT_S)
    commands: Any = client
    try:
        found = commands.info("server")
    except AuthenticationError as error:  # Before the next: to redis-py it is a kind of lost connection.
        raise InfrastructureError(
            f"the broker {address.shown} refuses the password: {error}; give the right one in the address"
        ) from error
    except InvalidResponse as error:
        raise InfrastructureError(
            f"what answers at {address.shown} is neither Redis nor Valkey: give the address of one"
        ) from error
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise InfrastructureError(
            f"the broker {address.shown} cannot be reached: {error}; look whether it runs"
        ) from error
    except redis.RedisError as error:
        raise InfrastructureError(
            f"the broker {address.shown} does not let itself be used: {error}; look at its access rules"
        ) from error
    _check_version(str(found.get("redis_version", "")), address)
    return client


def _check_version(version: str, address: BrokerAddress) -> None:
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isascii() and part.isdigit())
    if len(numbers) < 2:
        raise InfrastructureError(
            f"what answers at {address.shown} does not say that it is Redis or Valkey: "
            "give the address of one"
        )
    if numbers < OLDEST_VERSION:
        oldest = ".".join(map(str, OLDEST_VERSION))
        raise InfrastructureError(
            f"the broker {address.shown} has version {version}, at least {oldest} is needed: "
            "use a newer server"
        )
