"""The way to the broker: a look whether it can be used at all, and what stands for "it is away".

Imports redis: only runs with a broker may load this module.
"""

from __future__ import annotations

from typing import Any

import redis
from redis.exceptions import AuthenticationError, InvalidResponse

from passmuster.broker import BrokerAddress
from passmuster.errors import InfrastructureError
from passmuster.process_privacy import hide_process
from passmuster.queue_words import DamagedRecordError
from passmuster.run_record import connect
from passmuster.server_check import check_server
from passmuster.tls import check_files, why_not_trusted

BROKEN: tuple[type[Exception], ...] = (redis.RedisError,)
"""What any question to the broker may fail with when it is away."""

UNUSABLE: tuple[type[Exception], ...] = (*BROKEN, DamagedRecordError)
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
    check_files(address)
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
        if reason := why_not_trusted(error):
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
