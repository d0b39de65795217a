"""Annotations: their places, their order, and their limits."""

from __future__ import annotations

from dispatcher.model.rerun_reason import RerunReason
from dispatcher.model.results import FileAttempts
from dispatcher.reporters.ci.annotations import (
    MAX_OF_A_LEVEL,
    MESSAGE_CHARS,
    Annotation,
    AnnotationLevel,
    annotations_of,
)
from passmuster.model.status import Status
from tests.unit.dispatcher.reporters.ci.runs import (
    HOSTILE,
    case,
    file,
    grown_results,
    record,
    result,
    results,
)


def at(path: str, line: int) -> str:
    return (
        f'Traceback (most recent call last):\n  File "/r/{path}", line {line}, in x\nValueError: no {line}\n'
    )


def test_each_failing_test_is_shown_at_its_line() -> None:
    failing = result("tests/a.py", Status.FAIL, case("__main__.T.one", at("tests/a.py", 3)), case("m.T.two"))

    assert annotations_of(results(record(failing))) == [
        Annotation(
            level=AnnotationLevel.ERROR,
            title="T.one",
            message="ValueError: no 3",
            path="tests/a.py",
            line=3,
        ),
        Annotation(
            level=AnnotationLevel.ERROR,
            title="m.T.two",
            message="failed without a message",
            path="tests/a.py",
        ),
    ]


def test_a_file_that_failed_as_a_whole_is_shown_with_why_and_where_it_was() -> None:
    frames = '  File "lib.py", line 1 in f\n  File "/r/tests/a.py", line 9 in g\n'
    stacks = f"Thread 1 (most recent call first):\n{frames}"
    slow = result("tests/a.py", Status.TIMEOUT, error="ran longer than 2 s", stacks=stacks)

    [shown] = annotations_of(results(record(slow)))

    assert (shown.title, shown.path, shown.line) == ("TIMEOUT: tests/a.py", "tests/a.py", 9)
    assert shown.message.startswith("TIMEOUT: ran longer than 2 s\nThread 1")


def test_a_file_that_exits_without_a_failing_test_is_shown_at_the_line_of_its_traceback() -> None:
    [shown] = annotations_of(results(record(result("tests/a.py", output="hello\n" + at("tests/a.py", 4)))))

    assert (shown.title, shown.line) == ("FAIL: tests/a.py", 4)


def test_a_file_that_could_not_be_collected_is_shown_once() -> None:
    message = "tests/a.py:3: in <module>\n    import nope\nE   ModuleNotFoundError: No module named 'nope'"
    broken = result("tests/a.py", Status.COLLECT_ERROR, case("tests/a.py", message), error="No module")

    [shown] = annotations_of(results(record(broken)))

    assert (shown.title, shown.line) == ("COLLECT_ERROR: tests/a.py", 3)
    assert shown.message == "COLLECT_ERROR: No module\nModuleNotFoundError: No module named 'nope'"


def test_a_flaky_file_is_a_warning_at_what_failed() -> None:
    first = result("tests/a.py", Status.FAIL, case("m.T.x", at("tests/a.py", 5)))
    second = result("tests/a.py", Status.PASS, attempt=2)

    [shown] = annotations_of(results(record(first, second)))

    assert shown == Annotation(
        level=AnnotationLevel.WARNING,
        title="Flaky: tests/a.py",
        message="It passed and failed: FAIL, PASS\nm.T.x: ValueError: no 5",
        path="tests/a.py",
        line=5,
    )


def test_a_file_that_fails_only_in_parallel_is_a_warning() -> None:
    attempts = result("tests/a.py", error="exit status 1"), result("tests/a.py", Status.PASS, attempt=2)
    crowded = FileAttempts(file=file("tests/a.py"), attempts=attempts, reasons=(None, RerunReason.EXCLUSIVE))

    [shown] = annotations_of(results(crowded))

    assert shown.level is AnnotationLevel.WARNING
    assert shown.message == ("It failed in parallel, passed when run alone\nFAIL: exit status 1")


def test_each_file_has_one_annotation_before_any_has_two_and_new_failures_come_first() -> None:
    many = record(result("a.py", Status.FAIL, *(case(f"a{number}") for number in range(3))))
    old = record(result("b.py", Status.FAIL, case("b0")))
    slow = record(result("c.py", Status.TIMEOUT))

    shown = annotations_of(results(many, old, slow), failed_before={"a.py"})

    assert [one.title for one in shown] == ["TIMEOUT: c.py", "b0", "a0", "a1", "a2"]


def test_a_run_that_is_not_complete_comes_first() -> None:
    cancelled = record(result("b.py", Status.CANCELLED))
    shown = annotations_of(results(record(result("a.py")), cancelled))

    assert [(one.title, one.path) for one in shown] == [
        ("The run is not complete", ""),
        ("FAIL: a.py", "a.py"),
    ]


def test_the_last_annotation_says_how_many_are_not_shown() -> None:
    failed = [record(result(f"{number:02}.py")) for number in range(23)]
    flaky = [record(result(f"w{number}.py"), result(f"w{number}.py", Status.PASS)) for number in range(11)]

    kept = annotations_of(results(*failed, *flaky))

    errors = [one for one in kept if one.level is AnnotationLevel.ERROR]
    warnings = [one for one in kept if one.level is AnnotationLevel.WARNING]
    assert len(errors) == len(warnings) == MAX_OF_A_LEVEL
    assert [errors[0].path, errors[8].path, errors[9].title] == ["00.py", "08.py", "14 more failures"]
    assert warnings[9].title == "2 more warnings"


def test_as_many_annotations_as_github_shows_are_complete() -> None:
    failed = [record(result(f"{number}.py")) for number in range(MAX_OF_A_LEVEL)]

    assert [one.path for one in annotations_of(results(*failed))] == [f"{number}.py" for number in range(10)]


def test_a_file_with_many_failing_tests_gets_the_annotations_that_others_leave() -> None:
    many = record(result("b.py", Status.FAIL, *(case(f"b{number}") for number in range(50))))
    failed = [record(result(f"a{number}.py")) for number in range(3)]

    shown = annotations_of(results(*failed, many))

    assert [one.path for one in shown] == ["a0.py", "a1.py", "a2.py", *["b.py"] * 6, ""]
    assert shown[-1].title == "44 more failures"


def test_messages_of_tests_are_bounded_and_cannot_control_a_terminal() -> None:
    loud = result("a.py", Status.FAIL, case(HOSTILE * 50, "E   " + HOSTILE * 500))

    [shown] = annotations_of(results(record(loud)))

    assert len(shown.title) <= 200
    assert len(shown.message) <= MESSAGE_CHARS + 10
    assert "\x1b" not in shown.title + shown.message
    assert "\n" not in shown.title


def test_a_regression_is_a_warning_or_an_error_if_it_fails_the_run() -> None:
    for fails, level in ((False, AnnotationLevel.WARNING), (True, AnnotationLevel.ERROR)):
        grown = grown_results(fails_on_regression=fails)
        (annotation,) = annotations_of(grown)
        assert (annotation.level, annotation.path) == (level, "tests/test_big.py")
        assert annotation.title == "Regressed: tests/test_big.py"
        assert annotation.message == "peak memory 300 MiB instead of 100 MiB (3.0 times)"
