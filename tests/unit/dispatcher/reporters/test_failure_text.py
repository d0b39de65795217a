"""The whole message of each failing test is shown, with its place."""

from __future__ import annotations

import pytest

from dispatcher.model.plan import TestFile
from dispatcher.reporters.failure_report import FULL_DETAIL, failure_lines
from dispatcher.reporters.failure_text import ANOTHER, failure_place, headline, marked_lines
from dispatcher.reporters.failures import failed_tests
from passmuster.model.result import CaseResult, TestResult
from passmuster.model.status import Outcome, Status

FILE = TestFile(path="tests/test_shop.py", label="tests/test_shop.py")

PYTEST = """\
def test_basket():
>       assert not problems, "the basket is wrong:"
E       AssertionError: the basket is wrong:
E         wanted 8 apples
E         \x1b[31mgot 7 apples
E       assert not ['wanted 8 apples']

tests/test_shop.py:5: AssertionError"""

CHAINED = """\
>       {}["x"]
E       KeyError: 'x'

tests/test_shop.py:14: KeyError

The above exception was the direct cause of the following exception:

>       raise RuntimeError("first\\nsecond")
E       RuntimeError: first
E       second

tests/test_shop.py:16: RuntimeError"""

UNITTEST = """\
Traceback (most recent call last):
  File "/elsewhere/tests/test_shop.py", line 7, in test_text
    self.assertEqual("a", "b")
AssertionError: 'a' != 'b'
- a
+ b
 : the text
"""


def lines_of(*messages: str) -> list[str]:
    cases = tuple(
        CaseResult(case_id=f"T.test_{number}", outcome=Outcome.FAILED, message=message)
        for number, message in enumerate(messages)
    )
    failures = list(failed_tests(FILE, TestResult(file_path=FILE.path, status=Status.FAIL, cases=cases)))
    return list(failure_lines(failures, len(failures), FULL_DETAIL, lambda failure: failure.with_id))


def test_the_whole_message_of_pytest_is_shown_with_its_place_and_without_control_characters() -> None:
    assert lines_of(PYTEST) == [
        "T.test_0 (tests/test_shop.py:5): AssertionError: the basket is wrong:",
        "    wanted 8 apples",
        "    got 7 apples",
        "  assert not ['wanted 8 apples']",
    ]


def test_the_whole_message_of_unittest_is_shown_with_the_last_frame_inside_the_file() -> None:
    assert lines_of(UNITTEST) == [
        "T.test_0 (tests/test_shop.py:7): AssertionError: 'a' != 'b'",
        "  - a",
        "  + b",
        "   : the text",
    ]


def test_each_failure_of_one_test_is_shown() -> None:
    assert lines_of(PYTEST + ANOTHER + UNITTEST) == [*lines_of(PYTEST), *lines_of(UNITTEST)]
    assert headline(PYTEST + ANOTHER + UNITTEST) == "AssertionError: the basket is wrong:"


def test_of_chained_exceptions_the_last_is_shown() -> None:
    assert headline(CHAINED) == "RuntimeError: first"
    assert lines_of(CHAINED) == ["T.test_0 (tests/test_shop.py:16): RuntimeError: first", "  second"]


def test_long_messages_and_many_tests_are_counted_instead_of_shown() -> None:
    long = "\n".join(["E   boom", *(f"E   line {number}" for number in range(1000))])
    lines = lines_of(*[long] * (FULL_DETAIL.failures + 3))
    shown = FULL_DETAIL.failure_lines
    assert lines[1 + shown] == f"  ... {1000 - shown} more line(s)"
    assert sum(line.startswith("  line ") for line in lines) == FULL_DETAIL.file_lines
    assert sum(line.startswith("T.test_") for line in lines) == FULL_DETAIL.failures
    assert lines[-1] == "and 3 more"


def test_a_message_without_any_text_says_so() -> None:
    assert lines_of("", "\n \n") == [
        "T.test_0: failed without a message",
        "T.test_1: failed without a message",
    ]
    assert lines_of() == []
    assert headline("\n  indented only\n") == "indented only"


def test_a_message_that_was_cut_in_its_middle_stays_one() -> None:
    cut = "E   AssertionError: a\nE   be\n[... cut ...]\n d\nE   e\n\ntests/test_shop.py:5: AssertionError"
    assert marked_lines(cut) == ["AssertionError: a", "be", "[... cut ...]", "e"]
    assert headline(cut) == "AssertionError: a"


def test_a_carriage_return_in_a_message_does_not_hide_what_is_before_it() -> None:
    marked = "E   AssertionError: wrong\nE     a\rb\nE   assert 0"
    assert headline(marked) == "AssertionError: wrong"
    assert lines_of(marked) == ["T.test_0: AssertionError: wrong", "  b", "  assert 0"]
    assert headline("Traceback (most recent call last):\n  File 'x'\nValueError: a\rb\n").startswith(
        "ValueError"
    )


def test_a_syntax_error_says_what_is_wrong_before_the_place() -> None:
    message = 'E     File "/p/tests/test_shop.py", line 1\nE       def x(:\nE   SyntaxError: invalid syntax'
    assert lines_of(message)[0] == "T.test_0 (tests/test_shop.py:1): SyntaxError: invalid syntax"


@pytest.mark.parametrize(
    ("message", "place"),
    [
        (PYTEST, "tests/test_shop.py:5"),
        ("tests/conftest.py:12: OSError", "tests/conftest.py:12"),
        ("tests/test_shop.py:7: \n_ _ _\ntests/helper.py:2: AssertionError", "tests/test_shop.py:7"),
        ("no place", ""),
    ],
)
def test_the_place_is_in_the_tests_own_file_if_possible(message: str, place: str) -> None:
    assert failure_place(message, FILE.path, FILE.label) == place
