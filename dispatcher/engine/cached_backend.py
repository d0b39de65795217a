"""A backend that answers for files whose earlier pass still counts, and has another one run the others."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dispatcher.engine.backend import Backend, BackendEvent, TaskFinished, TaskStarted, WrappedBackend
from passmuster.model.result import TestResult
from passmuster.model.status import Status
from passmuster.model.task import TestTask


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
