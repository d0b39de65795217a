"""What the backend over a queue needs of others: the broker's record of its run, and opened mail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from passmuster.queue_words import Entry, Lease
from passmuster.result import TestResult
from passmuster.task import TestTask


class Record(Protocol):
    """What is asked of the broker; see `passmuster.run_record.RunRecord`, which explains more."""

    def seed(self, attempts: Mapping[str, int], *, epoch: str, terms: str) -> None:
        """Begin, or begin again, with these files waiting."""

    def recall(self) -> tuple[str, Mapping[str, tuple[str, int]]] | None:
        """Return the epoch of a run under way, and letter and take of its files; None: there is none."""

    def add(self, attempts: Mapping[str, int]) -> None:
        """Let files wait, but for those that run."""

    def withdraw(self, path: str, attempt: int) -> bool:
        """Take a waiting file back; False: it waits no longer."""

    def epoch(self) -> str | None:
        """Return the word of the last `seed`; None: the broker knows no such run."""

    def beat(self, kept: int) -> None:
        """Give a sign of life, and say how many files are not on the queue yet."""

    def expired(self) -> Sequence[Lease]:
        """Return the leases whose time is over."""

    def expire(self, lease: Lease) -> bool:
        """End such a lease and forget its file; False: it was renewed, or the file is done."""

    def states(self, paths: Sequence[str]) -> Mapping[str, tuple[str, int]]:
        """Return letter (Q, R, D) and take of each of these files that the broker knows."""

    def queued(self) -> int:
        """Return how many messages the queue holds."""

    def cancel(self) -> None:
        """Let nothing start any more, and have what runs ended."""

    def is_settled(self) -> bool:
        """Whether nobody holds a lease."""

    def end(self) -> None:
        """Remove everything of the run."""

    def read(self, last_id: str, *, block_s: float) -> Sequence[Entry]:
        """Return what came after `last_id`."""

    def trim(self, last_id: str) -> None:
        """Remove the entries up to and with `last_id`."""


class Mail(Protocol):
    """Opens what workers sent; see `dispatcher.backends.queue_results`."""

    def result(self, entry: Entry, task: TestTask) -> TestResult:
        """Return the result of this task in an entry; one that says so where there is none."""

    def refusal(self, entry: Entry) -> str:
        """Return why a worker does not take part."""
