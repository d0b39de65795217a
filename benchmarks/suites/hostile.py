"""Suites that break a memory budget on purpose, with innocent files beside the guilty one.

- `leak`: one file takes 1 GB/s for ever.
- `large`: forty files of 1 GiB each, alone within the budget and never two at once; nobody is guilty.
- `forks`: one file forks fifty children that each hold memory of their own. Among the innocents one forks
  fifty children that only *share* what it holds: whoever adds up resident sizes takes it for guilty.

Every innocent file must pass; the guilty one must end as `MEMORY`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HEAD = '''"""One file of a hostile suite; made by benchmarks/suites/hostile.py."""

import os
import time
import unittest

'''
TAIL = """

if __name__ == "__main__":
    unittest.main()
"""

INNOCENT = """
class InnocentTest(unittest.TestCase):
    def test_holds_a_little_for_a_while(self):
        held = b"x" * ({mib} * 1024 * 1024)
        end = time.process_time() + {cpu}
        while time.process_time() < end:
            sum(range(1000))
        time.sleep({wait})
        self.assertEqual(held[:1], b"x")
"""

LEAK = """
class LeakTest(unittest.TestCase):
    def test_takes_a_gigabyte_each_second(self):
        held = []
        start = time.monotonic()
        while True:
            held.append(b"x" * (32 * 1024 * 1024))
            ahead = len(held) * 0.032 - (time.monotonic() - start)
            time.sleep(max(0.0, ahead))
"""

LARGE = """
class LargeTest(unittest.TestCase):
    def test_takes_a_gibibyte(self):
        held = []
        for _ in range(16):
            held.append(b"x" * (64 * 1024 * 1024))
            time.sleep(0.02)
        time.sleep({wait})
        self.assertEqual(len(held), 16)
"""

FORKS = """
class ForksTest(unittest.TestCase):
    def test_fifty_children_hold_memory(self):
        pids = []
        for _ in range(50):
            pid = os.fork()
            if pid == 0:
                held = b"x" * (100 * 1024 * 1024)
                time.sleep(30)
                os._exit(len(held) % 2)
            pids.append(pid)
        for pid in pids:
            os.waitpid(pid, 0)
"""

SHARES = """
class SharesTest(unittest.TestCase):
    def test_fifty_children_share_memory(self):
        held = b"x" * (200 * 1024 * 1024)
        pids = []
        for _ in range(50):
            pid = os.fork()
            if pid == 0:
                time.sleep(1.0)
                os._exit(0 if held[:1] == b"x" else 1)
            pids.append(pid)
        self.assertEqual({os.waitpid(pid, 0)[1] for pid in pids}, {0})
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostileSuite:
    """A written suite.

    Args:
        name: what it is called.
        root: its project folder.
        paths: all its files, relative to the root.
        guilty: the one that must end as `MEMORY`; None: all must pass.
    """

    name: str
    root: Path
    paths: tuple[str, ...]
    guilty: str | None


def write_suites(root: Path, *, seed: int = 1) -> tuple[HostileSuite, ...]:
    """Write the three suites below `root`, which is made."""
    return (
        _write("leak", root, _among_innocents("test_leak.py", LEAK, seed=seed), "test_leak.py"),
        _write("large", root, _large(seed), None),
        _write(
            "forks",
            root,
            {**_among_innocents("test_forks.py", FORKS, seed=seed), "test_shares.py": SHARES},
            "test_forks.py",
        ),
    )


def _among_innocents(name: str, text: str, *, seed: int, innocents: int = 24) -> dict[str, str]:
    """Return the guilty file with innocents whose names come before and after it."""
    chance = random.Random(seed)
    innocent: Callable[[], str] = lambda: INNOCENT.format(  # noqa: E731 - drawn anew each time.
        mib=chance.randint(40, 250), cpu=round(chance.uniform(0.1, 0.6), 2), wait=chance.choice((0, 0, 0.4))
    )
    before = {f"test_a{number:02d}.py": innocent() for number in range(innocents // 2)}
    after = {f"test_z{number:02d}.py": innocent() for number in range(innocents // 2)}
    return {**before, name: text, **after}


def _large(seed: int) -> dict[str, str]:
    chance = random.Random(seed)
    return {
        f"test_large_{number:02d}.py": LARGE.format(wait=round(chance.uniform(0.0, 0.3), 2))
        for number in range(40)
    }


def _write(name: str, root: Path, files: dict[str, str], guilty: str | None) -> HostileSuite:
    folder = root / name / "tests"
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        (folder / file).write_text(HEAD + text + TAIL)
    return HostileSuite(
        name=name,
        root=root / name,
        paths=tuple(f"tests/{file}" for file in sorted(files)),
        guilty=None if guilty is None else f"tests/{guilty}",
    )
