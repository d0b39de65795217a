"""The time of each test in a file, as its last passing run measured it. Pure.

It shows where a long file can be cut (`dispatcher.planning.parts`). The text in the history has a line for
each test, in the order in which they ran: its seconds, a space, and its name inside the file. Its first line
says how many tests were skipped, because a test that needs another one may skip itself in a part without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from msgspec import Struct

from dispatcher.model.results import names_of_cases
from passmuster.model.result import TestResult
from passmuster.model.test_selection import SEPARATOR

MAX_TESTS = 500
MAX_CHARS = 32 * 1024
"""Tests and characters kept of one file. Of a file with more, neighbours are added up."""

MIN_TEST_S = 0.0001
"""Seconds that a test takes at least: the history keeps no shorter times."""


_SKIPPED = "skipped"


class TimedTest(Struct, frozen=True, kw_only=True):
    """A test, or several that follow each other and are never separated."""

    name: str  # `Class::test[parameters]`; of several tests, the first
    seconds: float  # without the set-up of fixtures that other tests use as well


def measured_tests(result: TestResult) -> tuple[TimedTest, ...]:
    """Return the time of each test of a whole file; empty: some have no name or the same name."""
    names = names_of_cases(result, result.cases)
    if len(set(names)) != len(result.cases):
        return ()
    return tuple(
        TimedTest(name=name, seconds=max(0.0, case.seconds - case.shared_s))
        for name, case in zip(names, result.cases, strict=True)
    )


def write_tests(tests: Sequence[TimedTest], *, skipped: int) -> str:
    """Return the text for the history; its tests are within `MAX_TESTS` and `MAX_CHARS`."""
    text = _within_limits(tests)
    return f"{_SKIPPED} {skipped}\n{text}" if text else ""


def _within_limits(tests: Sequence[TimedTest]) -> str:
    if len(text := _lines(tests)) <= MAX_CHARS and len(tests) <= MAX_TESTS:
        return text
    tests = inseparable(tests)
    while len(text := _lines(tests)) > MAX_CHARS or len(tests) > MAX_TESTS:
        if len(tests) == 1:
            return ""
        pairs = (tests[at : at + 2] for at in range(0, len(tests), 2))
        tests = [_added_up(pair) for pair in pairs]
    return text


def read_tests(text: str) -> tuple[TimedTest, ...]:
    """Return the tests in a text of the history; lines that are not valid are left out."""
    found = []
    for line in text.splitlines():
        seconds, _, name = line.partition(" ")
        if name and seconds.replace(".", "", 1).isdecimal():
            found.append(TimedTest(name=name, seconds=max(MIN_TEST_S, float(seconds))))
    return tuple(found)


def read_skipped(text: str) -> int | None:
    """Return how many tests were skipped, by a text of the history; None: an older program wrote it."""
    word, _, count = text.partition("\n")[0].partition(" ")
    return int(count) if word == _SKIPPED and count.isdecimal() else None


def inseparable(tests: Iterable[TimedTest]) -> list[TimedTest]:
    """Return the tests with those of one class added up: they may share what the class sets up."""
    found: list[TimedTest] = []
    for name, group in groupby(tests, key=lambda test: _class_of(test.name)):
        of_class = list(group)
        found += [_added_up(of_class)] if name else of_class
    return found


def _lines(tests: Iterable[TimedTest]) -> str:
    return "\n".join(f"{test.seconds:.4f} {test.name}" for test in tests)


def _added_up(tests: Sequence[TimedTest]) -> TimedTest:
    return TimedTest(name=tests[0].name, seconds=sum(test.seconds for test in tests))


def _class_of(name: str) -> str:
    """Return the class of a test; empty: it is a function."""
    return name.partition("[")[0].rpartition(SEPARATOR)[0]
