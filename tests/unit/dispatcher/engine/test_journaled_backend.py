"""Journaled results: they answer for their tasks in a resumed run, and a full disk loses none."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import cast

from dispatcher.engine.backend import Backend, BackendEvent, BackendNotice, TaskFinished, TaskStarted
from dispatcher.engine.journaled_backend import JournaledBackend
from passmuster.model.result import TestResult
from passmuster.model.status import Status
from passmuster.model.task import TestTask
from passmuster.model.test_selection import FilePart, TestSelection


class Ran:
    """Each poll ends one file."""

    def __init__(self, *names: str) -> None:
        self._names = list(names)
        self.submitted: list[tuple[str, int]] = []

    def submit(self, tasks: Sequence[TestTask], *, urgent: bool = False, best_effort: bool = False) -> None:
        self.submitted += [(task.key, task.attempt) for task in tasks]

    def poll(self, timeout_s: float) -> tuple[BackendEvent, ...]:
        name = self._names.pop(0)
        task = TestTask(run_id="run", file_path=name)
        return (TaskFinished(task=task, result=TestResult(file_path=name, status=Status.PASS)),)


class FullDisk:
    """A journal on a disk that has no room for the second result, and for the third one again."""

    def __init__(self) -> None:
        self.kept: list[str] = []

    def add(self, results: Sequence[TestResult]) -> None:
        paths = [result.file_path for result in results]
        if paths == ["b"]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.kept += paths

    def end(self) -> None:
        raise AssertionError("the run ends it")


def test_a_full_disk_loses_no_result_and_leaves_no_gap_in_the_journal() -> None:
    journal = FullDisk()
    backend = JournaledBackend(cast(Backend, Ran("a", "b", "c")), {}, journal)

    events = [event for _ in range(3) for event in backend.poll(1)]

    ended = [event.result.file_path for event in events if isinstance(event, TaskFinished)]
    assert ended == ["a", "b", "c"]
    (said,) = [event.text for event in events if isinstance(event, BackendNotice)]
    assert said == (
        "the journal of this run cannot be written: No space left on device;"
        " --resume would rerun the files that finish from now on"
    )
    assert journal.kept == ["a"]


def test_of_a_resumed_run_only_attempts_and_parts_without_a_result_run() -> None:
    one, two = (FilePart(number=number, total=2) for number in (1, 2))
    tasks = [
        TestTask(run_id="run", file_path="a"),
        TestTask(run_id="run", file_path="a", attempt=2),
        *(TestTask(run_id="run", file_path="b", selection=TestSelection(part=part)) for part in (one, two)),
    ]
    results = [TestResult.without_run(tasks[number], Status.FAIL, "") for number in (0, 2)]
    inner, journal = Ran("b"), FullDisk()
    backend = JournaledBackend(
        cast(Backend, inner), {(result.key, result.attempt): result for result in results}, journal
    )

    backend.submit(tasks)

    assert inner.submitted == [("a", 2), (f"b/{two.name}", 1)]
    assert backend.poll(1) == tuple(
        event
        for task, result in zip((tasks[0], tasks[2]), results, strict=True)
        for event in (TaskStarted(task=task), TaskFinished(task=task, result=result))
    )
    assert journal.kept == []
