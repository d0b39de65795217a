"""Two hundred trivial unittest scripts: nothing but start-up, so that what a runner adds can be seen."""

from __future__ import annotations

from pathlib import Path

TEXT = '''"""One file of the trivial suite; made by benchmarks/suites/trivial.py."""

import unittest


class TrivialTest{number}(unittest.TestCase):
    def test_sum(self):
        self.assertEqual(1 + {number}, {number} + 1)

    def test_text(self):
        self.assertEqual("a" * 3, "aaa")

    def test_list(self):
        self.assertIn({number}, [{number}])


if __name__ == "__main__":
    unittest.main()
'''


def write_suite(root: Path, *, files: int = 200) -> list[Path]:
    """Write the suite below `root`, which is made; return its files in the order of their names."""
    folder = root / "tests"
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for number in range(files):
        path = folder / f"test_trivial_{number:03d}.py"
        path.write_text(TEXT.format(number=number))
        paths.append(path)
    return paths
