"""Turns the result of a file into its failures, each with its message and its place. Pure.

Every report for people or programs takes them from here: the console, `--output brief` and `json`, the CI's
annotations and its summary page. `failure_text` reads the messages, `stack_text` the stacks of a timeout.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from dispatcher.model.plan import TestFile
from dispatcher.reporters.console.lines import status_text
from dispatcher.reporters.failure_text import (
    exception_lines,
    failure_line,
    failure_place,
    split_message,
)
from dispatcher.reporters.stack_text import stack_lines
from passmuster.model.result import CaseResult, TestResult
from passmuster.model.status import Outcome, Status
from passmuster.model.text import one_line, shown_lines

MAX_NAME_CHARS = 400
"""Characters of a test's name, which may contain its parameters."""

MAX_MESSAGE_CHARS = 2000


class Failure(Struct, frozen=True, kw_only=True):
    """One thing that went wrong in a file. All texts are sanitized."""

    test: str = ""
    """The failed test, as its framework names it; empty: the file as a whole."""
    outcome: Outcome | None = None
    """Of the test; None: the file as a whole failed."""
    message: str
    """What went wrong, in one line; never empty."""
    detail: tuple[str, ...] = ()
    """The further lines of the exception's text; of a timeout the frames of the project."""
    line: int | None = None
    """Where it failed in the file itself; None: elsewhere, or unknown."""
    place: str = ""
    """Where it failed, as `path:line`; in the file itself if that is known. Empty: unknown."""

    @property
    def with_id(self) -> str:
        """Test, place, and message, as the console has them on a pipe: `T.test_m (a.py:3): ValueError: x`."""
        return f"{self.test} ({self.place}): {self.message}" if self.place else f"{self.test}: {self.message}"

    @property
    def name(self) -> str:
        """The test without its file: `T::m[x]` for `tests/a.py::T::m[x]`."""
        is_path = self.test.partition("[")[0].count("::")
        return (self.test.partition("::")[2] if is_path else self.test).removeprefix("__main__.")

    def line_for(self, label: str) -> str:
        """Return place, test, and message, as editors and compilers have them: `a.py:3: T::m: ValueError: x`.

        Args:
            label: the file, which stands for an unknown place.
        """
        return ": ".join(filter(None, (self.place or one_line(label), self.name, self.message)))


def failures_of(file: TestFile, result: TestResult) -> Iterator[Failure]:
    """Yield what went wrong in an attempt that failed: at least one failure, each made on demand.

    A problem of the file as a whole, such as a timeout, precedes its failed tests. pytest reports a file that
    it could not collect as a test with the name of the file: that is one failure.
    """
    if not result.failed_by_tests:
        yield _file_failure(file, result)
    if result.status is not Status.COLLECT_ERROR:
        yield from failed_tests(file, result)


def failed_tests(file: TestFile, result: TestResult) -> Iterator[Failure]:
    """Yield the failures of the tests inside a file; a test with failed subtests has one for each."""
    for case in result.bad_cases:
        for message in split_message(case.message):
            yield _test_failure(file, case, message)


def count_failures(result: TestResult) -> int:
    """Return how many failures `failures_of` yields."""
    tests = 0
    if result.status is not Status.COLLECT_ERROR:
        tests = sum(len(split_message(case.message)) for case in result.bad_cases)
    return tests + (not result.failed_by_tests)


def _test_failure(file: TestFile, case: CaseResult, message: str) -> Failure:
    first, *others = exception_lines(message)
    return Failure(
        test=one_line(case.case_id)[:MAX_NAME_CHARS],
        outcome=case.outcome,
        message=one_line(first)[:MAX_MESSAGE_CHARS] or "failed without a message",
        detail=_shown(others),
        line=failure_line(message, file.path, file.label),
        place=one_line(failure_place(message, file.path, file.label)),
    )


def _file_failure(file: TestFile, result: TestResult) -> Failure:
    cases = result.bad_cases
    message = status_text(result)
    detail = tuple(stack_lines(result.stacks, file.path)) if result.stacks else ()
    if result.status is Status.COLLECT_ERROR and cases:
        first, *others = exception_lines(cases[0].message)
        detail = _shown(others if message.endswith(one_line(first)) else (first, *others))
    # Where the file as a whole names no line, a failing test may.
    texts = (result.stacks, result.output, *(case.message for case in cases))
    line = first_line(file, texts)
    return Failure(
        message=message,
        detail=detail,
        line=line,
        place=one_line(f"{file.label}:{line}") if line else "",
    )


def _shown(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(shown for line in lines if line.strip() for shown in shown_lines(line))


def first_line(file: TestFile, texts: Iterable[str]) -> int | None:
    """Return the line of the file that the first of these texts names; None: none does."""
    lines = (failure_line(text, file.path, file.label) for text in texts)
    return next((line for line in lines if line), None)
