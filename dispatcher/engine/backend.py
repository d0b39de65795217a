"""The interface between a run and the place where its files execute.

A backend takes tasks in the order in which they should start, decides where each one runs, and reports the
results. It never decides whether a result counts or whether a file runs again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from dispatcher.config.model import TestConfig
from passmuster.host.capacity import Capacity
from passmuster.model.executor import Limit, Usage
from passmuster.model.hidden_fields import repr_without
from passmuster.model.result import TestResult
from passmuster.model.status import StopReason
from passmuster.model.task import TestTask


class TaskStarted(Struct, frozen=True, kw_only=True):
    """A worker started this task. `worker` names it if there are several."""

    task: TestTask
    worker: str = ""


class TaskFinished(Struct, frozen=True, kw_only=True):
    """This task finished: exactly one for every task that was submitted and not withdrawn."""

    task: TestTask
    result: TestResult


class BackendNotice(Struct, frozen=True, kw_only=True):
    """A one-line warning that belongs to no file."""

    text: str


BackendEvent = TaskStarted | TaskFinished | BackendNotice


class Backend(Protocol):
    """Executes tasks. All methods are called from the run's only thread."""

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know about the backend, a line each; available from the start."""

    def limits(self) -> tuple[Limit, ...]:
        """Return the limits in force where the tasks run, each with its source."""

    def submit(self, tasks: Sequence[TestTask], *, urgent: bool = False, best_effort: bool = False) -> None:
        """Queue tasks, in the order in which they should start.

        Args:
            urgent: queue them before the tasks that already wait.
            best_effort: start them only while no other task waits and a slot is free next to a running
                file. No running file is evicted for them.
        """

    def poll(self, timeout_s: float) -> tuple[BackendEvent, ...]:
        """Return what happened since the last call, waiting up to `timeout_s` seconds for something.

        May return early with nothing; a signal handler may call `wake` for that.

        Raises:
            InfrastructureError: nothing further can start. Running files still finish and later calls report
                them. Raised once for each such failure.
        """

    def wake(self) -> None:
        """Make a waiting `poll` return. Safe in a signal handler."""

    def withdraw(self) -> tuple[TestTask, ...]:
        """Remove and return every task that has not started, best-effort ones included. They produce no
        event.
        """

    def stop(self, reason: StopReason, *, grace_s: float) -> None:
        """Stop running files, with `grace_s` seconds between SIGTERM and SIGKILL. `poll` still delivers their
        results.
        """

    def usage(self) -> Usage:
        """Return the last measured usage of the running files."""

    def close(self) -> None:
        """Stop whatever still runs and release all resources. Called exactly once, even after a failure."""


class WrappedBackend:
    """A `Backend` that passes every call on to another one; derived classes change some of them."""

    def __init__(self, inner: Backend) -> None:
        self._inner = inner

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know about the backend."""
        return self._inner.notices

    def limits(self) -> tuple[Limit, ...]:
        """Return the limits in force."""
        return self._inner.limits()

    def submit(self, tasks: Sequence[TestTask], *, urgent: bool = False, best_effort: bool = False) -> None:
        """Queue tasks."""
        self._inner.submit(tasks, urgent=urgent, best_effort=best_effort)

    def poll(self, timeout_s: float) -> tuple[BackendEvent, ...]:
        """Return what happened."""
        return self._inner.poll(timeout_s)

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


class BackendRequest(Struct, frozen=True, kw_only=True):
    """What a backend must know about a run before its first file."""

    config: TestConfig
    run_id: str
    workdir: Path
    """The working directory of the tests, absolute."""
    capacity: Capacity
    """What the target gives this run."""
    interpreter: str
    """The project's Python, absolute."""
    cache_tag: str = ""
    """Its `sys.implementation.cache_tag`; empty: unknown."""
    interpreter_identity: str = ""
    """Its name in results (`CPython 3.11.7`); empty: unknown."""
    environ: Mapping[str, str]
    """The environment from which tests start."""
    coverage_dir: Path | None = None
    """The directory for coverage data; None: coverage is off."""
    tasks: tuple[TestTask, ...] = ()
    """The first attempt at each file, in the order in which they should start."""
    is_resumed: bool = False
    """Whether this resumes an interrupted run, so that some files may still be running."""

    __repr__ = repr_without("environ")


class ExecutionTarget(Protocol):
    """Where a run executes: this machine, a broker or a cluster. The composition root chooses it."""

    def capacity(self, config: TestConfig) -> Capacity:
        """Return the capacity that a run with this configuration gets."""

    def backend(self, request: BackendRequest) -> Backend:
        """Make the backend of one run."""

    def explain_preload(self, request: BackendRequest) -> tuple[str, ...]:
        """Return, as lines, which modules would be preloaded before the run's files are forked, which not,
        and why.
        """


class WarmTarget(ExecutionTarget, Protocol):
    """This machine, with fork servers that stay from run to run."""

    def announce(self, request: BackendRequest) -> None:
        """Start the servers for all files that coming runs may run, in the background."""

    def discard_servers(self) -> None:
        """Stop the servers; the next run starts new ones."""

    def close(self) -> None:
        """Stop the servers. Idempotent."""
