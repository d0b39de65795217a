"""Files that grow to 300 MB each in about a second: several runs at once do not fit into a small machine."""

from __future__ import annotations

from pathlib import Path

TEXT = '''"""One file of the growing suite; made by benchmarks/suites/growing.py."""

import time
import unittest


class GrowingTest{number}(unittest.TestCase):
    def test_grow(self):
        kept = []
        for _ in range(30):
            kept.append(b"x" * 10_000_000)
            time.sleep(0.03)
        time.sleep(0.5)


if __name__ == "__main__":
    unittest.main()
'''


def write_suite(root: Path, *, files: int = 3) -> None:
    """Write the suite below `root`, which is made."""
    folder = root / "tests"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        (folder / f"test_growing_{number:03d}.py").write_text(TEXT.format(number=number))
