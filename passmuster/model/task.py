"""The order to run one file once: what a dispatcher hands to a worker.

A task carries no command, no interpreter and no working directory. Those belong to the worker that
executes it, so that nothing on the wire can choose what is executed.
"""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from passmuster.model.status import Isolation, RunnerKind
from passmuster.model.test_selection import WHOLE_FILE, TestSelection

DEFAULT_TIMEOUT_S = 300.0
"""Wall-clock seconds a file may run: the limit the shell scripts' users were promised."""

DEFAULT_GRACE_S = 5.0
"""Seconds between SIGTERM and SIGKILL: enough for coverage data and `finally` blocks to be written."""

DEFAULT_OUTPUT_LIMIT_BYTES = 2 * 1024 * 1024
"""Bytes of a file's output that are kept, half from its start and half from its end."""


IO_BOUND_CPU_SHARE = 0.4
"""A file that uses the processor for less than this share of its time is one that mostly waits."""


class Limits(Struct, frozen=True, kw_only=True):
    """What one attempt may use.

    Args:
        timeout_s: wall-clock seconds from start to SIGTERM.
        grace_s: seconds from SIGTERM to SIGKILL.
        memory_bytes: bytes the whole process tree may use; None: only the run's budget bounds it.
        output_bytes: bytes of output kept.
    """

    timeout_s: float = DEFAULT_TIMEOUT_S
    grace_s: float = DEFAULT_GRACE_S
    memory_bytes: int | None = None
    output_bytes: int = DEFAULT_OUTPUT_LIMIT_BYTES


class CoverageRequest(Struct, frozen=True, kw_only=True):
    """Request coverage data in addition to the result.

    Args:
        source: what to measure, as `coverage run --source` takes it; empty: what the project's own
            coverage configuration says, and where that says nothing the working directory.
    """

    source: tuple[str, ...] = ()


class TestTask(Struct, frozen=True, kw_only=True):
    """One attempt at one file.

    Args:
        run_id: the run this belongs to.
        file_path: the file, relative to the project root, with forward slashes.
        attempt: 1 for the first; every further start of the same file counts one up.
        runner: how to execute it; `AUTO` lets the file decide.
        limits: what the attempt may use.
        environment: changes to the worker's environment; None unsets a variable.
        predicted_s: seconds it took before; None when it never ran.
        predicted_bytes: peak bytes to reserve for it; None when it never ran.
        predicted_cpu_s: processor seconds it took before; None when unknown.
        exclusive: run it while nothing else runs on the same worker.
        coverage: None when no coverage data is wanted.
        group: the files of one group that may run at once are counted; empty: in no group.
        retries: how often it runs again when it failed; None: as often as the run's other files.
        isolation: how its process comes into being; `AUTO` lets the worker decide.
        source_identity: which tree the plan was made from; empty: not checked.
        wanted_worker: the worker that should run it, because its result is compared with one from there;
            empty: any. Another worker runs it where this one is gone or has no slot for it in time.
        selection: the tests of the file that run.
    """

    __test__: ClassVar[bool] = False

    run_id: str
    file_path: str
    attempt: int = 1
    runner: RunnerKind = RunnerKind.AUTO
    limits: Limits = Limits()
    environment: tuple[tuple[str, str | None], ...] = ()
    predicted_s: float | None = None
    predicted_bytes: int | None = None
    predicted_cpu_s: float | None = None
    exclusive: bool = False
    coverage: CoverageRequest | None = None
    group: str = ""
    retries: int | None = None
    isolation: Isolation = Isolation.AUTO
    source_identity: str = ""
    wanted_worker: str = ""
    selection: TestSelection = WHOLE_FILE

    @property
    def predicted_cpus(self) -> float:
        """How many processors it is thought to keep busy: 1 unless its history says that it mostly waits.

        Files that run side by side on too few processors seem to wait: when twice as many run as there are
        processors, each uses half a one. What is not clearly below that says nothing.
        """
        if self.predicted_cpu_s is None or not self.predicted_s:
            return 1.0
        share = self.predicted_cpu_s / self.predicted_s
        return share if share < IO_BOUND_CPU_SHARE else 1.0

    @property
    def is_io_bound(self) -> bool:
        """Whether its history says that it leaves the processor to others most of the time."""
        return self.predicted_cpus < IO_BOUND_CPU_SHARE

    @property
    def attempt_id(self) -> str:
        """`run:path#attempt`, unique over all runs; the queue's task id too."""
        return f"{self.run_id}:{self.file_path}#{self.attempt}"
