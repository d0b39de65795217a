"""A broker client that distinguishes damaged keys from an unavailable broker.

Imports redis: only runs with a broker may load this module.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis.client import Pipeline

from passmuster.wire.broker_messages import DamagedDataError

_DAMAGE = re.compile(
    r"WRONGTYPE|user_script:\d+: (attempt to|bad argument)|not an integer|stream ID|last possible ID"
)
"""The errors of Redis and Valkey for a key that is not what a command expects: another type, no number, or a
stream whose IDs have run out. The second is an error in one of our scripts, which met such a value."""

_MAX_CHARS = 200


def is_damage(error: BaseException) -> bool:
    """Whether an error reply means that data on the broker is damaged, not that the broker is unavailable."""
    return isinstance(error, redis.ResponseError) and _DAMAGE.search(str(error)) is not None


@contextmanager
def translate_damage() -> Iterator[None]:
    """Raise `DamagedDataError` instead of redis-py's error for damaged data."""
    try:
        yield
    except redis.ResponseError as error:
        if is_damage(error):
            raise DamagedDataError(ascii(str(error))[1:-1][:_MAX_CHARS]) from error
        raise


class BrokerClient(redis.Redis):
    """A client whose commands raise `DamagedDataError` if a key of Passmuster is damaged."""

    def execute_command(self, *arguments: Any, **options: Any) -> Any:
        """Send a command; return the reply."""
        with translate_damage():
            return super().execute_command(*arguments, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> _Pipeline:  # noqa: FBT001, FBT002 - redis-py's own signature
        """Return a transaction, or a batch of commands."""
        return _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class _Pipeline(Pipeline):
    def execute_command(self, *arguments: Any, **options: Any) -> Any:
        with translate_damage():  # After WATCH, commands are sent immediately.
            return super().execute_command(*arguments, **options)  # type: ignore[no-untyped-call]

    def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002 - redis-py's own signature
        with translate_damage():
            return super().execute(raise_on_error)
