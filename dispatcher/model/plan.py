"""The discovered test files, and the plan of a run."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from msgspec import Struct

from dispatcher.model.shard_option import Shard
from dispatcher.model.usage_stats import Baseline
from passmuster.model.status import RunnerKind
from passmuster.model.task import TestTask
from passmuster.model.test_selection import WHOLE_FILE, TestSelection


class FileKind(StrEnum):
    """The layer of the project to which a file belongs."""

    UNIT = "unit"
    INTEGRATION = "integration"


class TestFile(Struct, frozen=True, kw_only=True):
    """A discovered test file."""

    __test__: ClassVar[bool] = False

    path: str
    """Relative to the project root, with forward slashes; identifies the file everywhere."""
    label: str
    """The path as printed, relative to the working directory of the tests."""
    kind: FileKind = FileKind.UNIT
    size_bytes: int = 0
    mtime_ns: int = 0
    """Its modification time at discovery; together with the size it shows whether a file changed."""
    runner: RunnerKind = RunnerKind.AUTO
    """What runs the file unless the user sets it; `AUTO`: the file's text decides."""
    selection: TestSelection = WHOLE_FILE
    """The tests of the file that run."""


class PlannedFile(Struct, frozen=True, kw_only=True):
    """A file with its first task and the reason for its position in the order."""

    file: TestFile
    task: TestTask
    order_reason: str = ""  # the reason for its position (`failed last time`, `longest first`, `never ran`)
    is_named: bool = False  # whether the user named this file itself, not a directory that contains it
    failed_before: bool = False
    is_fork_verified: bool = False
    """Whether its current version is known to give the same result forked and spawned."""
    spawned_bytes: int | None = None  # peak bytes to reserve for it when spawned; None: unknown
    baseline: Baseline | None = None  # its usage in earlier runs; None: it never ran


class ShardPlan(Struct, frozen=True, kw_only=True):
    """How the whole run is split, and which shard this machine runs."""

    shard: Shard
    whole: tuple[tuple[str, int], ...]
    """The key (`TestTask.key`) of every file or part of a file in the whole run, with its shard, sorted."""
    digest: str  # SHA-256 of `whole`, in hexadecimal; machines with equal digests run each exactly once
    history_digest: str  # SHA-256 of the predictions that the split used; empty: there were none
    slots: int
    budget_bytes: int
    predicted_s: float | None = None  # predicted seconds of this shard on this machine; None: unknown


class RunPlan(Struct, frozen=True, kw_only=True):
    """All files of a run."""

    run_id: str
    files: tuple[PlannedFile, ...]  # in the order in which they should start
    groups: tuple[tuple[str, int], ...] = ()  # how many files of each concurrency group may run at once
    shard: ShardPlan | None = None  # the shard that these files are; None: they are the whole run
    layout: str = ""
    """Which configuration decides what is a test file, and why; empty: the layout of the shell scripts."""
