"""Reads what frameworks and runners print about their counts. Pure: text in, counts out."""

from __future__ import annotations

import re
from collections.abc import Mapping

from benchmarks.bed.model import Counts

# Without anchors: outputs of several processes may stand in one file, and dots before a line.
UNITTEST_RAN = re.compile(r"Ran (\d+) tests? in ")
UNITTEST_VERDICT = re.compile(
    r"^.*?(?:OK|FAILED|NO TESTS RAN) \(([a-z]+(?: [a-z]+)?=\d+[^)]*)\)\s*$", re.MULTILINE
)
PYTEST_SUMMARY = re.compile(r"((?:\d+ [a-z ]+, )*\d+ [a-z ]+) in [\d.]+s")
PYTEST_FAST_TOTAL = re.compile(r"^  results : (.+?)  \(n=\d+/\d+\)$", re.MULTILINE)
STESTR_TOTAL = re.compile(
    r"^ - (Passed|Skipped|Expected Fail|Unexpected Success|Failed): (\d+)", re.MULTILINE
)
COVERED = re.compile(r'<coverage [^>]*lines-covered="(\d+)"')
REGRTEST_TOTAL = re.compile(r"^Total tests: (.*)$", re.MULTILINE)


def of_unittest(counted: Mapping[str, int]) -> Counts:
    """Return what unittest says of one run, given by its own names."""
    return Counts(
        ran=counted.get("run", 0),
        failed=counted.get("failures", 0) + counted.get("unexpected successes", 0),
        errors=counted.get("errors", 0),
        skipped=counted.get("skipped", 0),
    )


def of_pytest(counted: Mapping[str, int]) -> Counts:
    """Return what pytest says of one run, given by its own names."""
    ran = ("passed", "failed", "skipped", "xfailed", "xpassed")
    return Counts(
        ran=sum(counted.get(name, 0) for name in ran),
        failed=counted.get("failed", 0),
        errors=counted.get("error", 0) + counted.get("errors", 0),
        skipped=counted.get("skipped", 0),
    )


def unittest_sum(output: str) -> Counts:
    """Return the sum over all unittest runs that printed to one output."""
    total = Counts(ran=sum(int(number) for number in UNITTEST_RAN.findall(output)))
    for words in UNITTEST_VERDICT.findall(output):
        pairs = (part.partition("=") for part in words.split(", "))
        total += of_unittest({name: int(number) for name, _, number in pairs})
    return total


def pytest_sum(output: str) -> Counts:
    """Return the sum over all pytest runs, and rstest's, that printed to one output."""
    return sum(map(_pytest_words, PYTEST_SUMMARY.findall(output)), Counts())


def pytest_fast_sum(output: str) -> Counts:
    """Return the totals that pytest-fast prints."""
    return sum(map(_pytest_words, PYTEST_FAST_TOTAL.findall(output)), Counts())


def _pytest_words(words: str) -> Counts:
    """Return the counts in pytest's words, such as `3 passed, 1 skipped`."""
    pairs = (part.partition(" ") for part in words.split(", "))
    return of_pytest({name: int(number) for number, _, name in pairs})


def stestr_sum(output: str) -> Counts:
    """Return the totals that stestr prints; it calls errors failures."""
    found = {name: int(number) for name, number in STESTR_TOTAL.findall(output)}
    return Counts(
        ran=sum(found.values()),
        failed=found.get("Failed", 0) + found.get("Unexpected Success", 0),
        skipped=found.get("Skipped", 0),
    )


def regrtest_sum(output: str) -> Counts:
    """Return the totals that CPython's regrtest prints; errors stand among its failures."""
    totals = REGRTEST_TOTAL.findall(output)
    pairs = (word.partition("=") for word in totals[-1].split()) if totals else ()
    found = {name: int(number.replace(",", "")) for name, _, number in pairs if number[:1].isdigit()}
    return Counts(ran=found.get("run", 0), failed=found.get("failures", 0), skipped=found.get("skipped", 0))


def covered_lines(report: str) -> int | None:
    """Return how many lines a Cobertura report calls covered; None: it does not say."""
    found = COVERED.search(report)
    return None if found is None else int(found[1])
