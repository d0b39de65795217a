"""Decides how each planned file runs (forked or spawned, exclusively or not) from the findings of earlier
runs.

Pure. `dispatcher.planning.planner` uses this; `dispatcher.history.file_history` holds the findings.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec import structs

from dispatcher.config.model import TestConfig
from dispatcher.config.overrides import Overrides
from dispatcher.history.file_history import FileHistory
from dispatcher.model.plan import PlannedFile, TestFile
from dispatcher.planning.order import MEMORY_MARGIN
from passmuster.model.status import Isolation

SAME_PEERS_SHARE = 0.9
"""The share of an earlier run's files that a run must include to have the same peers. With fewer, a file may
be the only one that needs a module, and then imports it itself.
"""


class IsolationPolicy:
    """The start methods of a run's files.

    Attributes:
        remembered: the same, with the time and memory that each file uses with its start method.
    """

    def __init__(
        self,
        files: Sequence[TestFile],
        remembered: Mapping[str, FileHistory],
        config: TestConfig,
        rules: Overrides,
    ) -> None:
        self._known = remembered
        self._config = config
        self._rules = rules
        self._then = Counter(known.last_run_id for known in remembered.values())
        self._now = Counter(remembered[file.path].last_run_id for file in files if file.path in remembered)
        self.remembered = {
            file.path: known.as_run(file, self._requested(file))
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

    def _requested(self, file: TestFile) -> Isolation:
        return self._rules.rule_for(file.path).isolation or self._config.isolation
