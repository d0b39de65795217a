"""A backend that journals results before the run sees them, and replays those of an interrupted run.

Resuming a run executes it again, but attempts that already finished answer at once. The run derives the same
decisions from the same results.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from dispatcher.engine.backend import Backend, BackendEvent, BackendNotice, TaskFinished, TaskStarted
from dispatcher.engine.journal import Ended, JournalWriter
from passmuster.model.executor import Limit, Usage
from passmuster.model.status import StopReason
from passmuster.model.task import TestTask


class JournaledBackend:
    """A `Backend` that wraps another one.

    Args:
        inner: runs the files without a result.
        journal: receives every result; its opener closes it.
        ended: the results that already exist.
    """

    def __init__(self, inner: Backend, journal: JournalWriter, ended: Ended) -> None:
        self._inner, self._journal, self._ended = inner, journal, ended
        self._again: deque[BackendEvent] = deque()
        self._is_broken = False

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know about the backend."""
        return self._inner.notices

    def limits(self) -> tuple[Limit, ...]:
        """Return the limits in force."""
        return self._inner.limits()

    def submit(self, tasks: Sequence[TestTask], *, first: bool = False, spare: bool = False) -> None:
        """Queue tasks; those that already finished answer with the next `poll`."""
        new = [task for task in tasks if (task.file_path, task.attempt) not in self._ended]
        for task in tasks:
            result = self._ended.get((task.file_path, task.attempt))
            if result is not None:
                self._again += (TaskStarted(task=task), TaskFinished(task=task, result=result))
        if new:
            self._inner.submit(new, first=first, spare=spare)

    def poll(self, timeout_s: float) -> tuple[BackendEvent, ...]:
        """Return what happened, after journaling it."""
        if self._again:
            found, self._again = tuple(self._again), deque()
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
                " --resume would run again what ends from now on"
            )
            return (*events, BackendNotice(text=text))
        return events

    def wake(self) -> None:
        """Make a waiting `poll` return."""
        self._inner.wake()

    def withdraw(self) -> tuple[TestTask, ...]:
        """Remove tasks that have not started."""
        return self._inner.withdraw()

    def stop(self, reason: StopReason, *, grace_s: float) -> None:
        """Stop running files."""
        self._inner.stop(reason, grace_s=grace_s)

    def usage(self) -> Usage:
        """Return the usage of the running files."""
        return self._inner.usage()

    def close(self) -> None:
        """Stop whatever still runs."""
        self._inner.close()
