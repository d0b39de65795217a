"""A backend whose results are written down before the run hears of them, and that knows those of before.

Going on with a run is running it again, where attempts that have ended answer at once: the run decides anew
what follows from them, and comes to the same.
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
    """A `Backend` around another one.

    Args:
        inner: runs what has not run yet.
        journal: gets every result; closed by who opened it.
        ended: the results there are already.
    """

    def __init__(self, inner: Backend, journal: JournalWriter, ended: Ended) -> None:
        self._inner, self._journal, self._ended = inner, journal, ended
        self._again: deque[BackendEvent] = deque()
        self._is_broken = False

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know of the place."""
        return self._inner.notices

    def limits(self) -> tuple[Limit, ...]:
        """Return the limits in force."""
        return self._inner.limits()

    def submit(self, tasks: Sequence[TestTask], *, first: bool = False, spare: bool = False) -> None:
        """Take tasks; those that have ended answer with the next `poll`."""
        new = [task for task in tasks if (task.file_path, task.attempt) not in self._ended]
        for task in tasks:
            result = self._ended.get((task.file_path, task.attempt))
            if result is not None:
                self._again += (TaskStarted(task=task), TaskFinished(task=task, result=result))
        if new:
            self._inner.submit(new, first=first, spare=spare)

    def poll(self, timeout_s: float) -> tuple[BackendEvent, ...]:
        """Return what happened, written down."""
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
            # Without gaps, what is left of the journal is what happened up to now.
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
        """Take back what has not started."""
        return self._inner.withdraw()

    def stop(self, reason: StopReason, *, grace_s: float) -> None:
        """End what runs."""
        self._inner.stop(reason, grace_s=grace_s)

    def usage(self) -> Usage:
        """Return what the running files use."""
        return self._inner.usage()

    def close(self) -> None:
        """End whatever still runs."""
        self._inner.close()
