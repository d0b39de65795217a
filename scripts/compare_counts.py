"""Compare two JUnit reports of the same tests: `compare_counts.py [--no-skips] PYTEST_XML OURS_XML`.

CI runs the project's tests twice, by pytest and by the runner itself, and both must tell the same. The last
line printed is `N passed, N failed, N skipped`, of the first report and those given by `--also`.
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


def read_counts(path: Path) -> Counts:
    """Count the cases of a JUnit report; an error counts as failed, an expected failure as skipped."""
    passed = failed = 0
    skipped = []
    for case in ElementTree.parse(path).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif (skip := case.find("skipped")) is not None:
            name = f"{case.get('classname', '')}::{case.get('name', '')}"
            skipped.append(f"{name} ({skip.get('message', '')})")
        else:
            passed += 1
    return Counts(passed=passed, failed=failed, skipped=tuple(skipped))


def total(counts: Sequence[Counts]) -> Counts:
    """Return all counts together."""
    return Counts(
        passed=sum(one.passed for one in counts),
        failed=sum(one.failed for one in counts),
        skipped=tuple(name for one in counts for name in one.skipped),
    )


def problems(
    expected: Counts, found: Counts, *, no_skips: bool = False, allowed: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return what is wrong, a line each; nothing when both tell the same and all is well.

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
        "--also", type=Path, action="append", default=[], metavar="XML", help="counted in the last line too"
    )
    options = parser.parse_args(argv)
    expected, found = read_counts(options.expected), read_counts(options.found)
    print(f"[INFO] By pytest:        {expected}")
    print(f"[INFO] By run_tests.py:  {found}")
    wrong = problems(expected, found, no_skips=options.no_skips, allowed=options.allow_skip)
    for line in wrong:
        print(f"[FAIL] {line}")
    print(total([expected, *map(read_counts, options.also)]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
