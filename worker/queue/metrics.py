"""Exports a worker's metrics for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from passmuster.metrics.exporter import Exporter, MetricValues
from passmuster.metrics.table import BUDGET, HEARTBEAT, RUNNING, RUNS, SLOTS, USED, WAITING, WORKER
from passmuster.model.result import TestResult
from passmuster.wire.broker_messages import WorkerStatus
from worker.queue.command_line import WorkerArguments


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
        self._values = MetricValues(WORKER, name)
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
        self._values.count_attempt(result)

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
