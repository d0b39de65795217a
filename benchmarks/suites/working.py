"""Files that compute for a second each: a suite that keeps as many processors busy as it may."""

from __future__ import annotations

from pathlib import Path

TEXT = '''"""One file of the working suite; made by benchmarks/suites/working.py."""

import time
import unittest


class WorkingTest{number}(unittest.TestCase):
    def test_work(self):
        end, value = time.process_time() + {seconds}, 1
        while time.process_time() < end:
            for _ in range(2000):
                value = (value * 48271) % 2147483647


if __name__ == "__main__":
    unittest.main()
'''


def write_suite(root: Path, *, files: int, seconds: float = 1.0) -> None:
    """Write the suite below `root`, which is made."""
    folder = root / "tests"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        (folder / f"test_working_{number:03d}.py").write_text(TEXT.format(number=number, seconds=seconds))
