"""Tests waiting for a first worker while the broker is unavailable."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from dispatcher.queue.target import BrokerTarget
from dispatcher.queue.worker_registry import WorkerRegistry
from passmuster.model.errors import InfrastructureError
from passmuster.model.version import VERSION
from passmuster.wire.broker import parse_broker
from passmuster.wire.broker_messages import WorkerStatus

ADDRESS = parse_broker("redis://127.0.0.1", source="a test")
STATUS = WorkerStatus(name="w", host="h", slots=1, busy=0, budget_bytes=1, version=VERSION)


class Directory:
    """Fails so often, and then has a worker."""

    def __init__(self, failures: int) -> None:
        self._failures = failures

    def statuses(self) -> list[WorkerStatus]:
        self._failures -= 1
        if self._failures >= 0:
            raise redis.ConnectionError("gone away")
        return [STATUS]


def wait(failures: int, wait_s: float) -> list[str]:
    lines: list[str] = []
    registry = WorkerRegistry(version=VERSION, timeout_s=60, now_s=0)
    directory: Any = Directory(failures)
    BrokerTarget({}, lines.append)._wait(directory, registry, ADDRESS, wait_s, lambda: None)
    return lines


def test_the_broker_may_be_unavailable_for_a_while() -> None:
    assert wait(0, 0.0) == []
    assert wait(2, 30.0) == ["waiting up to 30 s for a worker at redis://127.0.0.1:6379/0"]


def test_an_unavailable_broker_fails_after_the_timeout() -> None:
    with pytest.raises(InfrastructureError, match="the broker cannot be used: gone away"):
        wait(1_000_000, 0.5)
