"""What is remembered of a test file from earlier runs.

`dispatcher.history.history` stores and loads these; `dispatcher.planning.order` makes predictions of them.

A file that is forked takes other time and memory than one that is spawned: what the server has imported is
there already, and its pages are shared. So both are remembered apart, each from the attempts that ran so,
whatever these attempts were for, and a prediction takes those of the way in which the file will run.
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
    """What is known of how a file, as it is, takes to being forked."""

    UNKNOWN = "unknown"
    CONFIRMED = "confirmed"
    """It passed forked and spawned."""
    HARMFUL = "harmful"
    """It came to something else when forked: it must be spawned."""


class FileHistory(Struct, frozen=True, kw_only=True):
    """One file as its earlier runs showed it.

    Args:
        path: the file, as `TestFile.path`.
        duration_s: wall-clock seconds it is expected to take; this and the next two, `most_s` and
            `most_cpu_s` hold where it is spawned, `runs` counts those attempts.
        cpu_s: processor seconds it is expected to take; None when unknown.
        peak_bytes: the most memory its process tree is expected to use; None when never measured.
        last_status: the verdict of its last attempt that counted.
        size_bytes: the file's size when it last ran.
        mtime_ns: its modification time then; with the size it tells whether it changed since.
        runs: how many attempts this is drawn from.
        forked: the same figures where it is forked; None: it never was.
        forking: how it takes to being forked, as it was when it last ran.
        is_crowded: whether it was seen to fail beside others and to pass alone, as it was then.
        last_run_id: the run in which it last ran; empty: nothing is known of that.
        most_s: as in `UsageStats`.
        most_cpu_s: as there.
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
    is_crowded: bool = False
    last_run_id: str = ""
    most_s: float = 0.0
    most_cpu_s: float | None = None

    @property
    def spawned(self) -> UsageStats:
        """What it takes where it is spawned."""
        return UsageStats(
            duration_s=self.duration_s,
            cpu_s=self.cpu_s,
            peak_bytes=self.peak_bytes,
            runs=self.runs,
            most_s=self.most_s,
            most_cpu_s=self.most_cpu_s,
        )

    def with_spawned(self, figures: UsageStats) -> FileHistory:
        """Return the same file with other figures for where it is spawned."""
        return replace(
            self,
            duration_s=figures.duration_s,
            cpu_s=figures.cpu_s,
            peak_bytes=figures.peak_bytes,
            runs=figures.runs,
            most_s=figures.most_s,
            most_cpu_s=figures.most_cpu_s,
        )

    def is_of(self, file: TestFile) -> bool:
        """Whether the file has not changed since."""
        return (self.size_bytes, self.mtime_ns) == (file.size_bytes, file.mtime_ns)

    def must_spawn(self, file: TestFile) -> bool:
        """Whether the file, as it is, is known to come to something else when forked."""
        return self.forking is ForkObservation.HARMFUL and self.is_of(file)

    def is_spawned(self, file: TestFile) -> bool:
        """Whether the file, as it is, should be spawned where the user leaves that open.

        One that did not pass is likely not to pass again, and a forked failure would have to be checked by
        a spawned attempt: that is had at once, or a file that hangs would hang twice in every run.
        """
        return self.must_spawn(file) or (self.last_status.is_failure and self.is_of(file))

    def is_confirmed(self, file: TestFile) -> bool:
        """Whether the file, as it is, is known to come to the same forked and spawned."""
        return self.forking is ForkObservation.CONFIRMED and self.is_of(file)

    def baseline(self, file: TestFile, *, is_alike: bool) -> Baseline:
        """Return what the file took so far, for comparison.

        What a forked file takes depends on what its server has imported for other files that need the same.
        Without these it imports that itself, as it does where it is spawned.

        Args:
            file: the file as it is now.
            is_alike: whether the files run now that ran beside it when it last ran.
        """
        forked = self.forked or UsageStats()
        if not is_alike:
            forked = larger_of(forked, self.spawned) if self.runs else UsageStats()
        return Baseline(spawned=self.spawned, forked=forked, is_changed=not self.is_of(file))

    def needs_room(self, file: TestFile) -> bool:
        """Whether the file, as it is, is known to fail beside others."""
        return self.is_crowded and self.is_of(file)

    def as_run(self, file: TestFile, isolation: Isolation) -> FileHistory:
        """Return this with the figures of the way in which the file will run, in place of the spawned ones.

        Where it never ran in that way the figures of the other one have to do.

        Args:
            file: the file as it is now.
            isolation: what is asked for.
        """
        forks = isolation is Isolation.FORK or (isolation is Isolation.AUTO and not self.is_spawned(file))
        forked = self.forked
        if forked is None or (not forks and self.runs) or (forks and not forked.runs and self.runs):
            return self
        return self.with_spawned(forked)
