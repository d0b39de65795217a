"""The history of one test file.

`dispatcher.history.history` stores and loads these; `dispatcher.planning.order` derives predictions from
them.

A forked file uses other time and memory than a spawned one: the fork server has imported modules already, and
their pages are shared. Both are therefore recorded separately, each from the attempts with that start method,
and a prediction uses those of the start method that the file will have.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from dispatcher.model.plan import TestFile
from dispatcher.model.usage_stats import Baseline, UsageStats, larger_of
from passmuster.model.status import Isolation, Status

__all__ = ["FileHistory", "ForkObservation", "UsageStats"]


class ForkObservation(StrEnum):
    """What is known about forking the current version of a file."""

    UNKNOWN = "unknown"
    CONFIRMED = "confirmed"
    """It passed forked and spawned."""
    HARMFUL = "harmful"
    """It gave another result when forked: it must be spawned."""


class FileHistory(Struct, frozen=True, kw_only=True):
    """One file as its earlier runs showed it.

    Args:
        duration_s: expected wall-clock seconds. This and the next two, `most_s` and `most_cpu_s` apply to the
            spawned file; `runs` counts those attempts.
        cpu_s: expected CPU seconds; None: unknown.
        peak_bytes: expected peak memory of its process tree; None: never measured.
        mtime_ns: its modification time then; together with the size it shows whether the file changed.
        forked: the same values for the forked file; None: it never was forked.
        fails_in_parallel: whether its last version was seen to fail in parallel and to pass alone.
        last_run_id: the run in which it last ran; empty: unknown.
    """

    path: str
    duration_s: float
    cpu_s: float | None = None
    peak_bytes: int | None = None
    last_status: Status = Status.PASS
    size_bytes: int = 0
    mtime_ns: int = 0
    runs: int = 1
    forked: UsageStats | None = None
    forking: ForkObservation = ForkObservation.UNKNOWN
    fails_in_parallel: bool = False
    last_run_id: str = ""
    most_s: float = 0.0
    most_cpu_s: float | None = None

    @property
    def spawned(self) -> UsageStats:
        """The values for the spawned file."""
        return UsageStats(
            duration_s=self.duration_s,
            cpu_s=self.cpu_s,
            peak_bytes=self.peak_bytes,
            runs=self.runs,
            max_s=self.most_s,
            max_cpu_s=self.most_cpu_s,
        )

    def with_spawned(self, figures: UsageStats) -> FileHistory:
        """Return the same history with other values for the spawned file."""
        return replace(
            self,
            duration_s=figures.duration_s,
            cpu_s=figures.cpu_s,
            peak_bytes=figures.peak_bytes,
            runs=figures.runs,
            most_s=figures.max_s,
            most_cpu_s=figures.max_cpu_s,
        )

    def is_of(self, file: TestFile) -> bool:
        """Whether the file has not changed since."""
        return (self.size_bytes, self.mtime_ns) == (file.size_bytes, file.mtime_ns)

    def must_spawn(self, file: TestFile) -> bool:
        """Whether the current version of the file is known to give another result when forked."""
        return self.forking is ForkObservation.HARMFUL and self.is_of(file)

    def is_spawned(self, file: TestFile) -> bool:
        """Whether the current version of the file should be spawned if the user leaves that open.

        A file that did not pass is likely to fail again, and a forked failure needs verification by a spawned
        attempt. Spawning it at once saves that, and a file that hangs does not hang twice in every run.
        """
        return self.must_spawn(file) or (self.last_status.is_failure and self.is_of(file))

    def is_fork_verified(self, file: TestFile) -> bool:
        """Whether the current version of the file is known to give the same result forked and spawned."""
        return self.forking is ForkObservation.CONFIRMED and self.is_of(file)

    def baseline(self, file: TestFile, *, ran_with_same_peers: bool) -> Baseline:
        """Return the usual values of the file, for comparison.

        The usage of a forked file depends on what its fork server has imported for other files with the same
        needs. Without these the file imports the modules itself, as a spawned one does.

        Args:
            ran_with_same_peers: whether the same files run now that ran next to it in its last run.
        """
        forked = self.forked or UsageStats()
        if not ran_with_same_peers:
            forked = larger_of(forked, self.spawned) if self.runs else UsageStats()
        return Baseline(spawned=self.spawned, forked=forked, is_changed=not self.is_of(file))

    def must_be_exclusive(self, file: TestFile) -> bool:
        """Whether the current version of the file is known to fail in parallel."""
        return self.fails_in_parallel and self.is_of(file)

    def as_run(self, file: TestFile, isolation: Isolation) -> FileHistory:
        """Return this history with the values of the coming start method in place of the spawned ones.

        If the file never ran with that start method, the values of the other one are used.
        """
        forks = isolation is Isolation.FORK or (isolation is Isolation.AUTO and not self.is_spawned(file))
        forked = self.forked
        if forked is None or (not forks and self.runs) or (forks and not forked.runs and self.runs):
            return self
        return self.with_spawned(forked)
