"""The discovered test files, and the plan made of them."""

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
    """A discovered test file.

    Args:
        path: relative to the project root, with forward slashes; identifies the file everywhere.
        label: the path as printed, relative to the working directory of the tests.
        size_bytes: the file's size at discovery.
        mtime_ns: its modification time at discovery; together with the size it shows whether a file changed.
        runner: what runs the file unless the user sets it; `AUTO`: the file's text decides.
        selection: the tests of the file that run.
    """

    __test__: ClassVar[bool] = False

    path: str
    label: str
    kind: FileKind = FileKind.UNIT
    size_bytes: int = 0
    mtime_ns: int = 0
    runner: RunnerKind = RunnerKind.AUTO
    selection: TestSelection = WHOLE_FILE


class PlannedFile(Struct, frozen=True, kw_only=True):
    """A file with its first task and the reason for its position in the order.

    Args:
        task: the first attempt.
        order_reason: the reason for its position (`failed last time`, `longest first`, `never ran`).
        is_named: whether the user named this file itself, not a directory that contains it.
        failed_before: whether its last run did not pass.
        is_fork_verified: whether its current version is known to give the same result forked and spawned.
        spawned_bytes: peak bytes to reserve for it when spawned; None: unknown.
        baseline: what it used in earlier runs; None: it never ran.
    """

    file: TestFile
    task: TestTask
    order_reason: str = ""
    is_named: bool = False
    failed_before: bool = False
    is_fork_verified: bool = False
    spawned_bytes: int | None = None
    baseline: Baseline | None = None


class ShardPlan(Struct, frozen=True, kw_only=True):
    """How the whole run is split, and which shard this machine runs.

    Args:
        shard: this machine's shard.
        whole: every file of the whole run with the number of its shard, sorted by path.
        digest: SHA-256 of `whole`, in hexadecimal; machines with equal digests run each file exactly once.
        history_digest: SHA-256 of the predictions that the split used; empty: there were none.
        slots: the number of slots that the split assumes for each machine.
        budget_bytes: the memory budget that the split assumes for each machine.
        predicted_s: predicted seconds of this shard on this machine; None: unknown.
    """

    shard: Shard
    whole: tuple[tuple[str, int], ...]
    digest: str
    history_digest: str
    slots: int
    budget_bytes: int
    predicted_s: float | None = None


class RunPlan(Struct, frozen=True, kw_only=True):
    """All files of a run.

    Args:
        files: in the order in which they should start.
        groups: how many files of each concurrency group may run at once.
        shard: the shard that these files are; None: they are the whole run.
        layout: which configuration decides what is a test file, and why; empty: the layout of the shell
            scripts.
    """

    run_id: str
    files: tuple[PlannedFile, ...]
    groups: tuple[tuple[str, int], ...] = ()
    shard: ShardPlan | None = None
    layout: str = ""
