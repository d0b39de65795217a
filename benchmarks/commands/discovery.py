"""`discovery`: what finding the test files of a pytest project costs, on a first run and on a later one.

The suites have 100, 1,000 and 10,000 files, 20 in each folder. `pytest --collect-only` stands beside: it
imports every file, and is what pytest itself takes before its first test.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands.setting import Setting, forget_history, fresh_suite
from benchmarks.environments import ensure_environment
from benchmarks.measure import plain_environment
from benchmarks.tables import median, print_table, spread, write_json
from dispatcher.config.model import TestConfig
from dispatcher.discovery.discover import discover
from dispatcher.discovery.pytest_files import ProjectPython

FILES = (100, 1_000, 10_000)
FOLDER_FILES = 20
LATER_AIM_MS = 500.0
"""What a later run may take to find 10,000 files: little beside what running them takes."""

FIRST = "asking pytest"
LATER = "remembered"
BARE = "pytest --collect-only"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveryRecord:
    """One measurement.

    Args:
        files: how many the suite has.
        variant: what was done.
        took_ms: milliseconds it took.
    """

    files: int
    variant: str
    took_ms: float


def run(setting: Setting) -> bool:
    """Measure and print; return whether all files were found, and a later run finds them in time."""
    interpreter = ensure_environment(setting.cache / "environments" / "discovery", ["pytest"])
    records: list[DiscoveryRecord] = []
    is_complete = True
    for count in FILES:
        root = fresh_suite(setting.cache / "suites" / f"discovery-{count}")
        _write_suite(root, count)
        for _ in range(setting.rounds):
            forget_history(root)
            (root / ".passmuster").mkdir()
            for variant in (FIRST, LATER):
                took_ms = _timed(_find, root, interpreter)
                is_complete = is_complete and _find(root, interpreter) == count
                records.append(DiscoveryRecord(files=count, variant=variant, took_ms=took_ms))
            took_ms = _timed(_collect, root, interpreter)
            records.append(DiscoveryRecord(files=count, variant=BARE, took_ms=took_ms))
    write_json(setting.output, "discovery", records)
    return _print(records) <= LATER_AIM_MS and is_complete


def _write_suite(root: Path, count: int) -> None:
    (root / "pytest.ini").write_text("[pytest]\ntestpaths = tests\naddopts = --import-mode=importlib\n")
    for number in range(count):
        folder = root / "tests" / f"part_{number // FOLDER_FILES}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"test_{number}.py").write_text("def test_it():\n    assert True\n")


def _find(root: Path, interpreter: Path) -> int:
    python = ProjectPython(path=str(interpreter), environ=plain_environment(), cache_dir=root / ".passmuster")
    return len(discover(TestConfig(root=root), lambda: python).files)


def _collect(root: Path, interpreter: Path) -> None:
    command = [str(interpreter), "-m", "pytest", "--collect-only", "-qq", "-p", "no:cacheprovider"]
    subprocess.run(command, cwd=root, env=plain_environment(), stdout=subprocess.DEVNULL, check=True)


def _timed(function: Callable[[Path, Path], object], root: Path, interpreter: Path) -> float:
    start_s = time.monotonic()
    function(root, interpreter)
    return (time.monotonic() - start_s) * 1000


def _print(records: Sequence[DiscoveryRecord]) -> float:
    """Print the table; return what a later run takes for the largest suite, in milliseconds."""

    def times(count: int, variant: str) -> list[float]:
        return [one.took_ms for one in records if (one.files, one.variant) == (count, variant)]

    rows = [
        [f"{count:,}", *(spread(times(count, variant), 0) for variant in (FIRST, LATER, BARE))]
        for count in FILES
    ]
    print_table("discovery: milliseconds to find the test files", ["files", FIRST, LATER, BARE], rows)
    return median(times(FILES[-1], LATER))
