"""Backends around the one that runs files: they answer for tasks whose result is already known.

`JournaledBackend` journals results before the run sees them, and replays those of an interrupted run.
Resuming a run executes it again, but attempts that already finished answer at once. The run derives the same
decisions from the same results.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
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


class _AnsweringBackend(WrappedBackend, ABC):
    """Answers for tasks whose result is known; another backend runs the others."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self._answers: list[BackendEvent] = []

    @abstractmethod
    def _known_result(self, task: TestTask) -> TestResult | None:
        """Return the result of a task; None: it must run."""

    def submit(self, tasks: Sequence[TestTask], *, urgent: bool = False, best_effort: bool = False) -> None:
        """Queue tasks; those whose result is known answer with the next `poll`."""
        others = []
        for task in tasks:
            result = self._known_result(task)
            if result is None:
                others.append(task)
            else:
                self._answers += (TaskStarted(task=task), TaskFinished(task=task, result=result))
        if others:
            self._inner.submit(others, urgent=urgent, best_effort=best_effort)

    def poll(self, timeout_s: float) -> tuple[BackendEvent, ...]:
        """Return the answers, or what happened."""
        if self._answers:
            found, self._answers = tuple(self._answers), []
            return found
        return self._poll_inner(timeout_s)

    def _poll_inner(self, timeout_s: float) -> tuple[BackendEvent, ...]:
        return self._inner.poll(timeout_s)


class JournaledBackend(_AnsweringBackend):
    """Journals what another backend returns.

    Args:
        inner: runs the files without a result.
        journal: receives every result; its opener closes it.
        finished: the results that already exist.
    """

    def __init__(self, inner: Backend, journal: JournalWriter, finished: FinishedAttempts) -> None:
        super().__init__(inner)
        self._journal, self._finished = journal, finished
        self._is_broken = False

    def _known_result(self, task: TestTask) -> TestResult | None:
        return self._finished.get((task.key, task.attempt))

    def _poll_inner(self, timeout_s: float) -> tuple[BackendEvent, ...]:
        """Return what happened, after journaling it."""
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


class CachedBackend(_AnsweringBackend):
    """Reports cached files as passed.

    Args:
        inner: runs all other files.
        cached: paths of the cached files.
    """

    def __init__(self, inner: Backend, cached: Collection[str]) -> None:
        super().__init__(inner)
        self._cached = frozenset(cached)

    def _known_result(self, task: TestTask) -> TestResult | None:
        if task.file_path not in self._cached:
            return None
        return TestResult(
            file_path=task.file_path,
            status=Status.PASS,
            attempt=task.attempt,
            runner=task.runner,
            is_cached=True,
        )
