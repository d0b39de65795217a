"""How a file ended when it was run by hand, and what its framework counted: what ours must equal."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import plain_environment

UNITTEST_RAN = re.compile(r"^Ran (\d+) tests? in ", re.MULTILINE)
UNITTEST_VERDICT = re.compile(r"^(?:OK|FAILED|NO TESTS RAN)(?: \(([^)]*)\))?\s*$", re.MULTILINE)
PYTEST_SUMMARY = re.compile(
    r"^=* ?((?:\d+ [a-z ]+(?:, )?)+|no tests ran) in [\d.]+s(?: \([\d:]+\))? ?=*\s*$", re.MULTILINE
)

PYTEST_NAMES = {"errors": "error"}
PYTEST_COUNTED = ("passed", "failed", "skipped", "error", "xfailed", "xpassed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a file ended.

    Args:
        exit_code: negative: the signal that ended it.
        counted: what its framework counted, by name, sorted; nothing where it said nothing.
    """

    exit_code: int
    counted: tuple[tuple[str, int], ...]

    @property
    def counts(self) -> Mapping[str, int]:
        """What was counted, by name."""
        return dict(self.counted)


def unittest_counts(output: str) -> tuple[tuple[str, int], ...]:
    """Return what unittest says at the end of `output`: `run`, `failures`, `skipped`, ..."""
    ran = UNITTEST_RAN.findall(output)
    if not ran:
        return ()
    counts = {"run": int(ran[-1])}
    verdicts = UNITTEST_VERDICT.findall(output)
    for part in filter(None, verdicts[-1].split(", ") if verdicts else []):
        name, _, number = part.partition("=")
        counts[name] = int(number)
    return tuple(sorted(counts.items()))


def pytest_counts(output: str) -> tuple[tuple[str, int], ...]:
    """Return what pytest says in its last line: `passed`, `failed`, `skipped`, ..."""
    summaries = PYTEST_SUMMARY.findall(output)
    if not summaries:
        return ()
    parts = [part.partition(" ") for part in summaries[-1].split(", ") if part[0].isdigit()]
    counts = {PYTEST_NAMES.get(name, name): int(number) for number, _, name in parts}
    return tuple(sorted((name, number) for name, number in counts.items() if name in PYTEST_COUNTED))


def run_script_alone(
    interpreter: Path, root: Path, file: str, *, work: Path, timeout_s: float
) -> Outcome | None:
    """Run `python FILE` and return how it ended; None: not within `timeout_s` seconds."""
    return _run_alone([str(interpreter), file], root, work=work, timeout_s=timeout_s, is_pytest=False)


def run_pytest_alone(
    interpreter: Path, root: Path, file: str, *, work: Path, timeout_s: float
) -> Outcome | None:
    """Run `python -m pytest FILE` and return how it ended; None: not within `timeout_s` seconds."""
    command = [str(interpreter), "-m", "pytest", file]
    return _run_alone(command, root, work=work, timeout_s=timeout_s, is_pytest=True)


def _run_alone(
    command: list[str], root: Path, *, work: Path, timeout_s: float, is_pytest: bool
) -> Outcome | None:
    log = work / "alone.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=root,
            env=plain_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            exit_code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return None
    text = log.read_text("utf-8", "replace")
    return Outcome(exit_code=exit_code, counted=pytest_counts(text) if is_pytest else unittest_counts(text))
