"""The base of the reporters that print nothing before the run has ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from dispatcher.model.events import RunEvent, RunFinished, RunStarted
from dispatcher.model.results import FileAttempts, TestResults
from dispatcher.reporters.console.line_reporter import LineReporter
from dispatcher.reporters.failure_report import Hints
from dispatcher.terminal.stream import TextStream


class FinalReporter(LineReporter):
    """Prints one report once the run has ended, without colours.

    Args:
        rerun: returns the command that reruns one file.
        log: returns the path of a file's output in the run with an ID; empty: it is not kept.
    """

    def __init__(
        self,
        stream: TextStream,
        *,
        rerun: Callable[[FileAttempts], str],
        log: Callable[[str, FileAttempts], str],
        warn_stream: TextStream,
    ) -> None:
        super().__init__(stream, color=False, warn_stream=warn_stream)
        self._rerun = rerun
        self._log = log
        self._run_id = ""
        self._started_at = 0.0

    def lines(self, event: RunEvent) -> Sequence[str]:
        """Return the report for the end of the run, nothing for any other event."""
        if isinstance(event, RunStarted):
            self._run_id, self._started_at = event.plan.run_id, event.started_at
        return self.report_lines(event.results) if isinstance(event, RunFinished) else []

    @property
    def _hints(self) -> Hints:
        return Hints(rerun=self._rerun, log=partial(self._log, self._run_id))

    def report_lines(self, results: TestResults) -> Sequence[str]:
        """Return the report; each reporter has its own."""
        raise NotImplementedError
