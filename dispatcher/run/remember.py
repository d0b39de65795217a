"""Writes what happens into the history, as one more listener of the run."""

from __future__ import annotations

from dispatcher.events import FileFinished, FileSettled, RunEvent, RunStarted
from dispatcher.schedule.history import History

FLUSH_AFTER_S = 2.0
"""Seconds between two transactions: what a killed runner forgets at most."""


class HistoryReporter:
    """Records every attempt.

    Args:
        history: open; closed with this reporter.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self._run_id = ""
        self._flushed_s = 0.0

    def handle(self, event: RunEvent) -> None:
        """Take note of a finished attempt, and of what a file came to without a further one."""
        if isinstance(event, RunStarted):
            self._run_id = event.plan.run_id
        elif isinstance(event, FileFinished):
            self._history.record(event.file, event.result, run_id=self._run_id, finding=event.finding)
        elif isinstance(event, FileSettled):
            self._history.settle(event.file, event.result.status, run_id=self._run_id, finding=event.finding)
        else:
            return
        if event.at_s - self._flushed_s >= FLUSH_AFTER_S:
            self._flushed_s = event.at_s
            self._history.flush()

    def close(self) -> None:
        """Write what is left."""
        self._history.close()
