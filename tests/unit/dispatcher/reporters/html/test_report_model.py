"""The position of attempts in time, and the samples that are kept."""

from __future__ import annotations

import pytest
from msgspec import structs

from dispatcher.model.events import AttemptFinished, AttemptStarted
from dispatcher.reporters.html.report_model import MAX_POINTS, Curve, ReportModel, Sample, group_counts
from passmuster.model.result import PartRun
from passmuster.model.status import Status
from passmuster.model.test_selection import FilePart
from tests.support.report_page import no_history, rerun_command
from tests.support.report_runs import MIB, STARTED_AT, file, record, result, told


def listened(*events: object) -> ReportModel:
    model = ReportModel(no_history, rerun_command)
    for event in events:
        model.handle(event)  # type: ignore[arg-type]
    return model


def placed(*, started_at: float, duration: float, began_s: float, ended_s: float) -> tuple[list[float], int]:
    """Return where an attempt is drawn, and how many are left out as earlier ones."""
    one = structs.replace(result("t.py", duration=duration), started_at=started_at)
    first, *_, last = told(record(one), duration_s=100.0)
    found = listened(
        first,
        AttemptStarted(at_s=began_s, file=file("t.py"), attempt=1),
        AttemptFinished(at_s=ended_s, file=file("t.py"), result=one),
        last,
    )
    return [bar.start_s for bar in found.bars], found.earlier_bars


def test_an_attempts_own_clock_says_when_it_started() -> None:
    assert placed(started_at=STARTED_AT + 10, duration=5, began_s=9.7, ended_s=15.4) == ([10], 0)


@pytest.mark.parametrize("wrong_by_s", [-3600.0, -60.0, 60.0, 86400.0])
def test_if_that_clock_is_wrong_the_runs_clock_is_used(wrong_by_s: float) -> None:
    found = placed(started_at=STARTED_AT + 10 + wrong_by_s, duration=5, began_s=9.7, ended_s=15.4)

    assert found == ([15.4 - 5], 0)


def test_a_file_in_parts_is_drawn_from_its_first_start_to_its_last_end() -> None:
    runs = tuple(PartRun(part=FilePart(number=number, total=2)) for number in (1, 2))
    one = structs.replace(result("t.py", duration=30), started_at=STARTED_AT + 10, parts=runs)
    first, *_, last = told(record(one), duration_s=100.0)

    (bar,) = listened(
        first,
        AttemptStarted(at_s=10.1, file=file("t.py"), attempt=1),
        AttemptFinished(at_s=25.2, file=file("t.py"), result=one),
        last,
    ).bars

    assert (bar.start_s, bar.end_s) == (10.1, 25.2)


def test_an_attempt_from_before_the_run_was_resumed_is_counted_and_not_drawn() -> None:
    assert placed(started_at=STARTED_AT - 7200, duration=5, began_s=0.01, ended_s=0.01) == ([], 1)


def test_an_attempt_that_never_started_is_not_drawn() -> None:
    never = structs.replace(result("t.py", Status.CANCELLED), started_at=0.0)

    assert listened(*told(record(never))).bars == []


def test_bars_are_in_the_order_of_machine_slot_and_time() -> None:
    found = listened(
        *told(
            record(result("a.py", worker="b", slot=1, at_s=0)),
            record(result("b.py", worker="a", slot=0, at_s=5)),
            record(result("c.py", worker="a", slot=0, at_s=1)),
            record(result("d.py", worker="b", slot=0, at_s=3)),
        )
    )

    assert [found.records[bar.file].file.path for bar in found.bars] == ["c.py", "b.py", "d.py", "a.py"]
    assert found.machines == {"a": {0}, "b": {0, 1}}


def test_each_file_is_in_one_group() -> None:
    flaky = record(result("f.py", Status.FAIL), result("f.py", attempt=2), reasons=(None, None))
    records = [record(result("a.py")), record(result("b.py", Status.CRASH)), flaky]
    records.append(record(result("c.py", Status.CANCELLED)))

    assert group_counts(records) == {"failed": 1, "flaky": 1, "passed": 1, "not run": 1}


def test_a_long_run_keeps_few_points_and_its_peak() -> None:
    curve = Curve()
    for number in range(50_000):
        used = 900 * MIB if number == 31_337 else number % 97 * MIB
        curve.add(Sample(at_s=number / 4, used_bytes=used, budget_bytes=1024 * MIB, running=2))
    points = curve.whole()

    assert MAX_POINTS / 4 < len(points) <= MAX_POINTS + 1
    assert max(point.used_bytes for point in points) == 900 * MIB
    assert next(point.at_s for point in points if point.used_bytes == 900 * MIB) == 31_337 / 4
    assert [point.at_s for point in points] == sorted(point.at_s for point in points)
