"""What a file took is compared with what it used to, whatever the machine and its company do to all files."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from dispatcher.history.regressions import MIN_RUNS, find_regressions
from dispatcher.model.plan import PlannedFile, TestFile
from dispatcher.model.results import FileAttempts, Measure, Regression
from dispatcher.model.usage_stats import Baseline, UsageStats
from passmuster.model.result import TestResult
from passmuster.model.status import Isolation, Status
from passmuster.model.task import TestTask

MIB = 1024**2
USUAL = UsageStats(duration_s=2.0, cpu_s=1.8, peak_bytes=100 * MIB, runs=5)
RESULT = TestResult(file_path="", status=Status.PASS, duration=2.0, cpu_s=1.8, peak_bytes=100 * MIB)
WAITING = replace(USUAL, cpu_s=0.1)


def found(
    *files: tuple[str, Baseline | None, TestResult], factor: float = 2.0
) -> dict[tuple[str, Measure], Regression]:
    """Return what is found among files, each with its name, its past and what came of it."""
    planned, records = [], []
    for path, baseline, result in files:
        file = TestFile(path=path, label=path)
        task = TestTask(run_id="r", file_path=path)
        planned.append(PlannedFile(file=file, task=task, baseline=baseline))
        records.append(FileAttempts(file=file, attempts=(replace(result, file_path=path),)))
    regressions = find_regressions(planned, records, factor=factor)
    return {(one.file.path, one.measure): one for one in regressions}


def usual(count: int = 3, *, times: float = 1.0) -> list[tuple[str, Baseline | None, TestResult]]:
    """Return files that take so many times what they used to."""
    result = replace(RESULT, duration=2.0 * times, cpu_s=1.8 * times)
    return [(f"usual_{number}", Baseline(spawned=USUAL), result) for number in range(count)]


def test_files_that_take_what_they_used_to_are_not_named() -> None:
    assert found(*usual()) == {}


def test_more_processor_time_and_more_memory_are_named_with_their_figures() -> None:
    grown = replace(RESULT, duration=9.0, cpu_s=9.0, peak_bytes=300 * MIB)

    regressions = found(*usual(), ("a", Baseline(spawned=USUAL, is_changed=True), grown))

    assert set(regressions) == {("a", Measure.CPU), ("a", Measure.MEMORY)}
    slower, larger = regressions["a", Measure.CPU], regressions["a", Measure.MEMORY]
    assert (slower.baseline, slower.now, slower.factor, slower.run_slowdown) == (1.8, 9.0, 5.0, 1.0)
    assert (larger.baseline, larger.now, larger.factor) == (100 * MIB, 300 * MIB, 3.0)
    assert slower.is_changed
    assert larger.is_changed


def test_the_largest_factor_comes_first() -> None:
    both = [
        (path, Baseline(spawned=USUAL), replace(RESULT, cpu_s=cpu_s))
        for path, cpu_s in (("a", 5.0), ("b", 9.0))
    ]

    assert list(found(*usual(), *both)) == [("b", Measure.CPU), ("a", Measure.CPU)]


def test_waiting_for_a_cpu_is_no_regression() -> None:
    crowded = replace(RESULT, duration=4.4)

    assert found(*usual(), ("a", Baseline(spawned=USUAL), crowded)) == {}
    # Where so many run that each seems to wait, all of them do.
    many = [(path, Baseline(spawned=USUAL), replace(RESULT, duration=9.0)) for path in "abc"]
    assert found(*many, ("d", Baseline(spawned=USUAL), replace(RESULT, duration=12.0))) == {}


def test_a_file_that_begins_to_wait_for_something_has_grown() -> None:
    [(key, regression)] = found(
        *usual(), ("a", Baseline(spawned=USUAL), replace(RESULT, duration=10.0))
    ).items()

    assert (key, regression.baseline, regression.now) == (("a", Measure.TIME), 2.0, 10.0)


def test_a_file_that_takes_more_of_the_processor_is_named_once() -> None:
    waits = ("a", Baseline(spawned=WAITING), replace(RESULT, cpu_s=9.0, duration=30.0))

    assert set(found(*usual(), waits)) == {("a", Measure.CPU)}


@pytest.mark.parametrize("figures", [WAITING, replace(USUAL, cpu_s=None)], ids=["waits", "unknown"])
def test_the_time_of_a_file_counts_whose_waiting_is_its_own_or_that_has_no_other(figures: UsageStats) -> None:
    grown = replace(RESULT, duration=8.0, cpu_s=figures.cpu_s)

    [(key, regression)] = found(("a", Baseline(spawned=figures), grown)).items()

    assert (key, regression.factor) == (("a", Measure.TIME), 4.0)


def test_on_a_slower_machine_only_files_that_grew_stand_out() -> None:
    assert found(*usual(times=3.0)) == {}
    grown = ("a", Baseline(spawned=USUAL), replace(RESULT, cpu_s=1.8 * 9))
    assert found(*usual(times=3.0), grown)["a", Measure.CPU].factor == pytest.approx(3.0)


def test_two_files_have_a_pace_and_one_has_none() -> None:
    grown = ("a", Baseline(spawned=USUAL), replace(RESULT, cpu_s=18.0))

    assert found(grown)["a", Measure.CPU].run_slowdown == 1.0
    assert found(grown, *usual(1))["a", Measure.CPU].factor == 10.0
    assert found(*usual(2, times=3.0)) == {}


def test_each_machine_of_a_run_has_a_pace_of_its_own() -> None:
    here = usual(5)
    there = [
        (path, Baseline(spawned=USUAL), replace(RESULT, cpu_s=7.2, duration=8.0, worker="slow"))
        for path in "ab"
    ]
    grown = ("c", Baseline(spawned=USUAL), replace(RESULT, cpu_s=1.8 * 12, duration=24.0, worker="slow"))

    assert found(*here, *there) == {}
    assert found(*here, *there, grown)["c", Measure.CPU].factor == pytest.approx(3.0)
    assert found(*here, grown)["c", Measure.CPU].factor == pytest.approx(12.0)


def test_a_quicker_machine_makes_no_file_slower() -> None:
    assert found(*usual(times=0.2), ("a", Baseline(spawned=USUAL), RESULT)) == {}


def test_a_file_is_compared_with_itself_as_it_ran() -> None:
    baseline = Baseline(spawned=replace(USUAL, cpu_s=9.0), forked=USUAL)
    result = replace(RESULT, cpu_s=9.0)

    assert found(*usual(), ("a", baseline, result)) == {}
    assert ("a", Measure.CPU) in found(*usual(), ("a", baseline, replace(result, isolation=Isolation.FORK)))


@pytest.mark.parametrize(
    ("baseline", "result"),
    [
        (None, replace(RESULT, cpu_s=90.0)),
        (Baseline(), replace(RESULT, cpu_s=90.0)),
        (Baseline(spawned=replace(USUAL, runs=MIN_RUNS - 1)), replace(RESULT, cpu_s=90.0)),
        (Baseline(spawned=USUAL), replace(RESULT, cpu_s=90.0, status=Status.FAIL)),
        (Baseline(spawned=replace(USUAL, cpu_s=0.1, duration_s=0.1)), replace(RESULT, cpu_s=1.0)),
        (Baseline(spawned=replace(USUAL, peak_bytes=MIB)), replace(RESULT, peak_bytes=32 * MIB)),
        (Baseline(spawned=replace(USUAL, peak_bytes=None)), replace(RESULT, peak_bytes=999 * MIB)),
        (Baseline(spawned=USUAL), replace(RESULT, peak_bytes=None)),
        (Baseline(spawned=USUAL), replace(RESULT, cpu_s=3.5)),
    ],
    ids=[
        "never ran",
        "nothing is known",
        "too few runs",
        "it failed",
        "by less than a second",
        "by less than 32 MiB",
        "its peak was never measured",
        "its peak was not measured now",
        "by less than the factor",
    ],
)
def test_inconclusive_values_are_not_reported(baseline: Baseline | None, result: TestResult) -> None:
    assert found(*usual(), ("a", baseline, result)) == {}


def test_it_is_the_most_of_the_last_runs_that_counts() -> None:
    uneven = replace(USUAL, max_s=6.0, max_cpu_s=5.0)

    assert found(*usual(), ("a", Baseline(spawned=uneven), replace(RESULT, cpu_s=9.0, duration=10.0))) == {}
    grown = found(*usual(), ("a", Baseline(spawned=uneven), replace(RESULT, cpu_s=11.0)))
    assert grown["a", Measure.CPU].baseline == 5.0


def test_the_factor_is_what_was_asked_for() -> None:
    grown = ("a", Baseline(spawned=USUAL), replace(RESULT, cpu_s=1.8 * 3))

    assert found(*usual(), grown, factor=2.9)
    assert not found(*usual(), grown, factor=3.1)


def test_a_file_without_any_processor_time_can_grow() -> None:
    waits = Baseline(spawned=UsageStats(duration_s=0.0, cpu_s=0.0, runs=3))

    assert ("a", Measure.CPU) in found(("a", waits, RESULT))
