"""Sixty files that sleep, as tests of services do, eight of them with much memory for a small machine.

Their times hardly move, however busy the machine is: so what a split predicts can be held against what it
takes.
"""

from __future__ import annotations

import random
from pathlib import Path

MIB = 1024**2

BUDGET_BYTES = 512 * MIB
"""Of the machine that the large files are large for."""

TEXT = '''"""One file of the waiting suite; made by benchmarks/suites/waiting.py."""

import time
import unittest


class WaitingTest{number}(unittest.TestCase):
    def test_wait(self):
        held = bytearray(b"x") * {size_bytes}
        time.sleep({seconds:.2f})
        self.assertEqual(len(held), {size_bytes})


if __name__ == "__main__":
    unittest.main()
'''


def write_suite(root: Path, *, files: int = 60, seed: int = 1) -> None:
    """Write the suite below `root`, which is made."""
    chance = random.Random(seed)
    folder = root / "tests"
    folder.mkdir(parents=True, exist_ok=True)
    large = {number: chance.randint(110, 230) * MIB for number in chance.sample(range(files), 8)}
    for number in range(files):
        seconds = min(6.0, 0.2 + chance.lognormvariate(-0.4, 0.9))
        text = TEXT.format(number=number, seconds=seconds, size_bytes=large.get(number, MIB))
        (folder / f"test_waiting_{number:03d}.py").write_text(text)
