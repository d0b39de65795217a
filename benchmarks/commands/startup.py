"""`startup`: from the start of a run to its first test, ours against bare `python -m unittest`.

The tests of a small suite write down when they run, by the clock that this process reads before.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands.setting import Setting, forget_history, fresh_suite
from benchmarks.environments import base_interpreter
from benchmarks.measure import plain_environment
from benchmarks.ours import our_command
from benchmarks.suites import starting
from benchmarks.tables import median, print_table, spread, write_json

AIM_MS = 100.0
"""How much later than with unittest the first test may run."""

BARE = "python -m unittest"
SECOND = "ours, with history"
FIRST = "ours, first run"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartupRecord:
    """One run.

    Args:
        variant: what ran.
        first_test_ms: milliseconds until the first test ran; None: none did.
        exit_code: as `subprocess` has it.
    """

    variant: str
    first_test_ms: float | None
    exit_code: int


def run(setting: Setting) -> bool:
    """Measure and print; return whether every run passed and the aim is met."""
    interpreter = base_interpreter()
    root = fresh_suite(setting.cache / "suites" / "starting")
    starting.write_suite(root)
    bare = [str(interpreter), "-m", "unittest", "discover", "-s", "tests", "-t", "tests"]
    events = setting.work / "startup-events.jsonl"
    ours = our_command(root, interpreter=interpreter, events=events, options=setting.ours_options)
    _start(setting, BARE, bare, root)
    _start(setting, SECOND, ours, root)
    records: list[StartupRecord] = []
    for _ in range(setting.rounds):
        records.append(_start(setting, BARE, bare, root))
        records.append(_start(setting, SECOND, ours, root))
        forget_history(root)
        records.append(_start(setting, FIRST, ours, root))
    more_ms = _print(records)
    write_json(setting.output, "startup", records)
    return more_ms <= AIM_MS and all(record.exit_code == 0 for record in records)


def _start(setting: Setting, variant: str, command: Sequence[str], root: Path) -> StartupRecord:
    """Run a command and return when its first test ran."""
    starting.first_test_ns(root)
    with (setting.work / "startup.log").open("wb") as log:
        start_ns = time.monotonic_ns()
        ended = subprocess.run(
            command,
            cwd=root,
            env=plain_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=False,
        )
    first_ns = starting.first_test_ns(root)
    first_ms = None if first_ns is None else (first_ns - start_ns) / 1e6
    return StartupRecord(variant=variant, first_test_ms=first_ms, exit_code=ended.returncode)


def _print(records: Sequence[StartupRecord]) -> float:
    """Print the table; return how much later ours with history is, in milliseconds."""
    times = {
        variant: [record.first_test_ms or 0.0 for record in records if record.variant == variant]
        for variant in (BARE, SECOND, FIRST)
    }
    bare_ms = median(times[BARE])
    rows = [
        [variant, spread(found, 0), f"{median(found) - bare_ms:+.0f}"] for variant, found in times.items()
    ]
    print_table("startup: until the first test runs", ["variant", "ms", "than unittest"], rows)
    more_ms = median(times[SECOND]) - bare_ms
    print(f"{more_ms:+.0f} ms; the aim is at most {AIM_MS:+.0f} ms")
    return more_ms
