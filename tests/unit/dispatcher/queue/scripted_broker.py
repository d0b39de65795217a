"""A broker in memory for tests of the backend over a queue; a test plays its workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import structs

from dispatcher.engine.backend import BackendEvent, BackendNotice
from dispatcher.queue.backend import AWAY_S
from dispatcher.queue.delivery_tracker import Message
from dispatcher.queue.results import ResultDecoder
from passmuster.model.result import TestResult
from passmuster.model.status import Status
from passmuster.model.task import TestTask
from passmuster.wire.broker_messages import Lease, StreamEntry, WorkerStatus
from passmuster.wire.run_store import RunStore

TIMEOUT_S = 60.0
UNAVAILABLE = f"broker unavailable: gone; retrying for up to {AWAY_S:.0f} s"


def card(name: str, **changes: Any) -> WorkerStatus:
    plain = WorkerStatus(name=name, host="h", slots=2, busy=0, budget_bytes=1 << 30, version="1")
    return structs.replace(plain, **changes)


class AwayError(Exception):
    """The broker is away."""


class Broker(RunStore):
    """A broker in memory, its queue and its clock; a test plays the workers."""

    def __init__(self) -> None:
        self.now = 100.0
        self.state: dict[str, tuple[str, int]] = {}
        self.queue: list[tuple[str, int]] = []
        self.of_workers: list[tuple[str, int, str]] = []
        self.entries: list[StreamEntry] = []
        self.dead: list[Lease] = []
        self.word: str | None = None
        self.is_away = False
        self.is_full = False
        self.is_cancelled = False
        self.loses_the_answer = False
        self.cards = [card("w1")]
        self.kept = 0

    def _ask(self) -> None:
        if self.is_away:
            raise AwayError("gone")

    def _write(self) -> None:
        self._ask()
        if self.is_full:
            raise AwayError("gone")

    def seed(self, deliveries: Mapping[str, int], *, epoch: str, spec: str = "") -> None:
        self._ask()
        self.state = {path: ("Q", delivery) for path, delivery in deliveries.items()}
        self.word, self.queue = epoch, []

    def load_states(self) -> tuple[str, dict[str, tuple[str, int]]] | None:
        self._ask()
        return None if self.word is None else (self.word, dict(self.state))

    def add(self, attempts: Mapping[str, int]) -> None:
        self._write()
        for path, take in attempts.items():
            if self.state.get(path, ("", 0))[0] != "R":
                self.state[path] = ("Q", take)

    def withdraw(self, path: str, attempt: int) -> bool:
        self._ask()
        if self.state.get(path) != ("Q", attempt):
            return False
        del self.state[path]
        return True

    def epoch(self) -> str | None:
        self._ask()
        return self.word

    def heartbeat(self, kept: int = 0) -> None:
        self._write()
        self.kept = kept

    def expired(self) -> list[Lease]:
        self._ask()
        return list(self.dead)

    def expire(self, lease: Lease) -> bool:
        self._ask()
        self.dead.remove(lease)
        del self.state[lease.path]
        if self.loses_the_answer:
            self.loses_the_answer = False
            raise AwayError("gone")
        return True

    def states(self, paths: Sequence[str]) -> dict[str, tuple[str, int]]:
        self._ask()
        return {path: self.state[path] for path in paths if path in self.state}

    def queue_length(self) -> int:
        return len(self.queue)

    def cancel(self) -> None:
        self._ask()
        self.is_cancelled = True

    def is_settled(self) -> bool:
        return True

    def end(self) -> None:
        self._ask()
        self.word = None

    def read(self, last_id: str, *, block_s: float) -> list[StreamEntry]:
        self._ask()
        self.now += block_s
        return [entry for entry in self.entries if int(entry[0]) > int(last_id)]

    def trim(self, last_id: str) -> None:
        self._ask()

    def publish(self, messages: Sequence[Message]) -> None:
        self._ask()
        for message in messages:
            if message.worker:
                self.of_workers.append((message.task.file_path, message.delivery, message.worker))
            else:
                self.queue.append((message.task.file_path, message.delivery))

    def pause(self, seconds: float) -> None:
        self.now += seconds

    def start(self, path: str, take: int) -> None:
        """Play a worker that takes the file's message."""
        self.queue.remove((path, take))
        assert self.state[path] == ("Q", take)
        self.state[path] = ("R", take)
        self.tell("started", path, take)

    def end_file(self, path: str, take: int, body: str = "PASS") -> None:
        """Play a worker that has run the file."""
        self.state[path] = ("D", take)
        self.tell("finished", path, take, body)

    def tell(self, kind: str, path: str, take: int, body: str = "") -> None:
        self.entries.append(StreamEntry(str(len(self.entries) + 1), kind, path, take, "w1", body))


class FakeDecoder(ResultDecoder):
    """Reads the status of a result, and the reason of a refusal, from the plain body."""

    def __init__(self) -> None: ...

    def result(self, entry: StreamEntry, task: TestTask) -> TestResult:
        return TestResult(file_path=entry.path, status=Status(entry.body), attempt=task.attempt)

    def refusal(self, entry: StreamEntry) -> str:
        return entry.body


def notices(events: Sequence[BackendEvent]) -> list[str]:
    return [event.text for event in events if isinstance(event, BackendNotice)]
