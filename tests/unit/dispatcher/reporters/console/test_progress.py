"""The progress of a run, and its estimated remaining time."""

from __future__ import annotations

import pytest

from dispatcher.model.events import AttemptFinished, AttemptStarted, RunStarted, UsageSampled
from dispatcher.model.plan import PlannedFile, RunPlan, TestFile
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.reporters.console.progress import FooterRow, RunProgress
from passmuster.model.executor import FileUsage, Usage
from passmuster.model.result import TestResult
from passmuster.model.status import Status
from passmuster.model.task import TestTask


def file(path: str) -> TestFile:
    return TestFile(path=path, label=f"label/{path}")


def progress(**predicted: float | None) -> RunProgress:
    files = tuple(
        PlannedFile(file=file(path), task=TestTask(run_id="r", file_path=path, predicted_s=seconds))
        for path, seconds in predicted.items()
    )
    made = RunProgress()
    made.handle(RunStarted(at_s=0, started_at=0, plan=RunPlan(run_id="r", files=files), limits=()))
    return made


def start(watched: RunProgress, path: str, at_s: float) -> None:
    watched.handle(AttemptStarted(at_s=at_s, file=file(path), attempt=1))


def finish(
    watched: RunProgress,
    path: str,
    at_s: float,
    *,
    status: Status = Status.PASS,
    seconds: float = 1.0,
    again: RerunReason | None = None,
) -> None:
    result = TestResult(file_path=path, status=status, duration=seconds)
    watched.handle(AttemptFinished(at_s=at_s, file=file(path), result=result, rerun_reason=again))


def sample(watched: RunProgress, at_s: float, *, slots: int = 2, **used_bytes: int) -> None:
    files = tuple(
        FileUsage(attempt_id="", file_path=path, slot=0, seconds=0, used_bytes=used)
        for path, used in used_bytes.items()
    )
    usage = Usage(slots=slots, budget_bytes=100, used_bytes=50, peak_bytes=60, files=files)
    watched.handle(UsageSampled(at_s=at_s, usage=usage, waiting=0))


def test_a_file_in_parts_says_how_many_of_them_are_done() -> None:
    watched = progress(a=None, b=None)
    start(watched, "a", 0)
    start(watched, "b", 0)
    one = FileUsage(attempt_id="", file_path="a", slot=0, seconds=1, used_bytes=5, parts=3, finished_parts=1)
    usage = Usage(slots=2, budget_bytes=100, used_bytes=5, peak_bytes=5, files=(one,))
    watched.handle(UsageSampled(at_s=1, usage=usage, waiting=0))

    assert [(row.parts, row.used_bytes) for row in watched.running()] == [("1/3 parts done", 5), ("", None)]


def test_done_and_failed_files_are_counted_once() -> None:
    watched = progress(a=None, b=None, c=None)
    start(watched, "a", 0)
    finish(watched, "a", 1, status=Status.FAIL, again=RerunReason.RETRY)
    assert (watched.total, watched.done, watched.failed) == (3, 0, 0)
    start(watched, "a", 1)
    finish(watched, "a", 2, status=Status.TIMEOUT)
    start(watched, "b", 2)
    finish(watched, "b", 3)
    finish(watched, "c", 3, status=Status.CANCELLED)
    assert (watched.total, watched.done, watched.failed) == (3, 3, 1)
    assert watched.running() == ()


def test_running_files_show_their_time_and_memory_the_longest_first() -> None:
    watched = progress(a=None, b=None)
    start(watched, "b", 1.0)
    start(watched, "a", 2.0)
    sample(watched, 5.0, a=7)
    assert watched.running() == (
        FooterRow(label="label/b", seconds=4.0, used_bytes=None),
        FooterRow(label="label/a", seconds=3.0, used_bytes=7),
    )


def test_the_time_left_is_the_predicted_work_shared_by_the_slots() -> None:
    watched = progress(a=10.0, b=4.0, c=6.0)
    start(watched, "a", 0)
    start(watched, "b", 0)
    sample(watched, 2.0, slots=2)
    assert watched.left_s() == pytest.approx((8 + 2 + 6) / 2)
    finish(watched, "b", 4.0)
    start(watched, "c", 4.0)
    sample(watched, 5.0)
    assert watched.left_s() == pytest.approx(5.0)


def test_the_time_left_is_never_less_than_the_longest_running_file_needs() -> None:
    watched = progress(a=100.0, b=1.0)
    start(watched, "a", 0)
    sample(watched, 10.0, slots=8)
    assert watched.left_s() == pytest.approx(90.0)


def test_files_that_never_ran_count_as_the_average_of_those_that_finished() -> None:
    watched = progress(a=None, b=None, c=None, d=2.0)
    start(watched, "a", 0)
    sample(watched, 1.0, slots=1)
    assert watched.left_s() is None
    finish(watched, "a", 4.0, seconds=4.0)
    assert watched.left_s() == pytest.approx(4 + 4 + 2)


def test_a_file_that_takes_longer_than_predicted_does_not_make_the_time_negative() -> None:
    watched = progress(a=1.0)
    start(watched, "a", 0)
    sample(watched, 50.0)
    assert watched.left_s() == 0.0


def test_a_file_that_reruns_waits_again() -> None:
    watched = progress(a=5.0)
    start(watched, "a", 0)
    finish(watched, "a", 5.0, status=Status.FAIL, again=RerunReason.RETRY)
    assert watched.left_s() == pytest.approx(5.0)
