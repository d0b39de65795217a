"""Exports a worker's metrics for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from passmuster.metrics.exporter import Exporter, Metric, MetricValues
from passmuster.model.result import TestResult
from passmuster.model.status import Status
from passmuster.wire.broker_messages import WorkerStatus
from worker.queue.command_line import WorkerArguments

SLOTS = Metric(name="passmuster_worker_slots", help="Files that the worker can run at once.")
RUNNING = Metric(name="passmuster_worker_files_running", help="Files that run now.")
WAITING = Metric(
    name="passmuster_worker_files_waiting", help="Files that the worker has taken and that wait for memory."
)
USED = Metric(name="passmuster_worker_memory_used_bytes", help="Memory of all running files together.")
BUDGET = Metric(name="passmuster_worker_memory_budget_bytes", help="Memory budget of all files together.")
RUNS = Metric(name="passmuster_worker_runs", help="Runs that the worker serves now.")
ATTEMPTS = Metric(
    name="passmuster_worker_attempts_total", help="Attempts that finished, by status.", label="status"
)
SECONDS = Metric(
    name="passmuster_worker_attempt_seconds_total",
    help="Wall-clock seconds of the attempts that finished, by status.",
    label="status",
)
HEARTBEAT = Metric(
    name="passmuster_worker_heartbeat_timestamp_seconds",
    help="Unix time of the last heartbeat that reached the broker; 0: none yet.",
)
METRICS = (SLOTS, RUNNING, WAITING, USED, BUDGET, RUNS, ATTEMPTS, SECONDS, HEARTBEAT)


class WorkerMetrics:
    """The metrics of one worker, exported as its options say; without such options, nothing happens.

    Args:
        name: the worker's, the value of the label `worker` of all metrics.
        read_heartbeat: returns the Unix time of the last heartbeat that reached the broker.

    Raises:
        ConfigurationError: they cannot be exported.
    """

    def __init__(
        self,
        name: str,
        arguments: WorkerArguments,
        read_status: Callable[[], WorkerStatus],
        read_heartbeat: Callable[[], float],
    ) -> None:
        self._read_status, self._read_heartbeat = read_status, read_heartbeat
        self._values = MetricValues(METRICS, {"worker": name})
        for status in Status:
            self._values.set(ATTEMPTS, 0.0, status)
            self._values.set(SECONDS, 0.0, status)
        self._exporter: Exporter | None = None
        if arguments.metrics is not None or arguments.metrics_file is not None:
            self._exporter = Exporter(
                self._values,
                address=arguments.metrics,
                path=arguments.metrics_file,
                refresh=self._refresh,
            )

    @property
    def url(self) -> str:
        """Where the metrics are served; empty: nowhere."""
        return "" if self._exporter is None else self._exporter.url

    def count(self, result: TestResult) -> None:
        """Count an attempt that finished."""
        self._values.add(ATTEMPTS, 1, result.status)
        self._values.add(SECONDS, result.duration, result.status)

    def close(self) -> None:
        """Stop the export, and remove the file. Idempotent."""
        if self._exporter is not None:
            self._exporter.close()

    def _refresh(self) -> None:
        status, values = self._read_status(), self._values
        values.set(SLOTS, status.slots)
        values.set(RUNNING, status.busy)
        values.set(WAITING, max(0, status.accepted - status.busy))
        values.set(USED, status.used_bytes)
        values.set(BUDGET, status.budget_bytes)
        values.set(RUNS, len(status.runs))
        values.set(HEARTBEAT, self._read_heartbeat())
