"""The result of a file that ran in parts: as if it had run as a whole, or no result of the file at all."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from dispatcher.model.file_parts import join_parts
from passmuster.model.result import HOLDS_NO_TESTS, CaseResult, PartRun, TestResult
from passmuster.model.status import Isolation, Outcome, Status, StopReason
from passmuster.model.test_selection import FilePart


def part(number: int, status: Status = Status.PASS, *, total: int = 2, error: str = "") -> TestResult:
    """Return the result of a part with one test of 2 s and a start of 1 s."""
    run = PartRun(
        part=FilePart(number=number, total=total),
        collected=total,
        digest="d",
        start=number - 1,
        stop=number,
    )
    case = CaseResult(case_id=f"a.py::test_{number}", outcome=Outcome.PASSED, seconds=2.5, shared_s=0.5)
    return TestResult(
        file_path="a.py",
        status=status,
        output=f"output {number}",
        error=error,
        duration=3.0,
        cpu_s=1.5,
        peak_bytes=100 * number,
        started_at=10.0 - number,
        cases=(case,),
        coverage_files=(f"/data/{number}",),
        worker=f"w{number}",
        parts=(run,),
    )


def changed(result: TestResult, **change: object) -> TestResult:
    return replace(result, parts=(replace(result.parts[0], **change),))


def test_the_parts_together_are_the_file() -> None:
    joined = join_parts([part(2), part(1)])

    assert (joined.status, joined.error, joined.file_path) == (Status.PASS, "", "a.py")
    assert [case.case_id for case in joined.cases] == ["a.py::test_1", "a.py::test_2"]
    assert joined.output == "----- part 1 of 2 -----\noutput 1\n----- part 2 of 2 -----\noutput 2\n"
    assert joined.coverage_files == ("/data/1", "/data/2")
    assert (joined.peak_bytes, joined.started_at) == (200, 8.0)
    assert [run.part.number for run in joined.parts] == [1, 2]


def test_the_time_is_that_of_the_whole_file_with_one_start() -> None:
    joined = join_parts([part(1), part(2)])

    assert (joined.duration, joined.cpu_s) == (5.0, 2.5)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ((Status.PASS, Status.FAIL), Status.FAIL),
        ((Status.FAIL, Status.CRASH), Status.CRASH),
        ((Status.TIMEOUT, Status.PASS), Status.TIMEOUT),
        ((Status.CRASH, Status.START_ERROR), Status.START_ERROR),
        ((Status.LOST, Status.CANCELLED), Status.CANCELLED),
    ],
)
def test_the_worst_part_decides(statuses: tuple[Status, Status], expected: Status) -> None:
    first, second = (part(at, status, error=str(status)) for at, status in enumerate(statuses, start=1))

    joined = join_parts([first, second])

    assert joined.status is expected
    assert joined.error == f"{expected} (part {statuses.index(expected) + 1} of 2)"


def test_an_evicted_part_evicts_the_file_whatever_the_others_show() -> None:
    evicted = replace(part(2, Status.MEMORY), stop_reason=StopReason.MEMORY_BUDGET)

    assert join_parts([part(1, Status.FAIL), evicted]).is_evicted


def test_a_file_of_which_a_part_was_forked_was_forked() -> None:
    forked = replace(part(2), isolation=Isolation.FORK)

    assert join_parts([part(1), forked]).isolation is Isolation.FORK


@pytest.mark.parametrize(
    ("second", "problem"),
    [
        (changed(part(2), collected=3), "they collected different tests (2 and 3 tests)"),
        (
            changed(part(2), digest="e"),
            "they collected different tests (other names, other parameters, or another order)",
        ),
        (changed(part(2), start=0), "they left tests out, or ran some twice"),
        (changed(part(2), start=2), "they left tests out, or ran some twice"),
        (changed(part(2), stop=1), "they left tests out"),
        (replace(part(2), cases=part(1).cases), "one test ran in several of them"),
        (
            replace(changed(part(2), stop=1), status=Status.NO_TESTS, note=HOLDS_NO_TESTS, cases=()),
            "part 2 of 2 ran no test",
        ),
    ],
)
def test_parts_that_are_not_the_file_pass_nothing(second: TestResult, problem: str) -> None:
    joined = join_parts([part(1), second])

    assert joined.status is Status.START_ERROR
    assert joined.error == f"its parts are not the whole file: {problem}"
    assert joined.indivisible_because == problem


@pytest.mark.parametrize(
    ("skipped_last", "problem"),
    [(0, "they skipped 1 tests, the whole file 0"), (1, ""), (2, ""), (None, "")],
)
def test_parts_that_skip_more_than_the_whole_file_pass_nothing(
    skipped_last: int | None, problem: str
) -> None:
    halves = [changed(part(at), part=FilePart(number=at, total=2, skipped=skipped_last)) for at in (1, 2)]
    skips = replace(halves[1].cases[0], outcome=Outcome.SKIPPED)

    joined = join_parts([halves[0], replace(halves[1], cases=(skips,))])

    assert joined.parts[0].problem == problem
    assert joined.status is (Status.START_ERROR if problem else Status.PASS)


def test_parts_that_report_nothing_prove_nothing() -> None:
    silent = [changed(part(number), digest="", collected=0, start=0, stop=0) for number in (1, 2)]

    assert join_parts(silent).status is Status.START_ERROR


def test_some_parts_of_a_file_are_checked_as_far_as_they_go() -> None:
    some = [part(number, total=4) for number in (2, 3)]

    assert join_parts(some).status is Status.PASS
    assert join_parts([some[0], changed(some[1], start=1)]).status is Status.START_ERROR
