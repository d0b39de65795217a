"""A backend whose leader can hand over: running files continue for the next leader, if there is one."""

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
    """This machine handed the run over to another member."""


class HandoverBackend:
    """A `Backend` that wraps another one.

    Args:
        leaves: returns whether this machine hands the run over instead of ending it; releases the leader
            lease if so.
    """

    def __init__(self, inner: Backend, leaves: Callable[[], bool]) -> None:
        self._inner, self._leaves = inner, leaves

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know about the backend."""
        return self._inner.notices

    def limits(self) -> tuple[Limit, ...]:
        """Return the limits in force."""
        return self._inner.limits()

    def submit(self, tasks: Sequence[TestTask], *, first: bool = False, spare: bool = False) -> None:
        """Queue tasks."""
        self._inner.submit(tasks, first=first, spare=spare)

    def poll(self, timeout_s: float) -> tuple[BackendEvent, ...]:
        """Return what happened."""
        return self._inner.poll(timeout_s)

    def wake(self) -> None:
        """Make a waiting `poll` return."""
        self._inner.wake()

    def withdraw(self) -> tuple[TestTask, ...]:
        """Remove tasks that have not started.

        Raises:
            HandedOverError: the run was handed over.
        """
        if self._leaves():
            raise HandedOverError("this machine has left the run")
        return self._inner.withdraw()

    def stop(self, reason: StopReason, *, grace_s: float) -> None:
        """Stop running files."""
        self._inner.stop(reason, grace_s=grace_s)

    def usage(self) -> Usage:
        """Return the usage of the running files."""
        return self._inner.usage()

    def close(self) -> None:
        """Stop whatever still runs, unless another machine leads now."""
        with contextlib.suppress(NotLeadingError):
            self._inner.close()
