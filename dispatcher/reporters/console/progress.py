"""The progress of a run and its estimated remaining time. Pure: fed by events, read by the footer.

The cost of an event does not depend on the size of the run, so that a plan of 100,000 files can be watched.
"""

from __future__ import annotations

from msgspec import Struct

from dispatcher.model.events import AttemptFinished, AttemptStarted, RunStarted, UsageSampled, VerdictSettled
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.reporters.console.lines import RERUN_TAGS
from passmuster.model.executor import FileUsage, Usage


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


class _Started(Struct, frozen=True):
    label: str
    at_s: float
    predicted_s: float | None
    worker: str
    purpose: str


class RunProgress:
    """Counts finished, running, and waiting files."""

    def __init__(self) -> None:
        self.total = 0
        self.done = 0
        self.failed = 0
        self.usage: Usage | None = None
        self._now_s = 0.0
        self._running: dict[str, _Started] = {}
        self._predicted: dict[str, float | None] = {}
        self._waiting_known_s = 0.0
        self._waiting_unknown = 0
        self._finished_s = 0.0
        self._finished = 0

    def run_started(self, event: RunStarted) -> None:
        """Register the plan: all files wait."""
        self.total = len(event.plan.files)
        for planned in event.plan.files:
            self._predicted[planned.file.path] = planned.task.predicted_s
            self._wait(planned.task.predicted_s, 1)

    def file_started(self, event: AttemptStarted) -> None:
        """Note that a file no longer waits; a file in verification counts as finished and did not wait."""
        predicted_s = self._predicted.get(event.file.path)
        if event.attempt_reason is not RerunReason.VERIFY_PASS:
            self._wait(predicted_s, -1)
        reason = event.attempt_reason
        purpose = "" if reason in (None, RerunReason.EVICTED) else RERUN_TAGS[reason].name.lower()
        started = _Started(event.file.label, event.at_s, predicted_s, event.worker, purpose)
        self._running[event.file.path] = started
        self._now_s = event.at_s

    def file_finished(self, event: AttemptFinished) -> None:
        """Note that a file is finished, or waits again. A file that never started leaves the waiting ones.

        A file that passed and awaits only verification counts as finished, until the verification fails.
        """
        self._now_s = event.at_s
        predicted_s = self._predicted.get(event.file.path)
        was_running = self._running.pop(event.file.path, None) is not None
        if event.attempt_reason is RerunReason.VERIFY_PASS:
            self._verified(event, predicted_s)
            return
        if not was_running:
            self._wait(predicted_s, -1)
        if event.rerun_reason not in (None, RerunReason.VERIFY_PASS):
            self._wait(predicted_s, 1)
            return
        self.done += 1
        self.failed += event.result.status.is_failure
        self._finished += 1
        self._finished_s += event.result.duration

    def _verified(self, event: AttemptFinished, predicted_s: float | None) -> None:
        """Process the result of a verification of a finished file."""
        if event.rerun_reason is None:
            self.failed += event.result.status.is_failure
        elif event.rerun_reason is not RerunReason.EVICTED:
            self.done -= 1
            self._wait(predicted_s, 1)

    def file_settled(self, event: VerdictSettled) -> None:
        """Note that a file that waited or ran again is finished with its earlier verdict."""
        self._now_s = event.at_s
        was_running = self._running.pop(event.file.path, None) is not None
        if event.attempt_reason is RerunReason.VERIFY_PASS:
            return
        if not was_running:
            self._wait(self._predicted.get(event.file.path), -1)
        self.done += 1
        self.failed += event.result.status.is_failure

    def usage_sampled(self, event: UsageSampled) -> None:
        """Store the usage of the running files."""
        self._now_s = event.at_s
        self.usage = event.usage

    def running(self) -> tuple[FooterRow, ...]:
        """Return the files that run now, the longest first."""
        usage = {file.file_path: file for file in self.usage.files} if self.usage else {}
        return tuple(
            self._row(file, usage.get(path))
            for path, file in sorted(self._running.items(), key=lambda item: item[1].at_s)
        )

    def _row(self, file: _Started, usage: FileUsage | None) -> FooterRow:
        return FooterRow(
            label=file.label,
            seconds=max(0.0, self._now_s - file.at_s),
            # Zero means that it was not measured yet: every process uses memory.
            used_bytes=None if usage is None else usage.used_bytes or None,
            worker=file.worker,
            purpose=file.purpose,
            parts=f"{usage.finished_parts}/{usage.parts} parts done" if usage and usage.parts else "",
        )

    def left_s(self) -> float | None:
        """Return the estimated remaining seconds of the run; None while there is no basis.

        A file that never ran is assumed to take the average of the finished ones.
        """
        average_s = self._finished_s / self._finished if self._finished else None
        is_unknown = self._waiting_unknown or any(file.predicted_s is None for file in self._running.values())
        if average_s is None and is_unknown:
            return None
        running_s = []
        for file in self._running.values():
            predicted_s = average_s or 0.0 if file.predicted_s is None else file.predicted_s
            running_s.append(max(0.0, file.at_s + predicted_s - self._now_s))
        work_s = self._waiting_known_s + self._waiting_unknown * (average_s or 0.0) + sum(running_s)
        slots = max(1, self.usage.slots if self.usage else len(self._running))
        return max([work_s / slots, *running_s])

    def _wait(self, predicted_s: float | None, change: int) -> None:
        if predicted_s is None:
            self._waiting_unknown = max(0, self._waiting_unknown + change)
        else:
            self._waiting_known_s = max(0.0, self._waiting_known_s + change * predicted_s)
