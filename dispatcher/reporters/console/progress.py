"""The progress of a run and its estimated remaining time. Pure: fed by events, read by the footer.

The cost of an event does not depend on the size of the run, so that a plan of 100,000 files can be watched.
"""

from __future__ import annotations

from msgspec import Struct

from dispatcher.model.events import (
    AttemptFinished,
    AttemptStarted,
    RunEvent,
    RunStarted,
    UsageSampled,
    VerdictSettled,
)
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.reporters.console.lines import RERUN_TAGS
from passmuster.model.executor import FileUsage, Usage
from passmuster.model.result import TestResult


class FooterRow(Struct, frozen=True, kw_only=True):
    """A file that runs now."""

    label: str
    seconds: float
    """Wall-clock seconds since its start."""
    used_bytes: int | None
    """None: unknown."""
    worker: str = ""
    """The worker that runs it, if there are several."""
    purpose: str = ""
    """Why it runs again, in the word of its row: `retry`, `check`, or `split`; empty: for no such reason."""
    parts: str = ""
    """How many of its parts are done; empty: it runs as a whole."""


class RunProgress:
    """Counts finished, running, and waiting files."""

    def __init__(self) -> None:
        self.total = 0
        self.done = 0
        self.failed = 0
        self.usage: Usage | None = None
        self._now_s = 0.0
        self._running: dict[str, AttemptStarted] = {}
        self._predicted_s: dict[str, float | None] = {}
        self._waiting_known_s = 0.0
        self._waiting_unknown = 0
        self._finished_s = 0.0
        self._finished = 0

    def handle(self, event: RunEvent) -> None:
        """Process one event."""
        self._now_s = event.at_s
        match event:
            case RunStarted():
                self.total = len(event.plan.files)
                self._predicted_s = {one.file.path: one.task.predicted_s for one in event.plan.files}
                for path in self._predicted_s:
                    self._wait(path, 1)
            case AttemptStarted():
                # A file in verification counts as finished and did not wait.
                if event.attempt_reason is not RerunReason.VERIFY_PASS:
                    self._wait(event.file.path, -1)
                self._running[event.file.path] = event
            case AttemptFinished():
                self._attempt_finished(event)
            case VerdictSettled():
                self._stop(event.file.path, event.attempt_reason)
                if event.attempt_reason is not RerunReason.VERIFY_PASS:
                    self._count(event.result)
            case UsageSampled():
                self.usage = event.usage
            case _:
                pass

    def _attempt_finished(self, event: AttemptFinished) -> None:
        """Count a file that is finished, or let it wait again.

        A file that passed and awaits only verification counts as finished, until the verification fails.
        """
        path, following = event.file.path, event.rerun_reason
        self._stop(path, event.attempt_reason)
        if event.attempt_reason is RerunReason.VERIFY_PASS:
            if following is None:
                self.failed += event.result.status.is_failure
            elif following is not RerunReason.EVICTED:
                self.done -= 1
                self._wait(path, 1)
        elif following not in (None, RerunReason.VERIFY_PASS):
            self._wait(path, 1)
        else:
            self._count(event.result)
            self._finished += 1
            self._finished_s += event.result.duration

    def _stop(self, path: str, reason: RerunReason | None) -> None:
        """Note that a file no longer runs; one that never started no longer waits, unless to be verified."""
        was_running = self._running.pop(path, None) is not None
        if not was_running and reason is not RerunReason.VERIFY_PASS:
            self._wait(path, -1)

    def _count(self, verdict: TestResult) -> None:
        self.done += 1
        self.failed += verdict.status.is_failure

    def _wait(self, path: str, change: int) -> None:
        predicted_s = self._predicted_s.get(path)
        if predicted_s is None:
            self._waiting_unknown = max(0, self._waiting_unknown + change)
        else:
            self._waiting_known_s = max(0.0, self._waiting_known_s + change * predicted_s)

    def running(self) -> tuple[FooterRow, ...]:
        """Return the files that run now, the longest first."""
        usage = {file.file_path: file for file in self.usage.files} if self.usage else {}
        return tuple(
            self._row(file, usage.get(path))
            for path, file in sorted(self._running.items(), key=lambda item: item[1].at_s)
        )

    def _row(self, started: AttemptStarted, usage: FileUsage | None) -> FooterRow:
        reason = started.attempt_reason
        return FooterRow(
            label=started.file.label,
            seconds=max(0.0, self._now_s - started.at_s),
            # Zero means that it was not measured yet: every process uses memory.
            used_bytes=None if usage is None else usage.used_bytes or None,
            worker=started.worker,
            purpose="" if reason in (None, RerunReason.EVICTED) else RERUN_TAGS[reason].name.lower(),
            parts=f"{usage.finished_parts}/{usage.parts} parts done" if usage and usage.parts else "",
        )

    def left_s(self) -> float | None:
        """Return the estimated remaining seconds of the run; None while there is no basis.

        A file that never ran is assumed to take the average of the finished ones.
        """
        average_s = self._finished_s / self._finished if self._finished else None
        predicted = [(one, self._predicted_s.get(path)) for path, one in self._running.items()]
        if average_s is None and (self._waiting_unknown or any(known_s is None for _, known_s in predicted)):
            return None
        assumed_s = average_s or 0.0
        running_s = [
            max(0.0, one.at_s + (assumed_s if known_s is None else known_s) - self._now_s)
            for one, known_s in predicted
        ]
        work_s = self._waiting_known_s + self._waiting_unknown * assumed_s + sum(running_s)
        slots = max(1, self.usage.slots if self.usage else len(self._running))
        return max([work_s / slots, *running_s])
