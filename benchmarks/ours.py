"""The runner as a command to be measured, and what its event file says about a run."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


STANDING = ("", "verify-pass", "exclusive")
"""What follows an attempt whose verdict stands unless that comes to another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRun:
    """One attempt at one file, as the runner tells it.

    Args:
        path: relative to the root.
        attempt: counted from 1.
        attempt_reason: what the attempt was for; empty: it was the first.
        status: the verdict.
        rerun_reason: why it runs again; empty: it does not.
        error: why it did not pass.
        runner: how it was executed.
        exit_code: None: a signal ended it.
        cases: name and outcome of each of its tests.
        output_tail: the end of what it printed.
        peak_bytes: its peak; None: not measured.
        start_s: when it started, in seconds after the start of the run.
        duration_s: seconds.
        cpu_s: CPU seconds of its tree; None: not known.
        start_delayed_by: what it waited for, empty: nothing.
        leaked: processes it left behind.
    """

    path: str
    attempt: int
    attempt_reason: str
    status: str
    rerun_reason: str
    error: str
    runner: str
    exit_code: int | None
    cases: tuple[tuple[str, str], ...]
    output_tail: str
    peak_bytes: int | None
    start_s: float
    duration_s: float
    cpu_s: float | None
    start_delayed_by: str
    leaked: tuple[str, ...]

    @property
    def outcomes(self) -> Counter[str]:
        """How many of its tests ended how."""
        return Counter(outcome for _, outcome in self.cases)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A whole run, as the runner tells it.

    Args:
        attempts: every attempt, in the order of their ends.
        peak_bytes: the most its files used together, by its own measure.
        duration_s: seconds from its first event to its last.
        notices: what it had to say besides.
    """

    attempts: tuple[FileRun, ...]
    peak_bytes: int
    duration_s: float
    notices: tuple[str, ...]

    @property
    def final(self) -> dict[str, FileRun]:
        """The attempt that counts, by path: the last one that came to a verdict."""
        return {attempt.path: attempt for attempt in self.attempts if attempt.rerun_reason in STANDING}

    @property
    def needed(self) -> list[tuple[float, float]]:
        """When each attempt started and ended that the run waited for, in seconds after its start."""
        return [
            (attempt.start_s, attempt.start_s + attempt.duration_s)
            for attempt in self.attempts
            if attempt.attempt_reason != "verify-pass"
        ]

    @property
    def evictions(self) -> tuple[FileRun, ...]:
        """The attempts that were stopped only to make room."""
        return tuple(attempt for attempt in self.attempts if attempt.rerun_reason == "evicted")


def our_command(
    root: Path, *, interpreter: Path, events: Path, options: Sequence[str] = (), paths: Sequence[str] = ()
) -> list[str]:
    """Return the command that runs the files of `root` by our runner, writing its events to `events`."""
    words = ["--root", str(root), "--python", str(interpreter), "--events", str(events), *options, *paths]
    return [sys.executable, str(REPOSITORY / "run_tests.py"), *words]


def read_record(events: Path) -> RunRecord:
    """Return what an event file says."""
    attempts: list[FileRun] = []
    notices: list[str] = []
    peak_bytes, duration_s, started_at = 0, 0.0, 0.0
    for line in events.read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "file-finished":
            attempts.append(
                FileRun(
                    path=event["path"],
                    attempt=event["attempt"],
                    attempt_reason=event["attempt_reason"] or "",
                    status=event["status"],
                    rerun_reason=event["rerun_reason"] or "",
                    error=event["error"],
                    runner=event["runner"],
                    exit_code=event["exit_code"],
                    cases=tuple((case["id"], case["outcome"]) for case in event["cases"]),
                    output_tail=event["output_tail"],
                    peak_bytes=event["peak_bytes"],
                    start_s=event["started_at"] - started_at,
                    duration_s=event["duration_s"],
                    cpu_s=event["cpu_s"],
                    start_delayed_by=event["start_delayed_by"],
                    leaked=tuple(event["leaked"]),
                )
            )
        elif event["event"] == "run-started":
            started_at = event["started_at"]
        elif event["event"] == "notice":
            notices.append(event["text"])
        elif event["event"] == "run-finished":
            peak_bytes, duration_s = event["peak_bytes"], event["duration_s"]
    return RunRecord(
        attempts=tuple(attempts), peak_bytes=peak_bytes, duration_s=duration_s, notices=tuple(notices)
    )
