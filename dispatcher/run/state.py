"""What is known about each planned file while a run goes on. Pure: told of events, asked for facts.

The one place that holds the invariant that every planned file ends in exactly one counted result: a
second answer for a file that is decided is dropped, and `results` refuses while a file is open.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

from dispatcher.plan import PlannedFile, TestFile
from dispatcher.run.results import FileRecord, TestResults
from passmuster.result import TestResult
from passmuster.status import Status

TAIL_CHARACTERS = 64 * 1024
"""Characters of output kept of an attempt that did not pass. The whole lies in the run's directory;
a run of 100,000 files must not hold all of theirs in memory."""


@dataclass(slots=True)
class _Entry:
    file: TestFile
    attempts: list[TestResult] = field(default_factory=list)
    last_attempt: int = 0
    failures: int = 0
    evictions: int = 0
    running_since: float | None = None
    is_slow: bool = False
    is_decided: bool = False
    has_started: bool = False


class RunState:
    """The files of a plan, each open until it is decided."""

    def __init__(self, files: Sequence[PlannedFile]) -> None:
        self._entries = {planned.file.path: _Entry(planned.file) for planned in files}
        self._running: dict[str, _Entry] = {}
        self._open = len(self._entries)
        self._failed = 0

    @property
    def open_files(self) -> int:
        """How many files are not decided yet."""
        return self._open

    @property
    def failed_files(self) -> int:
        """How many files are decided and failed."""
        return self._failed

    @property
    def running_files(self) -> int:
        """How many files run at this moment."""
        return len(self._running)

    def file(self, path: str) -> TestFile:
        """Return the planned file of that path."""
        return self._entries[path].file

    def failures(self, path: str) -> int:
        """Return how many attempts at a file have failed."""
        return self._entries[path].failures

    def evictions(self, path: str) -> int:
        """Return how often a file was stopped to make room."""
        return self._entries[path].evictions

    def start(self, path: str, at_s: float) -> bool:
        """Note that an attempt began; False when the file is decided already, and nothing changes."""
        entry = self._entries[path]
        if entry.is_decided:
            return False
        entry.running_since, entry.is_slow, entry.has_started = at_s, False, True
        self._running[path] = entry
        return True

    def end_attempt(self, path: str, result: TestResult, *, is_final: bool) -> bool:
        """Note that an attempt ended; False when it was answered before, and nothing is counted.

        Args:
            path: the file.
            result: what came of the attempt.
            is_final: whether this decides the file.
        """
        entry = self._entries[path]
        if entry.is_decided or result.attempt <= entry.last_attempt:
            return False
        entry.last_attempt = result.attempt
        entry.running_since = None
        self._running.pop(path, None)
        entry.attempts.append(_trim(result))
        if result.is_evicted:
            entry.evictions += 1
        elif result.status.is_failure:
            entry.failures += 1
        if is_final:
            entry.is_decided = True
            self._open -= 1
            self._failed += result.status.is_failure
        return True

    def cancel(self, path: str, reason: str) -> None:
        """Decide a file that will not start (again)."""
        entry = self._entries[path]
        cancelled = TestResult(
            file_path=path, status=Status.CANCELLED, error=reason, attempt=entry.last_attempt + 1
        )
        self.end_attempt(path, cancelled, is_final=True)

    def newly_slow(self, at_s: float, slow_s: float) -> tuple[TestFile, ...]:
        """Return the files that have been running for `slow_s` seconds, each once for each attempt."""
        found = []
        for entry in self._running.values():
            since = entry.running_since
            if since is not None and not entry.is_slow and at_s - since >= slow_s:
                entry.is_slow = True
                found.append(entry.file)
        return tuple(found)

    def seconds_running(self, path: str, at_s: float) -> float:
        """Return for how long a file's attempt has been running."""
        since = self._entries[path].running_since
        return 0.0 if since is None else at_s - since

    def results(self, *, duration_s: float, peak_bytes: int, interrupted: bool) -> TestResults:
        """Return what the run came to.

        Raises:
            RuntimeError: a file is not decided; that would be a fault of the run's loop.
        """
        if self._open:
            raise RuntimeError(f"{self._open} planned files have no result")
        return TestResults(
            records=tuple(
                FileRecord(file=entry.file, attempts=tuple(entry.attempts), started=entry.has_started)
                for entry in self._entries.values()
            ),
            duration_s=duration_s,
            peak_bytes=peak_bytes,
            interrupted=interrupted,
        )


def _trim(result: TestResult) -> TestResult:
    keep = 0 if result.status.is_pass else TAIL_CHARACTERS
    if len(result.output) <= keep:
        return result
    return dataclasses.replace(result, output=result.output[-keep:] if keep else "")
