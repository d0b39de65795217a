"""A backend around the one that runs files: answers for tasks whose result is known, and journals the rest.

Resuming a run executes it again, but attempts that already finished answer at once. The run derives the same
decisions from the same results. Cached files answer in the same way.
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
from dispatcher.model.plan import RunPlan
from passmuster.model.result import TestResult
from passmuster.model.status import Status
from passmuster.model.task import TestTask


class JournaledBackend(WrappedBackend):
    """Answers for tasks whose result is known, and journals what another backend returns.

    Args:
        known: the results that already exist.
        journal: receives every new result before the run sees it; its opener closes it. None: there is none.
    """

    def __init__(self, inner: Backend, known: FinishedAttempts, journal: JournalWriter | None) -> None:
        super().__init__(inner)
        self._known, self._journal = known, journal
        self._answers: list[BackendEvent] = []

    def submit(self, tasks: Sequence[TestTask], *, urgent: bool = False, best_effort: bool = False) -> None:
        """Queue tasks; those whose result is known answer with the next `poll`."""
        others = []
        for task in tasks:
            result = self._known.get((task.key, task.attempt))
            if result is None:
                others.append(task)
            else:
                self._answers += (TaskStarted(task=task), TaskFinished(task=task, result=result))
        if others:
            self._inner.submit(others, urgent=urgent, best_effort=best_effort)

    def poll(self, timeout_s: float) -> tuple[BackendEvent, ...]:
        """Return the answers, or what happened, after journaling it."""
        if self._answers:
            found, self._answers = tuple(self._answers), []
            return found
        events = self._inner.poll(timeout_s)
        results = [event.result for event in events if isinstance(event, TaskFinished)]
        if not results or self._journal is None:
            return events
        try:
            self._journal.add([result for result in results if not result.status.is_cancelled])
        except OSError as error:
            self._journal = None  # Nothing more is written, so that the journal has no gaps.
            text = (
                f"the journal of this run cannot be written: {error.strerror};"
                " --resume would rerun the files that finish from now on"
            )
            return (*events, BackendNotice(text=text))
        return events


def cached_results(plan: RunPlan, cached: Collection[str]) -> FinishedAttempts:
    """Return the results of the cached files of a plan, given by their paths: they passed."""
    tasks = (planned.task for planned in plan.files if planned.file.path in cached)
    return {
        (task.key, task.attempt): TestResult(
            file_path=task.file_path,
            status=Status.PASS,
            attempt=task.attempt,
            runner=task.runner,
            is_cached=True,
        )
        for task in tasks
    }
