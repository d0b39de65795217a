"""The times of tests: what is kept of a result, within which bounds, and what may be separated."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.history import test_times
from dispatcher.history.test_times import (
    TimedTest,
    inseparable,
    measured_tests,
    read_skipped,
    read_tests,
    write_tests,
)
from passmuster.model.result import CaseResult, TestResult
from passmuster.model.status import Outcome, RunnerKind, Status

NAMES = st.text("abcAB:[]é \t", min_size=1, max_size=9).filter(lambda name: name.strip() == name)
TESTS = st.lists(
    st.builds(TimedTest, name=NAMES, seconds=st.floats(0, 1e6)), max_size=40, unique_by=lambda test: test.name
)


def result(*cases: CaseResult, runner: RunnerKind = RunnerKind.PYTEST) -> TestResult:
    return TestResult(file_path="a.py", status=Status.PASS, runner=runner, cases=cases)


def case(name: str, seconds: float = 1.0, shared_s: float = 0.0) -> CaseResult:
    return CaseResult(case_id=name, outcome=Outcome.PASSED, seconds=seconds, shared_s=shared_s)


def timed(*tests: tuple[str, float]) -> list[TimedTest]:
    return [TimedTest(name=name, seconds=seconds) for name, seconds in tests]


def test_the_set_up_of_shared_fixtures_is_not_time_of_the_test_that_came_first() -> None:
    measured = measured_tests(result(case("a.py::test_a", 5.0, 4.5), case("a.py::T::test_b", 2.0)))

    assert list(measured) == timed(("test_a", 0.5), ("T::test_b", 2.0))


def test_tests_without_a_name_of_their_own_are_not_kept() -> None:
    assert measured_tests(result(case("a.py::test_a"), case("a.py::test_a"))) == ()
    assert measured_tests(result(case("a.py"))) == ()
    assert measured_tests(result(case("setUpClass (m.T)"), runner=RunnerKind.UNITTEST)) == ()
    assert measured_tests(result(case("a.py::test_a"), runner=RunnerKind.SCRIPT)) == ()


@given(TESTS)
def test_what_is_written_is_read(tests: list[TimedTest]) -> None:
    text = write_tests(tests, skipped=2)
    found = read_tests(text)

    assert read_skipped(text) == (2 if tests else None)
    assert [test.name for test in found] == [test.name for test in tests]
    assert all(abs(one.seconds - other.seconds) < 1e-3 for one, other in zip(found, tests, strict=True))


def test_a_damaged_line_is_left_out() -> None:
    assert list(read_tests("1.5 test_a\nnonsense\n1.5\n-1 test_b\n2 test_c")) == timed(
        ("test_a", 1.5), ("test_c", 2.0)
    )


def test_tests_of_one_class_are_inseparable_and_functions_are_not() -> None:
    tests = timed(
        ("test_a[x::y]", 1.0), ("test_a[z]", 1.0), ("T::test_b", 2.0), ("T::test_c[U::v]", 3.0), ("U::d", 4.0)
    )

    assert inseparable(tests) == timed(
        ("test_a[x::y]", 1.0), ("test_a[z]", 1.0), ("T::test_b", 5.0), ("U::d", 4.0)
    )


def test_of_more_tests_than_are_kept_neighbours_are_added_up() -> None:
    many = [TimedTest(name=f"test_{number}", seconds=1.0) for number in range(5 * test_times.MAX_TESTS)]

    kept = read_tests(write_tests(many, skipped=2))

    assert len(kept) <= test_times.MAX_TESTS
    assert sum(test.seconds for test in kept) == len(many)
    assert kept[0].name == "test_0"
    assert {test.name for test in kept} <= {test.name for test in many}


def test_of_long_names_as_many_are_kept_as_fit() -> None:
    many = [TimedTest(name=f"test_{number}" + "x" * 2000, seconds=1.0) for number in range(100)]

    text = write_tests(many, skipped=2)

    assert 0 < len(text) <= test_times.MAX_CHARS
    assert sum(test.seconds for test in read_tests(text)) == len(many)
