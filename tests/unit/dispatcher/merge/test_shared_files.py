"""Files whose parts ran on several shards: one record and one end, and never better than any shard saw it."""

from __future__ import annotations

from dispatcher.merge.shared_files import join_shared, with_shared_events, with_shared_records
from dispatcher.model.events import AttemptFinished, AttemptStarted, Notice, RunEvent
from dispatcher.model.plan import TestFile
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.model.results import FileAttempts, Finding
from passmuster.model.result import PartRun, TestResult
from passmuster.model.status import Status
from passmuster.model.test_selection import FilePart

A, B = (TestFile(path=path, label=path) for path in ("a.py", "b.py"))


def part(
    number: int, *, status: Status = Status.PASS, digest: str = "d", attempt: int = 1, total: int = 2
) -> TestResult:
    run = PartRun(
        part=FilePart(number=number, total=total),
        collected=total,
        digest=digest,
        start=number - 1,
        stop=number,
    )
    return TestResult(
        file_path="a.py", status=status, attempt=attempt, worker=f"shard {number}", parts=(run,)
    )


def whole(status: Status, *, attempt: int = 2) -> TestResult:
    return TestResult(file_path="a.py", status=status, attempt=attempt)


def of(*attempts: TestResult, verdict: int | None = None) -> FileAttempts:
    reasons = (None, RerunReason.WHOLE, RerunReason.REPART)[: len(attempts)]
    return FileAttempts(file=A, attempts=attempts, reasons=reasons, verdict_attempt=verdict)


OTHER = FileAttempts(file=B, attempts=(TestResult(file_path="b.py", status=Status.PASS),))


def test_parts_that_passed_on_all_shards_are_the_file() -> None:
    shared = join_shared([of(part(2)), OTHER, of(part(1))])

    records = with_shared_records([of(part(2)), OTHER, of(part(1))], shared)

    assert [record.file.path for record in records] == ["a.py", "b.py"]
    assert (records[0].status, len(records[0].final.parts)) == (Status.PASS, 2)


def test_shards_that_collected_different_tests_pass_nothing() -> None:
    (record,) = join_shared([of(part(1)), of(part(2, digest="e"))]).values()

    assert record.status is Status.START_ERROR


def test_a_file_of_which_a_part_is_missing_does_not_pass() -> None:
    (record,) = join_shared([of(part(1, total=3)), of(part(3, total=3))]).values()

    assert (record.status, record.final.error) == (Status.START_ERROR, "not all its parts ran")


def test_a_failure_of_one_shard_is_that_of_the_file() -> None:
    failed = of(part(2, status=Status.FAIL), whole(Status.FAIL), verdict=1)

    assert join_shared([of(part(1)), failed]) == {"a.py": failed}


def test_what_one_shard_found_out_about_the_whole_file_holds_for_all() -> None:
    dependent = of(
        part(2, status=Status.FAIL), whole(Status.PASS), part(2, status=Status.FAIL, attempt=3), verdict=1
    )

    (record,) = join_shared([of(part(1)), dependent]).values()

    assert (record.status, record.finding) == (Status.PASS, Finding.FAILS_IN_PARTS)


def test_a_shared_file_starts_and_ends_once_where_its_last_part_did() -> None:
    shared = join_shared([of(part(1)), of(part(2))])
    events: list[RunEvent] = [
        AttemptStarted(at_s=1.0, file=A, attempt=1),
        AttemptStarted(at_s=1.5, file=A, attempt=1),
        AttemptFinished(at_s=2.0, file=A, result=part(2)),
        Notice(at_s=3.0, text="between"),
        AttemptFinished(at_s=4.0, file=A, result=part(1)),
        AttemptFinished(at_s=5.0, file=B, result=OTHER.final),
    ]

    found = with_shared_events(events, shared)

    assert [(type(event).__name__, event.at_s) for event in found] == [
        ("Notice", 3.0),
        ("AttemptStarted", 4.0),
        ("AttemptFinished", 4.0),
        ("AttemptFinished", 5.0),
    ]
