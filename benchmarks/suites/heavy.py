"""Sixty heavy test files: real third-party imports, 100 to 300 MB each, four of over 1 GB, CPU and waiting.

What a large application's tests look like to a runner. Each file imports one of four mixes of packages
(0.5 to 1.5 s), takes memory in three tests, computes for a log-normal time, and every fifth waits. What a
file takes is written as numbers at its top, so that any of them can be read and run by hand.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from pathlib import Path

REQUIREMENTS = ("numpy", "pandas", "scipy", "sqlalchemy", "pydantic", "flask", "requests")

MIB = 1024**2

MIXES = (
    ("flask", "pydantic", "requests", "numpy", "pandas", "sqlalchemy.orm"),
    ("numpy", "scipy.stats", "pydantic"),
    ("pandas", "sqlalchemy.orm", "requests"),
    ("flask", "numpy", "scipy.optimize", "pandas"),
)
IMPORTS_MIB = (105, 90, 95, 110)
"""About what each mix takes after its imports, measured once; it decides only how much is put on top."""

GIANTS = (1050, 1150, 1250, 1400)
"""MiB that the four largest files take beyond their imports."""

TAILS_S = (3.0, 4.5, 6.0)
"""CPU seconds of the three longest files, which lie late in the order of names."""

TEXT = '''"""One file of the heavy suite; made by benchmarks/suites/heavy.py."""

import time
import unittest

{imports}

PAYLOAD_MIB = {payload}
CHUNKS = {chunks}
CPU_S = {cpu}
WAIT_S = {wait}


class HeavyTest(unittest.TestCase):
    held = []

    @classmethod
    def take(cls, mib):
        cls.held.append(b"x" * (mib * 1024 * 1024))

    @staticmethod
    def compute(seconds):
        end = time.process_time() + seconds
        value = 1
        while time.process_time() < end:
            for _ in range(2000):
                value = (value * 48271) % 2147483647
        return value

    def test_1_loads_its_data(self):
        for _ in range(CHUNKS):
            self.take(PAYLOAD_MIB // CHUNKS)
            self.compute(CPU_S * 0.3 / CHUNKS)
        self.assertEqual(len(self.held), CHUNKS)

    def test_2_computes(self):
        self.assertGreater(self.compute(CPU_S * 0.7), 0)

    def test_3_waits(self):
        time.sleep(WAIT_S)
        # True of no block as well: runners that split a file run this test without the first.
        self.assertEqual({{block[:1] for block in self.held}} - {{b"x"}}, set())


if __name__ == "__main__":
    unittest.main()
'''


@dataclass(frozen=True, slots=True, kw_only=True)
class HeavyFile:
    """What one file takes.

    Args:
        mix: which packages it imports.
        payload_mib: memory on top of its imports, in MiB.
        chunks: in how many steps it takes that.
        cpu_s: seconds of computing.
        wait_s: seconds of sleeping.
    """

    mix: int
    payload_mib: int
    chunks: int
    cpu_s: float
    wait_s: float


def plan_files(*, files: int, seed: int) -> tuple[HeavyFile, ...]:
    """Return what the files take, the same for the same seed."""
    chance = random.Random(seed)
    giants = dict(zip(chance.sample(range(files), min(files, len(GIANTS))), GIANTS, strict=False))
    late = range(files * 3 // 4, files)
    tails = dict(zip(chance.sample(late, min(len(late), len(TAILS_S))), TAILS_S, strict=False))
    planned: list[HeavyFile] = []
    for number in range(files):
        mix = chance.randrange(len(MIXES))
        total_mib = chance.randint(120, 300)
        payload_mib = giants.get(number, max(8, total_mib - IMPORTS_MIB[mix]))
        cpu_s = tails.get(number, min(2.5, chance.lognormvariate(math.log(0.25), 1.0)))
        wait_s = chance.uniform(0.3, 2.0) if chance.random() < 0.2 else 0.0
        chunks = chance.choice((1, 4, 8))
        planned.append(
            HeavyFile(
                mix=mix,
                payload_mib=payload_mib,
                chunks=chunks,
                cpu_s=round(cpu_s, 3),
                wait_s=round(wait_s, 3),
            )
        )
    return tuple(planned)


def write_suite(root: Path, *, files: int = 60, seed: int = 1) -> list[Path]:
    """Write the suite below `root`, which is made; return its files in the order of their names."""
    folder = root / "tests"
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for number, planned in enumerate(plan_files(files=files, seed=seed)):
        path = folder / f"test_heavy_{number:03d}.py"
        text = TEXT.format(
            imports="\n".join(f"import {name}" for name in MIXES[planned.mix]),
            payload=planned.payload_mib,
            chunks=planned.chunks,
            cpu=planned.cpu_s,
            wait=planned.wait_s,
        )
        path.write_text(text)
        paths.append(path)
    return paths
