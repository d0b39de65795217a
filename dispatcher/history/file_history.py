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


class ForkObservation(StrEnum):
    """What is known about forking the current version of a file."""

    UNKNOWN = "unknown"
    UNVERIFIED = "unverified"
    """It passed when forked, and no spawned attempt is known."""
    CONFIRMED = "confirmed"
    """It passed forked and spawned."""
    HARMFUL = "harmful"
    """It gave another result when forked: it must be spawned."""


class EarlierRun(Struct, frozen=True, kw_only=True):
    """One of the last runs of a file."""

    statuses: tuple[Status, ...]
    """Of its attempts, in order; the last is the verdict."""
    duration_s: float | None = None
    """Of its first attempt; None: not recorded. Later attempts may run under other conditions."""
    peak_bytes: int | None = None


class FileHistory(Struct, frozen=True, kw_only=True):
    """One file as its earlier runs showed it."""

    path: str
    spawned: UsageStats = UsageStats()
    forked: UsageStats | None = None
    """None: it never was forked."""
    last_status: Status = Status.PASS
    """The verdict of its last run."""
    size_bytes: int = 0
    mtime_ns: int = 0
    """Its modification time in its last run; together with the size it shows whether the file changed."""
    forking: ForkObservation = ForkObservation.UNKNOWN
    fails_in_parallel: bool = False
    """Whether its last version failed in parallel and passed exclusively."""
    last_run_id: str = ""
    """The run in which it last ran; empty: unknown."""
    failing_tests: tuple[str, ...] = ()
    """The tests in it that failed last, as `Class::test`; empty: none, too many, or something else failed."""
    test_times: str = ""
    """The tests that its last passing run measured, as `test_times` writes them; empty: unknown."""
    is_indivisible: bool = False
    """Whether it gave another result in parts than as a whole; until its size changes."""
    outcomes: str = ""
    """A letter for each attempt, runs separated by a bar, oldest first (`P|FP|P`); see `merge`."""
    measurements: str = ""
    """Seconds and peak bytes of the first attempt of each of these runs (`0.512,1048576||0.498,`); an older
    program did not record them, so there may be fewer."""

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

    def is_unverified(self, file: TestFile) -> bool:
        """Whether the current version of the file passed when forked, and was not spawned yet."""
        return self.forking is ForkObservation.UNVERIFIED and self.last_status.is_pass and self.is_of(file)

    def must_be_exclusive(self, file: TestFile) -> bool:
        """Whether the current version of the file is known to fail in parallel."""
        return self.fails_in_parallel and self.is_of(file)

    def baseline(self, file: TestFile, *, ran_with_same_peers: bool) -> Baseline:
        """Return the usual values of the file, for comparison.

        The usage of a forked file depends on what its fork server has imported for other files with the same
        needs. Without these the file imports the modules itself, as a spawned one does.

        Args:
            ran_with_same_peers: whether the files that ran next to it in its last run also run now.
        """
        forked = self.forked or UsageStats()
        if not ran_with_same_peers:
            forked = larger_of(forked, self.spawned) if self.spawned.runs else UsageStats()
        return Baseline(spawned=self.spawned, forked=forked, is_changed=not self.is_of(file))

    def as_run(self, file: TestFile, isolation: Isolation) -> FileHistory:
        """Return this history with the values of the coming start method in place of the spawned ones.

        If the file never ran with the start method that the requested isolation leads to, the values of the
        other one are used.
        """
        forks = isolation is Isolation.FORK or (isolation is Isolation.AUTO and not self.is_spawned(file))
        if self.forked is None or (self.spawned.runs and not (forks and self.forked.runs)):
            return self
        return replace(self, spawned=self.forked)
