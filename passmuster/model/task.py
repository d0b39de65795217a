"""The order to execute one attempt at a file, which a dispatcher gives to a worker.

A task carries no command, no interpreter and no working directory. Those belong to the worker, so that no
message can choose what is executed.
"""

from __future__ import annotations

import re
from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace

from passmuster.model.status import Isolation, RunnerKind
from passmuster.model.test_selection import WHOLE_FILE, FilePart, TestSelection

DEFAULT_TIMEOUT_S = 300.0
"""Wall-clock seconds for a file: the limit that the users of the shell scripts were promised."""

DEFAULT_GRACE_S = 5.0
"""Seconds between SIGTERM and SIGKILL: enough for coverage data and `finally` blocks to be written."""

DEFAULT_OUTPUT_LIMIT_BYTES = 2 * 1024 * 1024
"""Bytes of a file's output that are kept, half from its start and half from its end."""

IO_BOUND_CPU_SHARE = 0.4
"""A file that uses a CPU for less than this share of its time is I/O-bound."""


class Limits(Struct, frozen=True, kw_only=True):
    """What one attempt may use."""

    timeout_s: float = DEFAULT_TIMEOUT_S  # wall-clock seconds from start to SIGTERM
    grace_s: float = DEFAULT_GRACE_S
    memory_bytes: int | None = None  # of the whole process tree; None: only the run's budget bounds it
    output_bytes: int = DEFAULT_OUTPUT_LIMIT_BYTES


class CoverageRequest(Struct, frozen=True, kw_only=True):
    """Request coverage data in addition to the result."""

    source: tuple[str, ...] = ()
    """What to measure, as `coverage run --source` takes it; empty: what the project's own coverage
    configuration says, and where that says nothing the working directory."""


class TestTask(Struct, frozen=True, kw_only=True):
    """One attempt at one file."""

    __test__: ClassVar[bool] = False

    run_id: str
    file_path: str  # the file, relative to the project root, with forward slashes
    attempt: int = 1  # from 1; every further start of the file counts one up
    runner: RunnerKind = RunnerKind.AUTO  # how to execute it; `AUTO` lets the file decide
    limits: Limits = Limits()
    environment: tuple[tuple[str, str | None], ...] = ()
    """Changes to the worker's own; None unsets a variable."""
    predicted_s: float | None = None  # wall-clock seconds; None: it never ran
    predicted_bytes: int | None = None  # peak memory to reserve; None: it never ran
    predicted_cpu_s: float | None = None  # None: unknown
    exclusive: bool = False  # whether nothing else may run on the same worker
    coverage: CoverageRequest | None = None  # None: no coverage data is requested
    group: str = ""  # its concurrency group; empty: none
    retries: int | None = None  # None: as the run's other files
    isolation: Isolation = Isolation.AUTO  # `AUTO`: the worker decides
    source_identity: str = ""  # the tree of the plan; empty: not checked
    wanted_worker: str = ""
    """The worker with whose result this one is compared; empty: any. Another worker runs it if this one is
    gone or has no slot in time."""
    selection: TestSelection = WHOLE_FILE  # the tests of the file that run
    parts: tuple[FilePart, ...] = ()
    """In which parts the file runs, each by a task of its own (`as_parts`); empty: it runs as a whole. A task
    that is sent to a worker has none."""

    @property
    def predicted_cpus(self) -> float:
        """How many CPUs it is predicted to keep busy: 1 unless its history says that it is I/O-bound.

        Of files that share a CPU each seems to wait: with twice as many files as CPUs, each uses half a CPU.
        Only a value clearly below that means that a file is I/O-bound.
        """
        if self.predicted_cpu_s is None or not self.predicted_s:
            return 1.0
        share = self.predicted_cpu_s / self.predicted_s
        return share if share < IO_BOUND_CPU_SHARE else 1.0

    @property
    def is_io_bound(self) -> bool:
        """Whether its history says that it uses little CPU for its wall time."""
        return self.predicted_cpus < IO_BOUND_CPU_SHARE

    @property
    def attempt_id(self) -> str:
        """`run:path#attempt`, unique over all runs; the queue's task id too."""
        return f"{self.run_id}:{self.key}#{self.attempt}"

    @property
    def key(self) -> str:
        """What identifies its file, or its part of the file, in the run."""
        return key_of(self.file_path, self.selection.part)

    @property
    def as_parts(self) -> tuple[TestTask, ...]:
        """The tasks that run it: one for each part, or itself. Each reserves the memory of the whole file."""
        if not self.parts:
            return (self,)

        def share(whole: float | None, part: FilePart) -> float | None:
            return None if whole is None else whole * part.share

        return tuple(
            replace(
                self,
                parts=(),
                selection=replace(self.selection, part=part),
                predicted_s=share(self.predicted_s, part),
                predicted_cpu_s=share(self.predicted_cpu_s, part),
            )
            for part in self.parts
        )


_PART = re.compile(r"/part-[0-9]+-of-[0-9]+-[0-9a-f]{8}\Z")


def path_of(key: str) -> str:
    """Return the file that a key is of, or a part of which."""
    return _PART.sub("", key)


def key_of(file_path: str, part: FilePart | None) -> str:
    """Return what identifies a file, or a part of it, in a run; no other file can have that path."""
    return file_path if part is None else f"{file_path}/{part.name}"
