"""Backends around the one that runs files: they answer for tasks whose result is already known.

`JournaledBackend` journals results before the run sees them, and replays those of an interrupted run.
Resuming a run executes it again, but attempts that already finished answer at once. The run derives the same
decisions from the same results.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dispatcher.engine.backend import (
    Backend,
    BackendEvent,
    BackendNotice,
    TaskFinished,
    TaskStarted,
    WrappedBackend,
)
from dispatcher.engine.journal import FinishedAttempts, JournalWriter
from passmuster.model.result import TestResult
from passmuster.model.status import Status
from passmuster.model.task import TestTask


class JournaledBackend(WrappedBackend):
    """Journals what another backend returns.

    Args:
        inner: runs the files without a result.
        journal: receives every result; its opener closes it.
        finished: the results that already exist.
    """

    def __init__(self, inner: Backend, journal: JournalWriter, finished: FinishedAttempts) -> None:
        super().__init__(inner)
        self._journal, self._finished = journal, finished
        self._replayed: list[BackendEvent] = []
        self._is_broken = False

    def submit(self, tasks: Sequence[TestTask], *, urgent: bool = False, best_effort: bool = False) -> None:
        """Queue tasks; those that already finished answer with the next `poll`."""
        new = []
        for task in tasks:
            result = self._finished.get((task.key, task.attempt))
            if result is None:
                new.append(task)
            else:
                self._replayed += (TaskStarted(task=task), TaskFinished(task=task, result=result))
        if new:
            self._inner.submit(new, urgent=urgent, best_effort=best_effort)

    def poll(self, timeout_s: float) -> tuple[BackendEvent, ...]:
        """Return what happened, after journaling it."""
        if self._replayed:
            found, self._replayed = tuple(self._replayed), []
            return found
        events = self._inner.poll(timeout_s)
        results = [event.result for event in events if isinstance(event, TaskFinished)]
        if not results or self._is_broken:
            return events
        try:
            self._journal.add([result for result in results if not result.status.is_cancelled])
        except OSError as error:
            # Nothing more is written, so that the journal has no gaps.
            self._is_broken = True
            text = (
                f"the journal of this run cannot be written: {error.strerror};"
                " --resume would rerun the files that finish from now on"
            )
            return (*events, BackendNotice(text=text))
        return events


class CachedBackend(WrappedBackend):
    """Reports cached files as passed.

    Args:
        inner: runs all other files.
        cached: paths of the cached files.
    """

    def __init__(self, inner: Backend, cached: Collection[str]) -> None:
        super().__init__(inner)
        self._cached = frozenset(cached)
        self._answers: list[BackendEvent] = []

    def submit(self, tasks: Sequence[TestTask], *, urgent: bool = False, best_effort: bool = False) -> None:
        """Queue tasks; those of cached files answer with the next `poll`."""
        others = []
        for task in tasks:
            if task.file_path in self._cached:
                result = TestResult(
                    file_path=task.file_path,
                    status=Status.PASS,
                    attempt=task.attempt,
                    runner=task.runner,
                    is_cached=True,
                )
                self._answers += (TaskStarted(task=task), TaskFinished(task=task, result=result))
            else:
                others.append(task)
        if others:
            self._inner.submit(others, urgent=urgent, best_effort=best_effort)

    def poll(self, timeout_s: float) -> tuple[BackendEvent, ...]:
        """Return what happened."""
        if self._answers:
            found, self._answers = tuple(self._answers), []
            return found
        return self._inner.poll(timeout_s)
