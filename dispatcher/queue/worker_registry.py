"""The workers of a run over a broker: which are present, which refuse the run and why, and whether any is
left.

Pure: its owner reads the worker statuses and passes the time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from passmuster.model.executor import FileUsage, WorkerUsage
from passmuster.model.task import TestTask
from passmuster.model.units import format_bytes
from passmuster.wire.broker_messages import RunningFileStatus, WorkerStatus

_MAX_NAMED = 3
"""Reasons in one line; ten machines with the same fault need not all be named."""


LATE_S = 10.0
"""Seconds after which a worker that fetches no files is reported: joining a run takes two or three."""


class WorkerRegistry:
    """The workers that run a run's files.

    Args:
        version: of this program; workers with another version do not count.
        patience_s: seconds without any worker after which the run stops waiting.
        now_s: the current time.
        run_id: empty: there is no run yet.
        refuses_mixture: whether workers with different interpreters or packages end the run.
    """

    def __init__(
        self,
        *,
        version: str,
        patience_s: float,
        now_s: float,
        run_id: str = "",
        refuses_mixture: bool = False,
    ) -> None:
        self._version, self._patience_s, self._run_id = version, patience_s, run_id
        self._late_since_s: dict[str, float] = {}
        self._idle_since_s: dict[str, float] = {}
        self._mixture: frozenset[str] = frozenset()
        self._refuses_mixture, self._refused_mixture = refuses_mixture, ""
        self._cards: dict[str, WorkerStatus] = {}
        self._refusals: dict[str, str] = {}
        self._nobody_since_s: float | None = now_s
        self._is_told = False

    @property
    def slots(self) -> int:
        """The slots of all workers together."""
        return sum(card.slots for card in self._serving())

    @property
    def names(self) -> frozenset[str]:
        """The workers that serve the run, or will: a worker's status reports it up to two seconds late."""
        return frozenset(card.name for card in self._serving())

    @property
    def budget_bytes(self) -> int:
        """The memory budgets of all workers together."""
        return sum(card.budget_bytes for card in self._serving())

    @property
    def most_bytes(self) -> int:
        """The memory of the largest of them."""
        return max((card.budget_bytes for card in self._serving()), default=0)

    def update(self, cards: Sequence[WorkerStatus], *, now_s: float, has_waiting: bool = False) -> list[str]:
        """Process the current worker statuses; return what the user should know, a line each.

        Args:
            cards: the current statuses.
            has_waiting: whether messages wait on the run's queue.
        """
        before = {card.name for card in self._serving()}
        # A worker that is reserved for another run does not serve this one.
        self._cards = {card.name: card for card in cards if card.only_run in ("", self._run_id)}
        for name in self._refusals.keys() - self._cards.keys():
            del self._refusals[name]  # A repaired worker may return under this name.
        serving = {card.name for card in self._serving()}
        notices = [f"worker {name} is gone" for name in sorted(before - self._cards.keys())]
        if serving:
            self._nobody_since_s, self._is_told = None, False
        elif self._nobody_since_s is None:
            self._nobody_since_s = now_s
        if not serving and before:
            notices.append("no worker is left; waiting for another one")
        return [
            *notices,
            *self._mixed(),
            *self._late(now_s),
            *self._idle(now_s, has_waiting=has_waiting),
        ]

    def _mixed(self) -> list[str]:
        """Return a warning, once for each mixture, about workers with different interpreters or packages."""
        by_python: dict[str, str] = {}
        for card in sorted(self._serving(), key=lambda card: card.name):
            if card.python and self._run_id in card.runs:
                by_python.setdefault(card.python, card.name)
        mixture = frozenset(by_python)
        if len(mixture) < 2 or mixture <= self._mixture:
            return []
        self._mixture = mixture
        named = [f"{name} has {ascii(python)[1:-1]}" for python, name in by_python.items()]
        more = len(named) - _MAX_NAMED
        text = ", ".join(named[:_MAX_NAMED]) + (f", and {more} more" if more > 0 else "")
        line = f"the workers differ, so a file's result may depend on where it runs: {text}"
        if self._refuses_mixture:
            self._refused_mixture = f"{line}; make them the same, or allow it by --mixed-workers warn"
        return [] if self._refuses_mixture else [line]

    def why_mixed(self) -> str:
        """Return why the run must not continue with these workers, once; empty: it may."""
        reason, self._refused_mixture = self._refused_mixture, ""
        return reason

    def _late(self, now_s: float) -> list[str]:
        """Return a warning, once, about workers that do not serve the run yet."""
        waiting = [card.name for card in self._serving() if self._run_id and self._run_id not in card.runs]
        return [
            f"worker {name} takes no file of this run yet: it serves another run, or makes the files ready"
            for name in _lasting(self._late_since_s, waiting, now_s)
        ]

    def _idle(self, now_s: float, *, has_waiting: bool) -> list[str]:
        """Return a warning, once, about workers that serve the run but do not fetch its messages."""
        idle = [
            card.name
            for card in self._serving()
            if has_waiting and self._run_id in card.runs and card.accepted < card.slots
        ]
        return [
            f"worker {name} has free slots and takes none of the files that wait: "
            "look at its log, and whether it can reach the broker"
            for name in _lasting(self._idle_since_s, idle, now_s)
        ]

    def refused(self, worker: str, reason: str) -> list[str]:
        """Record that a worker refuses the run; return what the user should know."""
        if self._refusals.get(worker) == reason:
            return []
        self._refusals[worker] = reason
        return [f"worker {worker} does not take part: {reason}"]

    def no_worker_problem(self, *, now_s: float) -> str:
        """Return why nothing can run any more, once; empty: a worker is present, or may still come."""
        since_s = self._nobody_since_s
        if since_s is None or self._is_told or now_s - since_s < self._patience_s:
            return ""
        self._is_told = True
        return self.nobody(waited_s=now_s - since_s)

    def nobody(self, *, waited_s: float) -> str:
        """Return the line that says that no worker can serve the run, and why."""
        reasons = [f"{name}: {reason}" for name, reason in sorted(self._refusals.items())]
        reasons += [
            f"{card.name}: it has version {card.version} of Passmuster, this is {self._version}; "
            "install the same version on both"
            for card in self._cards.values()
            if card.version != self._version and card.name not in self._refusals
        ]
        if not reasons:
            return f"no worker was there for {waited_s:.0f} s: start one with run-tests-worker --broker URL"
        more = len(reasons) - _MAX_NAMED
        text = "; ".join(reasons[:_MAX_NAMED]) + (f"; and {more} more" if more > 0 else "")
        return f"no worker takes part: {text}"

    def usage(self) -> tuple[WorkerUsage, ...]:
        """Return the resources and usage of each worker, by name."""
        return tuple(
            WorkerUsage(
                name=card.name,
                slots=card.slots,
                busy=card.busy,
                budget_bytes=card.budget_bytes,
                used_bytes=card.used_bytes,
            )
            for card in self._serving()
        )

    def file_usage(self, running: Sequence[tuple[TestTask, str]]) -> tuple[FileUsage, ...]:
        """Return the usage of each running task, given with its worker, as last reported."""
        told = {(card.name, file.run_id, file.path): file for card in self._serving() for file in card.files}
        return tuple(
            _file_usage(task, worker, told.get((worker, task.run_id, task.file_path)))
            for task, worker in running
        )

    def oversized_warning(self, path: str, predicted_bytes: int | None) -> str:
        """Return a warning about a file that fits no worker; empty: it fits, or that is unknown."""
        if predicted_bytes is None or not 0 < self.most_bytes < predicted_bytes:
            return ""
        return (
            f"{path} needed {format_bytes(predicted_bytes)} when it last ran, and the largest worker has "
            f"{format_bytes(self.most_bytes)}: it runs alone there, and is stopped if it needs more"
        )

    def _serving(self) -> list[WorkerStatus]:
        return [
            card
            for card in self._cards.values()
            if card.version == self._version and card.name not in self._refusals
        ]


def _lasting(since_s: dict[str, float], names: Sequence[str], now_s: float) -> list[str]:
    """Return, once for each, the names that have been present for `LATE_S` seconds.

    Args:
        since_s: since when each is present, changed here; infinite: it was returned.
        names: the names present now.
    """
    for name in since_s.keys() - set(names):
        del since_s[name]
    for name in names:
        since_s.setdefault(name, now_s)
    found = sorted(name for name in names if since_s[name] <= now_s - LATE_S)
    since_s.update(dict.fromkeys(found, math.inf))
    return found


def _file_usage(task: TestTask, worker: str, told: RunningFileStatus | None) -> FileUsage:
    return FileUsage(
        attempt_id=task.attempt_id,
        file_path=task.file_path,
        slot=0,
        seconds=0.0 if told is None else told.seconds,
        used_bytes=0 if told is None else told.used_bytes,
        worker=worker,
    )
