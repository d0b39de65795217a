"""The format of a record: a directory with `run.record` and, if coverage was measured, `coverage.data`. Pure.

Each line is a word, a space, and a JSON object:

    header        identifies the record: `Header`
    EVENT         an event of the run (`EVENTS`), as in `model.events`; the last is `run-finished`
    end           `Trailer`: the number of lines before it, and their digest; missing if incomplete

The results at the end of the run refer to an attempt by its number; its `file-finished` line has the result.
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
from dispatcher.model.results import MeasuredInputs
from dispatcher.model.shard_option import Shard
from passmuster.model.result import TestResult

FORMAT = 3
"""Counts up when a line changes its meaning."""

RECORD_NAME = "run.record"
COVERAGE_NAME = "coverage.data"
"""Does not start with a dot: CIs do not keep hidden files."""

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
"""By the word at the start of their lines; `run-finished` has its own form."""


class Header(Struct, frozen=True, kw_only=True):
    """Identifies a record, with the values that must agree in all records of a merge."""

    format: int
    version: str
    """The version of Passmuster."""
    run_id: str
    shard: Shard
    """The shard that ran; the only one if the run was not split."""
    digest: str
    """The digest of the whole plan."""
    history_digest: str
    """The digest of the history by which the plan was split; empty: there was none."""
    whole: tuple[tuple[str, int], ...]
    """As in `ShardPlan`."""
    commit: str
    """The commit of the checkout; empty: unknown."""
    ci_run: str
    """The ID of the CI run (`GITHUB_RUN_ID=123`); empty: none."""
    host: str
    root: str
    """The project's root on that machine, links resolved."""
    has_coverage: bool
    """Whether coverage was measured."""

    @property
    def name(self) -> str:
        """The record's name, for people and for its directory."""
        return f"shard-{self.shard.number}-of-{self.shard.total}"


class RecordedFile(Struct, frozen=True, kw_only=True):
    """The result of a planned file: `model.results.FileAttempts`, with attempts by their numbers."""

    file: TestFile
    attempts: tuple[int, ...]
    without_event: tuple[TestResult, ...]
    """The attempts that no `file-finished` line contains."""
    started: bool
    reasons: tuple[RerunReason | None, ...]
    verdict_attempt: int | None
    is_unverified: bool


class RecordedRunEnd(Struct, frozen=True, kw_only=True):
    """The end of a run: `dispatcher.model.events.RunFinished` in short."""

    at_s: float
    files: tuple[RecordedFile, ...]
    duration_s: float
    peak_bytes: int
    interrupted: bool
    is_verified: bool
    own_cpu_s: float | None = None
    inputs: tuple[MeasuredInputs, ...] = ()


class CoverageData(Struct, frozen=True, kw_only=True):
    """The combined coverage data next to the record."""

    size_bytes: int
    sha256: str
    files_without_data: tuple[str, ...] = ()
    """Labels of the files that passed and delivered none."""


class Trailer(Struct, frozen=True, kw_only=True):
    """The last line."""

    lines: int
    """The number of lines before it."""
    sha256: str
    """The digest of all their bytes."""
    coverage: CoverageData | None = None
