"""A worker consumes the queues of its runs, also after Celery forgot a request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from passmuster.wire.broker_keys import queue_name, worker_queue_name
from worker.queue.celery_app import RunQueues, make_app


class Consumer:
    """Celery's consumer: what it is asked for is done at once, or lost with its connection."""

    def __init__(self) -> None:
        self.is_connected = True
        self.taken_from: set[str] = set()

    @property
    def task_consumer(self) -> Consumer | None:
        return self if self.is_connected else None

    def call_soon(self, step: Callable[..., None], *arguments: Any) -> None:
        step(*arguments)

    def consuming_from(self, name: str) -> bool:
        return name in self.taken_from

    def add_task_queue(self, name: str) -> None:
        self.taken_from.add(name)

    def cancel_task_queue(self, name: str) -> None:
        self.taken_from.discard(name)


def of_run(run_id: str) -> set[str]:
    """Return the queues that a worker of a run takes messages from: the run's, and its own there."""
    return {queue_name(run_id), worker_queue_name(run_id, "w")}


@pytest.fixture
def consumer() -> Consumer:
    return Consumer()


@pytest.fixture
def queues(consumer: Consumer) -> RunQueues:
    queues = RunQueues(make_app("redis://127.0.0.1:1/0"), "w")
    queues.consumer = consumer
    return queues


def test_runs_are_followed_and_left(consumer: Consumer, queues: RunQueues) -> None:
    queues.follow("a")
    queues.follow("b")
    queues.leave("a")

    assert consumer.taken_from == of_run("b")


def test_a_forgotten_request_is_repeated(consumer: Consumer, queues: RunQueues) -> None:
    queues.follow("a")
    consumer.taken_from.clear()

    queues.sync()

    assert consumer.taken_from == of_run("a")


def test_a_request_without_a_connection_is_carried_out_later(consumer: Consumer, queues: RunQueues) -> None:
    queues.follow("gone")
    consumer.is_connected = False
    queues.leave("gone")
    queues.follow("new")
    consumer.is_connected = True

    queues.sync()

    assert consumer.taken_from == of_run("new")
