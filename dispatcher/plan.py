"""What is going to run: test files as discovered, and the plan made of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from enum import StrEnum
from typing import ClassVar

from dispatcher.config.shard import Shard
from passmuster.records import dataclass
from passmuster.task import TestTask


class FileKind(StrEnum):
    """Which of the project's layers a file belongs to."""

    UNIT = "unit"
    INTEGRATION = "integration"


@dataclass(frozen=True, slots=True, kw_only=True)
class TestFile:
    """A test file that was discovered.

    Args:
        path: relative to the project root, with forward slashes: its identity everywhere.
        label: the path as it is printed, relative to the working directory of the tests.
        kind: unit or integration.
        size_bytes: the file's size when it was discovered.
        mtime_ns: its modification time then; with the size it tells whether a file changed.
    """

    __test__: ClassVar[bool] = False

    path: str
    label: str
    kind: FileKind = FileKind.UNIT
    size_bytes: int = 0
    mtime_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFile:
    """A file with its first task and the reason for its place in the order.

    Args:
        file: what was discovered.
        task: the first attempt.
        because: why it stands where it stands (`failed last time`, `longest first`, `never ran`).
        failed_before: whether it did not pass when it last ran.
        is_confirmed: whether it is known to come to the same forked and spawned, as it is now.
        spawned_bytes: peak bytes to reserve for it where it is spawned; None: unknown.
    """

    file: TestFile
    task: TestTask
    because: str = ""
    failed_before: bool = False
    is_confirmed: bool = False
    spawned_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardPlan:
    """The whole of which a plan is a part: the same on every machine that has one of the others.

    Args:
        shard: which part.
        whole: each planned file of all parts with the number of its part, sorted.
        digest: tells this plan from others: `plan_digest`.
        history_digest: tells by which history it was balanced; empty: by none.
    """

    shard: Shard
    whole: tuple[tuple[str, int], ...]
    digest: str
    history_digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that will run.

    Args:
        run_id: names the run.
        files: in the order in which they should start.
        groups: how many files of each group may run at once.
        shards: the whole of which this is a part; None: it is the whole.
    """

    run_id: str
    files: tuple[PlannedFile, ...]
    groups: tuple[tuple[str, int], ...] = ()
    shards: ShardPlan | None = None


def plan_digest(total: int, whole: Sequence[tuple[str, int]]) -> str:
    """Return what tells a plan from others: of how many parts it is, and which file belongs to which."""
    digest = hashlib.sha256(f"shards {total}\n".encode())
    for path, number in sorted(whole):
        digest.update(f"{number} {path}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
