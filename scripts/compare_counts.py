"""Compare two JUnit reports of the same tests: `compare_counts.py [--no-skips] PYTEST_XML OURS_XML`.

CI runs some of the project's tests twice, by pytest and by the runner itself, and both must report the same
results. The last line printed is `N passed, N failed, N skipped`, of the first report.
"""

from __future__ import annotations

import argparse
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How the cases of a report ended."""

    passed: int
    failed: int
    skipped: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {len(self.skipped)} skipped"


def read_counts(path: Path, *, below: Sequence[str] = ()) -> Counts:
    """Count the cases of a JUnit report; an error counts as failed, an expected failure as skipped.

    Args:
        below: only suites whose file lies below one of these folders count; empty: all suites.
    """
    passed = failed = 0
    skipped = []
    prefixes = tuple(f"{folder}/" for folder in below)
    for suite in ElementTree.parse(path).iter("testsuite"):
        if prefixes and not suite.get("name", "").startswith(prefixes):
            continue
        for case in suite.findall("testcase"):
            if case.find("failure") is not None or case.find("error") is not None:
                failed += 1
            elif (skip := case.find("skipped")) is not None:
                name = f"{case.get('classname', '')}::{case.get('name', '')}"
                skipped.append(f"{name} ({skip.get('message', '')})")
            else:
                passed += 1
    return Counts(passed=passed, failed=failed, skipped=tuple(skipped))


def problems(
    expected: Counts, found: Counts, *, no_skips: bool = False, allowed: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return a line for each problem.

    Args:
        expected: the counts of the reference, which decides about skips.
        found: the counts that must be equal.
        no_skips: whether a skipped case is wrong.
        allowed: parts of the names, or of the reasons, of cases that may be skipped.
    """
    wrong = []
    if str(expected) != str(found):
        wrong.append("the two reports differ")
    if not expected.passed:
        wrong.append("no test passed")
    if expected.failed or found.failed:
        wrong.append("some tests failed")
    if no_skips:
        wrong.extend(
            f"{name} was skipped, and is not listed as one that may be"
            for name in expected.skipped
            if not any(part in name for part in allowed)
        )
    return tuple(wrong)


def main(argv: Sequence[str]) -> int:
    """Print both counts and what is wrong with them; return 1 if something is."""
    parser = argparse.ArgumentParser(description="Compare two JUnit reports of the same tests.")
    parser.add_argument("expected", type=Path, metavar="PYTEST_XML")
    parser.add_argument("found", type=Path, metavar="OURS_XML")
    parser.add_argument("--no-skips", action="store_true", help="a skipped test is wrong")
    parser.add_argument(
        "--allow-skip", action="append", default=[], metavar="PART", help="of a name or reason"
    )
    parser.add_argument(
        "--below", action="append", default=[], metavar="FOLDER", help="of OURS_XML, compare only these files"
    )
    options = parser.parse_args(argv)
    expected = read_counts(options.expected)
    found = read_counts(options.found, below=options.below)
    print(f"[INFO] By pytest:        {expected}")
    print(f"[INFO] By run_tests.py:  {found}")
    wrong = problems(expected, found, no_skips=options.no_skips, allowed=options.allow_skip)
    for line in wrong:
        print(f"[FAIL] {line}")
    print(expected)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
