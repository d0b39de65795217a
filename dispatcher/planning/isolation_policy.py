"""Decides how each planned file runs (forked or spawned, exclusively or not) from the findings of earlier
runs.

Pure. `dispatcher.planning.planner` uses this; `dispatcher.history.file_history` holds the findings.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec import structs

from dispatcher.config.model import TestConfig
from dispatcher.config.overrides import Overrides
from dispatcher.history.file_history import FileHistory
from dispatcher.model.plan import PlannedFile, TestFile
from dispatcher.model.usage_stats import UsageStats
from dispatcher.planning.order import MEMORY_MARGIN
from passmuster.model.status import Isolation

SAME_PEERS_SHARE = 0.9
"""The share of an earlier run's files that a run must include to have the same peers. With fewer, a file may
be the only one that needs a module, and then imports it itself.
"""


VERIFY_SHARE = 0.02
"""The share of a run's CPU time that it may cost to spawn files that passed when forked and were not verified
in idle time: small enough to go unnoticed, large enough to verify all files after some runs.
"""

MAX_VERIFY_SHARE = 0.2
"""The share of a run's CPU time that verifying a single file may cost. What costs more, as every file does in
a very short run, is left to idle time.
"""

USUAL_SPAWN_S = 1.0
"""CPU seconds that a spawned file is assumed to take longer than a forked one, until the history knows it."""

ASSUMED_FILES = 2
"""How many measured files weigh as much as that assumption: that of one long file can be far off."""

MIN_SPAWN_S = 0.05
"""The same at least: an interpreter starts and imports its framework."""


class IsolationPolicy:
    """The start methods of a run's files.

    Args:
        remembered: by path.
        run_id: decides, where verifying one file would exceed this run's share, whether this run verifies it.

    Attributes:
        remembered: the same, with the time and memory that each file uses with its start method.
    """

    def __init__(
        self,
        files: Sequence[TestFile],
        remembered: Mapping[str, FileHistory],
        config: TestConfig,
        rules: Overrides,
        *,
        run_id: str,
    ) -> None:
        self._known = remembered
        self._config = config
        self._rules = rules
        self._then = Counter(known.last_run_id for known in remembered.values())
        self._now = Counter(remembered[file.path].last_run_id for file in files if file.path in remembered)
        self._verified = frozenset[str]()
        if not config.verify_isolation:
            histories = [remembered[file.path] for file in files if file.path in remembered]
            unverified = [remembered[file.path] for file in files if self._is_unverified(file)]
            self._verified = choose_verified(unverified, histories, run_id=run_id)
        self.remembered = {
            file.path: self._as_run(known, file)
            for file in files
            if (known := remembered.get(file.path)) is not None
        }

    def ran_with_same_peers(self, known: FileHistory) -> bool:
        """Whether the same files run now that ran next to a file in its last run; those of a shard do."""
        run_id = known.last_run_id
        return self._config.shard is not None or self._now[run_id] >= SAME_PEERS_SHARE * self._then[run_id]

    def isolation(self, file: TestFile) -> Isolation:
        """Return the start method of a file.

        An explicit choice of the user is obeyed, and a verification exists to observe forking.
        """
        asked_for, known = self._requested(file), self._known.get(file.path)
        if file.path in self._verified:
            return Isolation.SPAWN
        if asked_for is not Isolation.AUTO or known is None or self._config.verify_isolation:
            return asked_for
        return Isolation.SPAWN if known.is_spawned(file) else Isolation.AUTO

    def must_be_exclusive(self, file: TestFile) -> bool:
        """Whether a file must run exclusively, because it was seen to fail when other files ran."""
        known = self._known.get(file.path)
        return known is not None and known.must_be_exclusive(file)

    def mark(self, planned: PlannedFile) -> PlannedFile:
        """Return a planned file with the history that the run needs to judge its results."""
        known = self._known.get(planned.file.path)
        if known is None:
            return planned
        peak_bytes = known.spawned.peak_bytes
        return structs.replace(
            planned,
            failed_before=known.last_status.is_failure,
            is_fork_verified=known.is_fork_verified(planned.file),
            spawned_bytes=None if peak_bytes is None else math.ceil(peak_bytes * MEMORY_MARGIN),
            baseline=known.baseline(planned.file, ran_with_same_peers=self.ran_with_same_peers(known)),
        )

    def _as_run(self, known: FileHistory, file: TestFile) -> FileHistory:
        """Return the history of a file with the values of its start method."""
        found = known.as_run(file, self.isolation(file))
        if file.path not in self._verified or known.spawned.runs:
            return found
        # Spawned it shares no memory, so the peak of its forked attempts would be too low.
        return structs.replace(found, spawned=structs.replace(found.spawned, peak_bytes=None))

    def _is_unverified(self, file: TestFile) -> bool:
        """Whether a file may be spawned only to verify that it passes as it did when forked."""
        known = self._known.get(file.path)
        is_free = file.selection.is_whole_file and self._requested(file) is Isolation.AUTO
        return is_free and known is not None and known.is_unverified(file)

    def _requested(self, file: TestFile) -> Isolation:
        return self._rules.rule_for(file.path).isolation or self._config.isolation


def choose_verified(
    unverified: Sequence[FileHistory], known: Sequence[FileHistory], *, run_id: str
) -> frozenset[str]:
    """Return the paths of the unverified files that this run should spawn: those unchanged for longest.

    Together they take at most `VERIFY_SHARE` more CPU time than forked. The next file is spawned in some of
    the runs only, so that the share is used up on average of many runs.

    Args:
        known: the histories of all files of the run.
    """
    if not unverified:
        return frozenset()
    from statistics import median  # Importing it takes longer than a small test runs.

    all_s = sum(_cpu_s(file.forked or file.spawned) for file in known)
    left_s = VERIFY_SHARE * all_s
    both = [file for file in known if file.forked is not None and file.forked.runs and file.spawned.runs]
    usual_s = median([USUAL_SPAWN_S] * ASSUMED_FILES + [_spawn_s(file) for file in both])
    chosen: list[str] = []
    for file in sorted(unverified, key=lambda file: (file.mtime_ns, file.path)):
        cost_s = max(_spawn_s(file), usual_s) if file.spawned.runs else usual_s
        if cost_s > MAX_VERIFY_SHARE * all_s:
            continue
        if cost_s > left_s:
            if zlib.crc32(run_id.encode()) / 2**32 < left_s / cost_s:
                chosen.append(file.path)
            break
        chosen.append(file.path)
        left_s -= cost_s
    return frozenset(chosen)


def _spawn_s(file: FileHistory) -> float:
    """Return how many CPU seconds longer a file takes when spawned."""
    return max(MIN_SPAWN_S, _cpu_s(file.spawned) - _cpu_s(file.forked or file.spawned))


def _cpu_s(usage: UsageStats) -> float:
    """Return the CPU seconds of a file; if they are unknown, its time."""
    return usage.duration_s if usage.cpu_s is None else usage.cpu_s
