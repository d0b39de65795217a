"""The seam between a run and where its files are executed.

A backend takes tasks in the order in which they should start and says what became of them. It decides
placement; it never decides whether a result counts, or whether a file runs again.
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
    """A worker began with this task; `worker`: which, where there are several."""

    task: TestTask
    worker: str = ""


class TaskFinished(Struct, frozen=True, kw_only=True):
    """This task ended with this result: exactly one for every task that was submitted and not withdrawn."""

    task: TestTask
    result: TestResult


class BackendNotice(Struct, frozen=True, kw_only=True):
    """Something the user should know that belongs to no file: one line."""

    text: str


BackendEvent = TaskStarted | TaskFinished | BackendNotice


class Backend(Protocol):
    """Executes tasks somewhere. All methods are called from the run's one thread."""

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know of the place, a line each; known from the start."""

    def limits(self) -> tuple[Limit, ...]:
        """Return the limits in force where the tasks run, each with its source."""

    def submit(self, tasks: Sequence[TestTask], *, first: bool = False, spare: bool = False) -> None:
        """Take tasks, in the order in which they should start.

        Args:
            tasks: what is to run.
            first: before those that wait.
            spare: only while no other task waits, where there is room beside those that run. What runs
                is not ended for others' sake.
        """

    def poll(self, timeout_s: float) -> tuple[BackendEvent, ...]:
        """Return what happened since the last call, waiting up to `timeout_s` seconds for something.

        May return early with nothing; a signal handler may call `wake` to make it so.

        Raises:
            InfrastructureError: nothing further can start; what runs still ends, and is told by later
                calls. Raised once for each such failure.
        """

    def wake(self) -> None:
        """Make a waiting `poll` return. Safe in a signal handler."""

    def withdraw(self) -> tuple[TestTask, ...]:
        """Take back and return every task that has not started, spare ones too. They produce no event."""

    def stop(self, reason: StopReason, *, grace_s: float) -> None:
        """End what runs, with `grace_s` seconds between SIGTERM and SIGKILL. Results still come by `poll`."""

    def usage(self) -> Usage:
        """Return what the running files use, as last measured."""

    def close(self) -> None:
        """End whatever still runs and release everything. Called once, whatever happened."""


class BackendRequest(Struct, frozen=True, kw_only=True):
    """What a backend must know about a run before its first file.

    Args:
        config: what the user wants.
        run_id: the run, unlike any other.
        workdir: the directory the tests run in, absolute.
        interpreter: the project's Python, absolute.
        cache_tag: its `sys.implementation.cache_tag`; empty: unknown.
        interpreter_identity: what results call it (`CPython 3.11.7`); empty: unknown.
        environ: the environment the tests start from.
        coverage_dir: where coverage data is to be put; None: none is measured.
        tasks: the first attempt at each file that will run, in the order in which they should start.
        is_resumed: whether the run was broken off before, so that some of it may still be under way.
    """

    config: TestConfig
    run_id: str
    workdir: Path
    interpreter: str
    environ: Mapping[str, str]
    cache_tag: str = ""
    interpreter_identity: str = ""
    coverage_dir: Path | None = None
    tasks: tuple[TestTask, ...] = ()
    is_resumed: bool = False

    __repr__ = repr_without("environ")


class ExecutionTarget(Protocol):
    """A place where runs can be held: this machine, or a queue. Chosen by the composition root."""

    def capacity(self, config: TestConfig) -> Capacity:
        """Return what a run with this configuration would get."""

    def backend(self, request: BackendRequest) -> Backend:
        """Make the backend of one run."""

    def explain_preload(self, request: BackendRequest) -> tuple[str, ...]:
        """Return what would be imported before the run's files are forked, what not, and why: lines."""
