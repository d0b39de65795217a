"""What is going to run: test files as discovered, and the plan made of them."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from msgspec import Struct

from dispatcher.model.shard_option import Shard
from dispatcher.model.usage_stats import Baseline
from passmuster.model.status import RunnerKind
from passmuster.model.task import TestTask


class FileKind(StrEnum):
    """Which of the project's layers a file belongs to."""

    UNIT = "unit"
    INTEGRATION = "integration"


class TestFile(Struct, frozen=True, kw_only=True):
    """A test file that was discovered.

    Args:
        path: relative to the project root, with forward slashes: its identity everywhere.
        label: the path as it is printed, relative to the working directory of the tests.
        kind: unit or integration.
        size_bytes: the file's size when it was discovered.
        mtime_ns: its modification time then; with the size it tells whether a file changed.
        runner: what runs it unless the user says otherwise; `AUTO`: the file's own text decides.
    """

    __test__: ClassVar[bool] = False

    path: str
    label: str
    kind: FileKind = FileKind.UNIT
    size_bytes: int = 0
    mtime_ns: int = 0
    runner: RunnerKind = RunnerKind.AUTO


class PlannedFile(Struct, frozen=True, kw_only=True):
    """A file with its first task and the reason for its place in the order.

    Args:
        file: what was discovered.
        task: the first attempt.
        because: why it stands where it stands (`failed last time`, `longest first`, `never ran`).
        is_named: whether the user named this very file, not a folder or nothing.
        failed_before: whether it did not pass when it last ran.
        is_confirmed: whether it is known to come to the same forked and spawned, as it is now.
        spawned_bytes: peak bytes to reserve for it where it is spawned; None: unknown.
        baseline: what it took in earlier runs; None: it never ran.
    """

    file: TestFile
    task: TestTask
    because: str = ""
    is_named: bool = False
    failed_before: bool = False
    is_confirmed: bool = False
    spawned_bytes: int | None = None
    baseline: Baseline | None = None


class ShardPlan(Struct, frozen=True, kw_only=True):
    """How the whole run is split, and which part of it this machine has.

    Args:
        shard: this machine's part.
        whole: every file of the whole run with the number of its shard, sorted by path.
        digest: SHA-256 of that, in hexadecimal: machines that have the same one run each file once.
        history_digest: the same of what was predicted of the files; empty: nothing was.
        slots: how many files one machine was thought to run at once.
        budget_bytes: the memory they were thought to have there.
        predicted_s: seconds that this part should take on this machine; None: nothing is known.
    """

    shard: Shard
    whole: tuple[tuple[str, int], ...]
    digest: str
    history_digest: str
    slots: int
    budget_bytes: int
    predicted_s: float | None = None


class RunPlan(Struct, frozen=True, kw_only=True):
    """Everything that will run.

    Args:
        run_id: names the run.
        files: in the order in which they should start.
        groups: how many files of each group may run at once.
        shard: what part of a run these files are; None: they are the whole.
        layout: who says which files are tests, and why; empty: the shell scripts' layout, as ever.
    """

    run_id: str
    files: tuple[PlannedFile, ...]
    groups: tuple[tuple[str, int], ...] = ()
    shard: ShardPlan | None = None
    layout: str = ""
