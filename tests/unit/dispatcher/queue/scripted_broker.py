"""A broker in memory for tests of the queue backend; a test acts as its workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import structs

from dispatcher.engine.backend import BackendEvent, BackendNotice
from dispatcher.queue.delivery_tracker import Message
from dispatcher.queue.results import ResultDecoder
from passmuster.model.result import TestResult
from passmuster.model.status import Status
from passmuster.model.task import TestTask
from passmuster.wire.broker_keys import OUTAGE_S
from passmuster.wire.broker_messages import Lease, StreamEntry, WorkerStatus
from passmuster.wire.run_store import RunStore

TIMEOUT_S = 60.0
UNAVAILABLE = f"broker unavailable: gone; retrying for up to {OUTAGE_S:.0f} s"


def worker_status(name: str, **changes: Any) -> WorkerStatus:
    plain = WorkerStatus(name=name, host="h", slots=2, busy=0, budget_bytes=1 << 30, version="1")
    return structs.replace(plain, **changes)


class UnavailableError(Exception):
    """The broker is away."""


class Broker(RunStore):
    """A broker in memory, its queue and its clock; a test plays the workers."""

    def __init__(self) -> None:
        self.now = 100.0
        self.state: dict[str, tuple[str, int]] = {}
        self.queue: list[tuple[str, int]] = []
        self.worker_queues: list[tuple[str, int, str]] = []
        self.entries: list[StreamEntry] = []
        self.late_entries: list[StreamEntry] = []  # written while the run is written again
        self.server = "first"
        self.expired_leases: list[Lease] = []
        self.run_epoch: str | None = None
        self.is_unavailable = False
        self.is_full = False
        self.is_cancelled = False
        self.loses_reply = False
        self.statuses = [worker_status("w1")]
        self.backlog = 0
        self.demand = 0

    def _check_available(self) -> None:
        if self.is_unavailable:
            raise UnavailableError("gone")

    def _check_writable(self) -> None:
        self._check_available()
        if self.is_full:
            raise UnavailableError("gone")

    def seed(
        self,
        deliveries: Mapping[str, int],
        *,
        epoch: str,
        spec: str = "",
        running: Sequence[Lease] = (),
        after: str | None = None,
    ) -> list[StreamEntry]:
        self._check_available()
        self.state = {path: ("Q", delivery) for path, delivery in deliveries.items()}
        self.state |= {lease.path: ("R", lease.delivery) for lease in running}
        discarded = [] if after is None else self.read(after, block_s=0) + self.late_entries
        self.run_epoch, self.queue, self.entries, self.late_entries = epoch, [], [], []
        return discarded

    def replication_id(self) -> str:
        self._check_available()
        return self.server

    def load_states(self) -> tuple[str, dict[str, tuple[str, int]]] | None:
        self._check_available()
        return None if self.run_epoch is None else (self.run_epoch, dict(self.state))

    def add(self, attempts: Mapping[str, int]) -> None:
        self._check_writable()
        for path, delivery in attempts.items():
            if self.state.get(path, ("", 0))[0] != "R":
                self.state[path] = ("Q", delivery)

    def withdraw(self, path: str, attempt: int) -> bool:
        self._check_available()
        if self.state.get(path) != ("Q", attempt):
            return False
        del self.state[path]
        return True

    def epoch(self) -> str | None:
        self._check_available()
        return self.run_epoch

    def heartbeat(self, backlog: int = 0) -> None:
        self._check_writable()
        self.backlog = backlog

    def report_demand(self, files: int) -> None:
        self._check_writable()
        self.demand = files

    def expired(self) -> list[Lease]:
        self._check_available()
        return list(self.expired_leases)

    def expire(self, lease: Lease) -> bool:
        self._check_available()
        self.expired_leases.remove(lease)
        del self.state[lease.path]
        if self.loses_reply:
            self.loses_reply = False
            raise UnavailableError("gone")
        return True

    def states(self, paths: Sequence[str]) -> dict[str, tuple[str, int]]:
        self._check_available()
        return {path: self.state[path] for path in paths if path in self.state}

    def queue_length(self) -> int:
        return len(self.queue)

    def cancel(self) -> None:
        self._check_available()
        self.is_cancelled = True

    def is_settled(self) -> bool:
        return True

    def end(self) -> None:
        self._check_available()
        self.run_epoch = None

    def read(self, last_id: str, *, block_s: float) -> list[StreamEntry]:
        self._check_available()
        self.now += block_s
        return [entry for entry in self.entries if int(entry[0]) > int(last_id)]

    def discard(self, entry_ids: Sequence[str]) -> None:
        self._check_available()

    def publish(self, messages: Sequence[Message]) -> None:
        self._check_available()
        for message in messages:
            if message.worker:
                self.worker_queues.append((message.task.file_path, message.delivery, message.worker))
            else:
                self.queue.append((message.task.file_path, message.delivery))

    def pause(self, seconds: float) -> None:
        self.now += seconds

    def start(self, path: str, delivery: int) -> None:
        """Play a worker that takes the file's message."""
        self.queue.remove((path, delivery))
        assert self.state[path] == ("Q", delivery)
        self.state[path] = ("R", delivery)
        self.add_entry("started", path, delivery)

    def end_file(self, path: str, delivery: int, body: str = "PASS") -> None:
        """Play a worker that has run the file."""
        self.state[path] = ("D", delivery)
        self.add_entry("finished", path, delivery, body)

    def add_entry(self, kind: str, path: str, delivery: int, body: str = "") -> None:
        self.entries.append(StreamEntry(str(len(self.entries) + 1), kind, path, delivery, "w1", body))


class FakeDecoder(ResultDecoder):
    """Reads the status of a result, and the reason of a refusal, from the plain body."""

    def __init__(self) -> None: ...

    def result(self, entry: StreamEntry, task: TestTask) -> TestResult:
        return TestResult(file_path=entry.path, status=Status(entry.body), attempt=task.attempt)

    def refusal(self, entry: StreamEntry) -> str:
        return entry.body


def notices(events: Sequence[BackendEvent]) -> list[str]:
    return [event.text for event in events if isinstance(event, BackendNotice)]
