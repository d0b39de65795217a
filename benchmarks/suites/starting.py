"""A small unittest suite whose first test writes down when it runs: for measuring what comes before it."""

from __future__ import annotations

from pathlib import Path

TEXT = '''"""One file of the starting suite; made by benchmarks/suites/starting.py."""

import os
import time
import unittest

STARTED_NS = time.monotonic_ns()


class StartingTest{number}(unittest.TestCase):
    def test_1_says_when(self):
        folder = os.path.dirname(os.path.abspath(__file__))
        with open(os.path.join(folder, "started-{number}.txt"), "w") as file:
            file.write("%d %d" % (STARTED_NS, time.monotonic_ns()))

    def test_2_sum(self):
        self.assertEqual(1 + 1, 2)


if __name__ == "__main__":
    unittest.main()
'''
"""The clock is the machine's, so that it can be compared with that of the process which started the run."""


def write_suite(root: Path, *, files: int = 6) -> list[Path]:
    """Write the suite below `root`, which is made; return its files in the order of their names."""
    folder = root / "tests"
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for number in range(files):
        path = folder / f"test_starting_{number}.py"
        path.write_text(TEXT.format(number=number))
        paths.append(path)
    return paths


def first_test_ns(root: Path) -> int | None:
    """Return when the first test ran, by the monotonic clock; what was written is removed. None: none ran."""
    found: list[int] = []
    for path in (root / "tests").glob("started-*.txt"):
        found.append(int(path.read_text().split()[1]))
        path.unlink()
    return min(found, default=None)
