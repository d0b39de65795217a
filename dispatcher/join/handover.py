"""A backend that a leader can leave: what runs goes on for the next one, where there is one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from dispatcher.engine.backend import Backend, BackendEvent
from passmuster.model.errors import PassmusterError
from passmuster.model.executor import Limit, Usage
from passmuster.model.status import StopReason
from passmuster.model.task import TestTask
from passmuster.wire.join_store import NotLeadingError


class HandedOverError(PassmusterError):
    """This machine leaves the run to others."""


class HandoverBackend:
    """A `Backend` around another one.

    Args:
        inner: runs the files.
        leaves: whether this machine leaves the run to others, and does not end it; gives up the claim then.
    """

    def __init__(self, inner: Backend, leaves: Callable[[], bool]) -> None:
        self._inner, self._leaves = inner, leaves

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know of the place."""
        return self._inner.notices

    def limits(self) -> tuple[Limit, ...]:
        """Return the limits in force."""
        return self._inner.limits()

    def submit(self, tasks: Sequence[TestTask], *, first: bool = False, spare: bool = False) -> None:
        """Take tasks."""
        self._inner.submit(tasks, first=first, spare=spare)

    def poll(self, timeout_s: float) -> tuple[BackendEvent, ...]:
        """Return what happened."""
        return self._inner.poll(timeout_s)

    def wake(self) -> None:
        """Make a waiting `poll` return."""
        self._inner.wake()

    def withdraw(self) -> tuple[TestTask, ...]:
        """Take back what has not started.

        Raises:
            HandedOverError: it was left to others.
        """
        if self._leaves():
            raise HandedOverError("this machine has left the run")
        return self._inner.withdraw()

    def stop(self, reason: StopReason, *, grace_s: float) -> None:
        """End what runs."""
        self._inner.stop(reason, grace_s=grace_s)

    def usage(self) -> Usage:
        """Return what the running files use."""
        return self._inner.usage()

    def close(self) -> None:
        """End whatever still runs, unless that is another machine's by now."""
        with contextlib.suppress(NotLeadingError):
            self._inner.close()
