"""The workers of a run over a broker: which are present, which refuse the run and why, and whether any is
left.

Pure: its owner reads the worker statuses and passes the time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from passmuster.model.executor import FileUsage, WorkerUsage
from passmuster.model.task import TestTask
from passmuster.model.text import first_texts
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
        timeout_s: seconds without any worker after which the run stops waiting.
        run_id: empty: there is no run yet.
        refuses_mixture: whether workers with different interpreters or packages end the run.
    """

    def __init__(
        self,
        *,
        version: str,
        timeout_s: float,
        now_s: float,
        run_id: str = "",
        refuses_mixture: bool = False,
    ) -> None:
        self._version, self._timeout_s, self._run_id = version, timeout_s, run_id
        self._late_since_s: dict[str, float] = {}
        self._idle_since_s: dict[str, float] = {}
        self._mixture: frozenset[str] = frozenset()
        self._refuses_mixture = refuses_mixture
        self._mixture_problem: str | None = None
        self._statuses: dict[str, WorkerStatus] = {}
        self._refusals: dict[str, str] = {}
        self._empty_since_s: float | None = now_s
        self._has_reported_empty = False

    @property
    def slots(self) -> int:
        """The slots of all workers together."""
        return sum(status.slots for status in self._serving())

    @property
    def names(self) -> frozenset[str]:
        """The workers that serve the run, or will: a worker's status reports it up to two seconds late."""
        return frozenset(status.name for status in self._serving())

    @property
    def budget_bytes(self) -> int:
        """The memory budgets of all workers together."""
        return sum(status.budget_bytes for status in self._serving())

    @property
    def largest_budget_bytes(self) -> int:
        """The memory budget of the largest of them."""
        return max((status.budget_bytes for status in self._serving()), default=0)

    def update(
        self, statuses: Sequence[WorkerStatus], *, now_s: float, has_waiting: bool = False
    ) -> list[str]:
        """Process the current worker statuses; return what the user should know, a line each.

        Args:
            has_waiting: whether messages wait on the run's queue.
        """
        before = self.names
        # A worker that is reserved for another run does not serve this one.
        self._statuses = {one.name: one for one in statuses if one.only_run in ("", self._run_id)}
        for name in self._refusals.keys() - self._statuses.keys():
            del self._refusals[name]  # A repaired worker may return under this name.
        serving = self._serving()
        notices = [f"worker {name} is gone" for name in sorted(before - self._statuses.keys())]
        if serving:
            self._empty_since_s, self._has_reported_empty = None, False
        elif self._empty_since_s is None:
            self._empty_since_s = now_s
        if not serving and before:
            notices.append("no worker is left; waiting for another one")
        fetching = [status for status in serving if self._run_id in status.runs]
        late = [status.name for status in serving if self._run_id and status not in fetching]
        idle = [status.name for status in fetching if has_waiting and status.accepted < status.slots]
        return [
            *notices,
            *self._mixture_warnings(fetching),
            *(
                f"worker {name} has not fetched a file of this run yet: "
                "it serves another run, or prepares the files"
                for name in _lasting(self._late_since_s, late, now_s)
            ),
            *(
                f"worker {name} has free slots but fetches none of the waiting files: "
                "check its log, and whether it can reach the broker"
                for name in _lasting(self._idle_since_s, idle, now_s)
            ),
        ]

    def _mixture_warnings(self, fetching: Sequence[WorkerStatus]) -> list[str]:
        """Return a warning, once for each mixture, about workers with different interpreters or packages."""
        by_python: dict[str, str] = {}
        for status in sorted(fetching, key=lambda status: status.name):
            if status.python:
                by_python.setdefault(status.python, status.name)
        mixture = frozenset(by_python)
        if len(mixture) < 2 or mixture <= self._mixture:
            return []
        self._mixture = mixture
        texts = [f"{name} has {ascii(python)[1:-1]}" for python, name in by_python.items()]
        named = ", ".join(first_texts(texts, _MAX_NAMED))
        line = f"the workers differ, so a file's result may depend on where it runs: {named}"
        if not self._refuses_mixture:
            return [line]
        self._mixture_problem = f"{line}; make them the same, or allow it by --mixed-workers warn"
        return []

    def mixture_problem(self) -> str | None:
        """Return why the run must not continue with these workers, once; None: it may."""
        problem, self._mixture_problem = self._mixture_problem, None
        return problem

    def refused(self, worker: str, reason: str) -> list[str]:
        """Record that a worker refuses the run; return what the user should know."""
        if self._refusals.get(worker) == reason:
            return []
        self._refusals[worker] = reason
        return [f"worker {worker} refuses the run: {reason}"]

    def no_worker_problem(self, *, now_s: float) -> str | None:
        """Return why no file can run any more, once; None: a worker is present, or may still come."""
        since_s = self._empty_since_s
        if since_s is None or self._has_reported_empty or now_s - since_s < self._timeout_s:
            return None
        self._has_reported_empty = True
        return self.no_worker_message(waited_s=now_s - since_s)

    def no_worker_message(self, *, waited_s: float) -> str:
        """Return the line that says that no worker can serve the run, and why."""
        reasons = [f"{name}: {reason}" for name, reason in sorted(self._refusals.items())]
        reasons += [
            f"{status.name}: it has version {status.version} of Passmuster, this is {self._version}; "
            "install the same version on both"
            for status in self._statuses.values()
            if status.version != self._version and status.name not in self._refusals
        ]
        if not reasons:
            return f"no worker was there for {waited_s:.0f} s: start one with run-tests-worker --broker URL"
        return f"no worker can serve this run: {'; '.join(first_texts(reasons, _MAX_NAMED))}"

    def usage(self) -> tuple[WorkerUsage, ...]:
        """Return the resources and usage of each worker, by name."""
        return tuple(
            WorkerUsage(
                name=status.name,
                slots=status.slots,
                busy=status.busy,
                budget_bytes=status.budget_bytes,
                used_bytes=status.used_bytes,
            )
            for status in self._serving()
        )

    def file_usage(self, running: Sequence[tuple[TestTask, str]]) -> tuple[FileUsage, ...]:
        """Return the usage of each running task, given with its worker, as last reported."""
        reported = {
            (status.name, file.run_id, file.path): file for status in self._serving() for file in status.files
        }
        return tuple(
            _file_usage(task, worker, reported.get((worker, task.run_id, task.key)))
            for task, worker in running
        )

    def oversized_warning(self, path: str, predicted_bytes: int | None) -> str | None:
        """Return a warning about a file that fits no worker; None: it fits, or that is unknown."""
        if predicted_bytes is None or not 0 < self.largest_budget_bytes < predicted_bytes:
            return None
        return (
            f"{path} needed {format_bytes(predicted_bytes)} when it last ran, and the largest worker has "
            f"{format_bytes(self.largest_budget_bytes)}: it runs exclusively there, and is stopped if it"
            " needs more"
        )

    def _serving(self) -> list[WorkerStatus]:
        return [
            status
            for status in self._statuses.values()
            if status.version == self._version and status.name not in self._refusals
        ]


def _lasting(since_s: dict[str, float], names: Sequence[str], now_s: float) -> list[str]:
    """Return, once for each, the names that have been present for `LATE_S` seconds.

    Args:
        since_s: since when each is present, changed here; infinite: it was returned.
    """
    for name in since_s.keys() - set(names):
        del since_s[name]
    for name in names:
        since_s.setdefault(name, now_s)
    found = sorted(name for name in names if since_s[name] <= now_s - LATE_S)
    since_s.update(dict.fromkeys(found, math.inf))
    return found


def _file_usage(task: TestTask, worker: str, reported: RunningFileStatus | None) -> FileUsage:
    return FileUsage(
        attempt_id=task.attempt_id,
        file_path=task.file_path,
        slot=0,
        seconds=0.0 if reported is None else reported.seconds,
        used_bytes=0 if reported is None else reported.used_bytes,
        worker=worker,
    )
