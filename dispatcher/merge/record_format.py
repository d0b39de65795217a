"""The form of a record: a folder with `run.record` and, where coverage was measured, `coverage.data`. Pure.

Each line is a word, a space, and a JSON object:

    header        whose record it is: `Header`
    EVENT         an event of the run (`EVENTS`), as `model.events` has it; the last is `run-finished`
    end           `Trailer`: how many lines came before, and their digest. A record without it breaks off.

What was told of an attempt when it ended is not repeated at the end of the run: there it is a number.
"""

from __future__ import annotations

from msgspec import Struct

from dispatcher.model.events import (
    AttemptFinished,
    AttemptStarted,
    FileSlow,
    Notice,
    RunEvent,
    RunStarted,
    RunStopping,
    UsageSampled,
    VerdictSettled,
)
from dispatcher.model.plan import TestFile
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.model.shard_option import Shard
from passmuster.model.result import TestResult

FORMAT = 2
"""Counts up when a line changes its meaning."""

RECORD_NAME = "run.record"
COVERAGE_NAME = "coverage.data"
"""Without a dot in front: what CIs take for hidden they do not keep."""

HEADER, FINISHED, END = "header", "run-finished", "end"

MAX_CHARS = 512 * 1024 * 1024
"""Characters of one line: a plan of a million files."""

EVENTS: dict[str, type[RunEvent]] = {
    "run-started": RunStarted,
    "file-started": AttemptStarted,
    "file-slow": FileSlow,
    "file-finished": AttemptFinished,
    "file-settled": VerdictSettled,
    "usage": UsageSampled,
    "notice": Notice,
    "run-stopping": RunStopping,
}
"""By the word that begins their lines; `run-finished` has a form of its own."""


class Header(Struct, frozen=True, kw_only=True):
    """Whose record it is, and what must be the same in all records that are merged.

    Args:
        format: `FORMAT`.
        version: of Passmuster.
        run_id: the run.
        shard: which part of a plan ran; the only one where it was not split.
        digest: that of the whole plan.
        history_digest: that of the history by which the plan was split; empty: by none.
        whole: each planned file of all shards with the number of its shard, sorted.
        commit: what was checked out; empty: unknown.
        ci_run: which run of which CI this is (`GITHUB_RUN_ID=123`); empty: none.
        host: the machine's name.
        root: the project's root there, links resolved.
        has_coverage: whether coverage was measured.
    """

    format: int
    version: str
    run_id: str
    shard: Shard
    digest: str
    history_digest: str
    whole: tuple[tuple[str, int], ...]
    commit: str
    ci_run: str
    host: str
    root: str
    has_coverage: bool

    @property
    def name(self) -> str:
        """The record's name for people, and of its folder."""
        return f"shard-{self.shard.number}-of-{self.shard.total}"


class RecordedFile(Struct, frozen=True, kw_only=True):
    """What a planned file came to: `dispatcher.model.results.FileAttempts`, with attempts by their numbers.

    Args:
        file: the file.
        attempts: the numbers of its attempts.
        untold: those of them that no event told.
        started: as in a `FileAttempts`.
        reasons: as there.
        stands: as there.
        is_unconfirmed: as there.
    """

    file: TestFile
    attempts: tuple[int, ...]
    untold: tuple[TestResult, ...]
    started: bool
    reasons: tuple[RerunReason | None, ...]
    stands: int | None
    is_unconfirmed: bool


class RecordedRunEnd(Struct, frozen=True, kw_only=True):
    """The end of a run: `dispatcher.model.events.RunFinished` in short.

    Args:
        at_s: as there.
        files: what came of each planned file.
        duration_s: as in `TestResults`.
        peak_bytes: as there.
        interrupted: as there.
        is_verified: as there.
    """

    at_s: float
    files: tuple[RecordedFile, ...]
    duration_s: float
    peak_bytes: int
    interrupted: bool
    is_verified: bool


class CoverageData(Struct, frozen=True, kw_only=True):
    """The combined coverage data beside the record.

    Args:
        size_bytes: how large the file is.
        sha256: its digest.
        files_without_data: labels of the files that passed and delivered none.
    """

    size_bytes: int
    sha256: str
    files_without_data: tuple[str, ...] = ()


class Trailer(Struct, frozen=True, kw_only=True):
    """The last line.

    Args:
        lines: how many came before.
        sha256: the digest of all their bytes.
        coverage: what lies beside them; None: nothing.
    """

    lines: int
    sha256: str
    coverage: CoverageData | None = None
