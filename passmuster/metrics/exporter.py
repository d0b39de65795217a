"""Keeps the values of metrics, and exports them: serves them over HTTP, or writes them to a file.

Uses the package prometheus-client, which is loaded only when metrics are exported, and of it only the formats
and the server: its own counters would write to shared files if the environment sets PROMETHEUS_MULTIPROC_DIR.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from passmuster.metrics.options import ListenAddress
from passmuster.metrics.table import ATTEMPTS, COUNTER_SUFFIX, SECONDS, Metric, MetricTable
from passmuster.model.errors import ConfigurationError, InfrastructureError
from passmuster.model.result import TestResult
from passmuster.model.text import one_line

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

    from prometheus_client import Metric as MetricFamily

FILE_EVERY_S = 5.0
"""Seconds between two versions of the file: node_exporter is usually read every 15 to 60 s."""

FILE_SUFFIX = ".prom"
"""The only suffix that node_exporter reads."""

_JOIN_S = 2.0
"""Seconds to wait for the last version of the file, which may lie on a disk that does not answer."""


class MetricValues:
    """The current values of a program's metrics. Thread-safe.

    Args:
        name: the value of the label that all of them have.
    """

    def __init__(self, table: MetricTable, name: str) -> None:
        self._table = table
        self._common = {table.label: one_line(name)}
        self._lock = threading.Lock()
        self._values = {
            metric: dict.fromkeys(metric.label_values if metric.label else ("",), 0.0)
            for metric in table.metrics
        }

    def set(self, metric: Metric, value: float, label: str = "") -> None:
        """Set a value; `label` is the value of the metric's own label."""
        with self._lock:
            self._values[metric][label] = value

    def add(self, metric: Metric, amount: float, label: str = "") -> None:
        """Add to a value, which starts at 0."""
        with self._lock:
            values = self._values[metric]
            values[label] = values.get(label, 0.0) + amount

    def count_attempt(self, result: TestResult) -> None:
        """Count an attempt that finished."""
        self.add(ATTEMPTS, 1, result.status)
        self.add(SECONDS, result.duration, result.status)

    def collect(self) -> Iterator[MetricFamily]:
        """Yield the metrics in the form of prometheus-client."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # Few programs export.

        with self._lock:
            values = {metric: dict(found) for metric, found in self._values.items()}
        for metric in self._table.metrics:
            name = self._table.full_name(metric)
            names = [*self._common, *([metric.label] if metric.label else ())]
            if metric.is_counter:
                short = name.removesuffix(COUNTER_SUFFIX)
                family: MetricFamily = CounterMetricFamily(short, metric.help, labels=names)
            else:
                family = GaugeMetricFamily(name, metric.help, labels=names)
            for label, value in values[metric].items():
                own = {metric.label: label} if metric.label else {}
                family.add_sample(name, {**self._common, **own}, value)
            yield family


class Exporter:
    """Exports metrics until it is closed.

    Args:
        values: the metrics.
        address: where they are served; None: nowhere.
        path: the file to which they are written; None: none.
        refresh: called before the values are read, from any thread.
        keeps_file: whether the file stays when the exporter is closed, with the last values.

    Raises:
        ConfigurationError: the package is missing, or the address or the file cannot be used.
    """

    def __init__(
        self,
        values: MetricValues,
        *,
        address: ListenAddress | None,
        path: Path | None,
        refresh: Callable[[], None] = lambda: None,
        keeps_file: bool = False,
    ) -> None:
        self._values, self._refresh, self._keeps_file = values, refresh, keeps_file
        self._path: Path | None = None
        self._closed = threading.Event()
        self._writer = threading.Thread(
            target=self._write_regularly, args=(path,), name="metrics file", daemon=True
        )
        self._server: WSGIServer | None = None
        self.url = ""
        """Where the metrics are served; empty: nowhere."""
        _require_package("--metrics" if path is None else "--metrics-file")
        from prometheus_client import CollectorRegistry  # Few programs export.

        self._registry = CollectorRegistry()
        self._registry.register(self)
        if address is not None:
            self._serve(address)
        if path is not None:
            try:
                self._check_file(path)
            except ConfigurationError:
                self.close()
                raise
            self._path = path
            self._writer.start()

    def collect(self) -> Iterator[MetricFamily]:
        """Yield the metrics as they are now; called by prometheus-client."""
        self._refresh()
        return self._values.collect()

    def close(self) -> None:
        """Stop serving; write the file a last time, or remove it. Idempotent.

        Raises:
            InfrastructureError: the last version of the file cannot be written.
        """
        if self._closed.is_set():
            return
        self._closed.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        if self._path is None:
            return
        self._writer.join(_JOIN_S)
        try:
            if self._keeps_file:
                self._write(self._path)
            else:
                self._path.unlink(missing_ok=True)
        except OSError as error:
            raise InfrastructureError(_file_problem(self._path, error)) from error

    def _serve(self, address: ListenAddress) -> None:
        from prometheus_client import start_http_server

        try:
            self._server, _ = start_http_server(address.port, address.host, self._registry)
        except (OSError, UnicodeError) as error:  # UnicodeError: a part of the name is too long, or empty.
            reason = error.strerror if isinstance(error, OSError) else "it is not a host name"
            raise ConfigurationError(
                f"cannot serve metrics at {address} (from --metrics): {reason}; "
                "give another address, or port 0 for any free port"
            ) from error
        bound = ListenAddress(host=address.host, port=self._server.server_port)
        self.url = f"http://{bound}/metrics"

    def _check_file(self, path: Path) -> None:
        if path.suffix != FILE_SUFFIX:
            raise ConfigurationError(
                f"--metrics-file {path} must end with {FILE_SUFFIX}: node_exporter reads no other file"
            )
        try:
            self._write(path)
        except OSError as error:
            raise ConfigurationError(_file_problem(path, error)) from error

    def _write_regularly(self, path: Path) -> None:
        while not self._closed.wait(FILE_EVERY_S):
            with suppress(OSError):  # The next version may succeed; the last one reports its failure.
                self._write(path)

    def _write(self, path: Path) -> None:
        """Replace the file atomically."""
        from prometheus_client import write_to_textfile

        write_to_textfile(str(path), self._registry)


def _require_package(option: str) -> None:
    if find_spec("prometheus_client") is None:
        raise ConfigurationError(
            f"{option} needs the package prometheus-client, which is not installed here: "
            "pip install prometheus-client"
        )


def _file_problem(path: Path, error: OSError) -> str:
    return (
        f"cannot write the metrics to {str(path)!r} (from --metrics-file): {error.strerror or error}; "
        "name a file in a directory that exists and can be written"
    )
