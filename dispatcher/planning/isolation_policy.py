"""In which way each file of a plan runs, by what earlier runs found: forked or spawned, alone or not.

Pure. `dispatcher.planning.planner` asks; `dispatcher.history.file_history` holds what was found.
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

ALIKE_SHARE = 0.9
"""The share of an earlier run's files that one like it has at least. Where fewer are left, one of them may be
the last that needs something, and so has to import it by itself."""


class IsolationPolicy:
    """The ways of a run's files.

    Args:
        files: what is to run.
        remembered: what earlier runs know, by path.
        config: what the user wants.
        rules: what the user wants for some files only.

    Attributes:
        remembered: the same, with the time and memory that each file takes in the way it will run.
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
            file.path: known.as_run(file, self._asked_for(file))
            for file in files
            if (known := remembered.get(file.path)) is not None
        }

    def is_alike(self, known: FileHistory) -> bool:
        """Whether the files run now that ran beside a file when it last ran; those of a shard do."""
        run_id = known.last_run_id
        return self._config.shard is not None or self._now[run_id] >= ALIKE_SHARE * self._then[run_id]

    def isolation(self, file: TestFile) -> Isolation:
        """Return how a file's process is to come into being.

        What the user demands is obeyed, and a verification is there to see what forking does.
        """
        asked_for, known = self._asked_for(file), self._known.get(file.path)
        if asked_for is not Isolation.AUTO or known is None or self._config.verify_isolation:
            return asked_for
        return Isolation.SPAWN if known.is_spawned(file) else Isolation.AUTO

    def needs_room(self, file: TestFile) -> bool:
        """Whether a file is to run alone, since it was seen to fail of company."""
        known = self._known.get(file.path)
        return known is not None and known.needs_room(file)

    def mark(self, planned: PlannedFile) -> PlannedFile:
        """Return a planned file with what the run must know of its past to judge what comes of it."""
        known = self._known.get(planned.file.path)
        if known is None:
            return planned
        peak_bytes = known.peak_bytes
        return structs.replace(
            planned,
            failed_before=known.last_status.is_failure,
            is_confirmed=known.is_confirmed(planned.file),
            spawned_bytes=None if peak_bytes is None else math.ceil(peak_bytes * MEMORY_MARGIN),
            baseline=known.baseline(planned.file, is_alike=self.is_alike(known)),
        )

    def _asked_for(self, file: TestFile) -> Isolation:
        return self._rules.rule_for(file.path).isolation or self._config.isolation
