"""Exports metrics of a run for Prometheus while it lasts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dispatcher.model.events import (
    AttemptFinished,
    AttemptStarted,
    RunEvent,
    RunFinished,
    RunStarted,
    UsageSampled,
)
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.model.results import TestResults
from passmuster.metrics.exporter import Exporter, MetricValues
from passmuster.metrics.options import ListenAddress
from passmuster.metrics.table import (
    BUDGET,
    FILES,
    FINISHED,
    LOST_WORKERS,
    PEAK,
    RERUNS,
    RUN,
    RUNNING,
    SLOTS,
    STARTED,
    USED,
    VERDICTS,
    WAITING,
    WORKERS,
)
from passmuster.model.executor import Usage


class MetricsReporter:
    """Exports the metrics of a run.

    Args:
        project: the value of the label `project` of all metrics.
        address: where they are served; None: nowhere.
        path: the file to which they are written; None: none.
        say: receives one line with the address.

    Raises:
        ConfigurationError: they cannot be exported.
    """

    def __init__(
        self, project: str, *, address: ListenAddress | None, path: Path | None, say: Callable[[str], None]
    ) -> None:
        self._values = MetricValues(RUN, project)
        self._started_at = 0.0
        self._rerun_reasons: dict[str, RerunReason] = {}  # of the next attempt, by the path of its file
        for reason in RerunReason:
            if reason is not RerunReason.SETTLED:  # No attempt follows it.
                self._values.set(RERUNS, 0.0, reason)
        self._exporter = Exporter(self._values, address=address, path=path, keeps_file=True)
        if self._exporter.url:
            say(f"Metrics: {self._exporter.url}")

    def handle(self, event: RunEvent) -> None:
        """Update the metrics."""
        match event:
            case RunStarted():
                self._started_at = event.started_at
                self._values.set(STARTED, event.started_at)
                self._values.set(FILES, len(event.plan.files))
                self._values.set(WAITING, len(event.plan.files))
            case AttemptStarted():
                reason = self._rerun_reasons.pop(event.file.path, None)
                if reason is not None:
                    self._values.add(RERUNS, 1, reason)
            case AttemptFinished():
                self._count(event)
            case UsageSampled():
                self._sample(event.usage, event.waiting)
            case RunFinished():
                self._finish(event.results)
            case _:
                pass

    def close(self) -> None:
        """Stop the export; the file keeps the last values."""
        self._exporter.close()

    def _count(self, event: AttemptFinished) -> None:
        self._values.count_attempt(event.result)
        if event.rerun_reason is not None:
            self._rerun_reasons[event.file.path] = event.rerun_reason

    def _sample(self, usage: Usage, waiting: int) -> None:
        values = self._values
        values.set(WAITING, waiting)
        values.set(RUNNING, len(usage.files))
        values.set(SLOTS, usage.slots)
        values.set(USED, usage.used_bytes)
        values.set(PEAK, usage.peak_bytes)
        values.set(BUDGET, usage.budget_bytes)
        values.set(WORKERS, len(usage.workers))
        values.set(LOST_WORKERS, usage.lost_workers)

    def _finish(self, results: TestResults) -> None:
        values = self._values
        for metric in (WAITING, RUNNING, USED):
            values.set(metric, 0)
        values.set(PEAK, results.peak_bytes)
        for record in results.records:
            values.add(VERDICTS, 1, record.status)
        values.set(FINISHED, self._started_at + results.duration_s)
