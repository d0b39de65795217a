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
from passmuster.metrics.exporter import Exporter, Metric, MetricValues
from passmuster.metrics.options import ListenAddress
from passmuster.model.executor import Usage
from passmuster.model.status import Status

FILES = Metric(name="passmuster_run_files", help="Files that the run has planned.")
WAITING = Metric(name="passmuster_run_files_waiting", help="Files that wait for a slot: the queue's depth.")
RUNNING = Metric(name="passmuster_run_files_running", help="Files that run now.")
SLOTS = Metric(name="passmuster_run_slots", help="Files that can run at once, over all workers.")
USED = Metric(name="passmuster_run_memory_used_bytes", help="Memory of all running files together.")
PEAK = Metric(name="passmuster_run_memory_peak_bytes", help="Highest memory of all files together so far.")
BUDGET = Metric(name="passmuster_run_memory_budget_bytes", help="Memory budget of all files together.")
WORKERS = Metric(name="passmuster_run_workers", help="Workers that serve the run; 0 without a broker.")
LOST_WORKERS = Metric(
    name="passmuster_run_workers_lost_total", help="Workers that disappeared while they ran a file."
)
ATTEMPTS = Metric(
    name="passmuster_run_attempts_total", help="Attempts that finished, by status.", label="status"
)
SECONDS = Metric(
    name="passmuster_run_attempt_seconds_total",
    help="Wall-clock seconds of the attempts that finished, by status.",
    label="status",
)
RERUNS = Metric(
    name="passmuster_run_reruns_total",
    help="Attempts that ran a file again, by reason; retry: because of --retries.",
    label="reason",
)
VERDICTS = Metric(
    name="passmuster_run_verdicts",
    help="Files by verdict, once the run has finished; 0 until then.",
    label="status",
)
STARTED = Metric(name="passmuster_run_started_timestamp_seconds", help="Unix time of the run's start.")
FINISHED = Metric(
    name="passmuster_run_finished_timestamp_seconds", help="Unix time of the run's end; 0 while it lasts."
)
METRICS = tuple(metric for metric in tuple(globals().values()) if isinstance(metric, Metric))
"""All of the above."""


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
        self._values = MetricValues(METRICS, {"project": project})
        self._started_at = 0.0
        self._rerun_reasons: dict[str, RerunReason] = {}  # of the next attempt, by the path of its file
        for status in Status:
            for metric in (ATTEMPTS, SECONDS, VERDICTS):
                self._values.set(metric, 0.0, status)
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
        self._values.add(ATTEMPTS, 1, event.result.status)
        self._values.add(SECONDS, event.result.duration, event.result.status)
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
