"""The metrics of runs (`passmuster_run_…`) and of workers (`passmuster_worker_…`). Pure."""

from __future__ import annotations

from msgspec import Struct

from passmuster.model.status import Status

COUNTER_SUFFIX = "_total"


class Metric(Struct, frozen=True, kw_only=True):
    """One metric: a counter if its name ends with `COUNTER_SUFFIX`, else a gauge."""

    name: str  # without the prefix, which says whose metric it is
    help: str
    label: str = ""  # its own label, beside the one that all metrics of a program have; empty: none
    label_values: tuple[str, ...] = ()  # those that exist from the start, with the value 0

    @property
    def is_counter(self) -> bool:
        """Whether it only grows."""
        return self.name.endswith(COUNTER_SUFFIX)


class MetricTable(Struct, frozen=True, kw_only=True):
    """The metrics that one kind of program exports."""

    prefix: str
    label: str  # the label of all of them, which tells such programs apart
    metrics: tuple[Metric, ...]

    def full_name(self, metric: Metric) -> str:
        """Return the name under which Prometheus knows a metric."""
        return f"{self.prefix}_{metric.name}"


SLOTS = Metric(name="slots", help="Files that can run at once; in a run, on all workers together.")
RUNNING = Metric(name="files_running", help="Files that run now.")
WAITING = Metric(
    name="files_waiting",
    help="Files that wait: in a run for a slot (the queue's depth), on a worker for memory.",
)
USED = Metric(name="memory_used_bytes", help="Memory of all running files together.")
BUDGET = Metric(name="memory_budget_bytes", help="Memory budget of all files together.")
ATTEMPTS = Metric(
    name="attempts_total",
    help="Attempts that finished, by status.",
    label="status",
    label_values=tuple(Status),
)
SECONDS = Metric(
    name="attempt_seconds_total",
    help="Wall-clock seconds of the attempts that finished, by status.",
    label="status",
    label_values=tuple(Status),
)

FILES = Metric(name="files", help="Files that the run has planned.")
PEAK = Metric(name="memory_peak_bytes", help="Highest memory of all files together so far.")
WORKERS = Metric(name="workers", help="Workers that serve the run; 0 without a broker.")
LOST_WORKERS = Metric(name="workers_lost_total", help="Workers that disappeared while they ran a file.")
RERUNS = Metric(
    name="reruns_total",
    help="Attempts that ran a file again, by reason; retry: because of --retries.",
    label="reason",
)
VERDICTS = Metric(
    name="verdicts",
    help="Files by verdict, once the run has finished; 0 until then.",
    label="status",
    label_values=tuple(Status),
)
STARTED = Metric(name="started_timestamp_seconds", help="Unix time of the run's start.")
FINISHED = Metric(name="finished_timestamp_seconds", help="Unix time of the run's end; 0 while it lasts.")

RUNS = Metric(name="runs", help="Runs that the worker serves now.")
HEARTBEAT = Metric(
    name="heartbeat_timestamp_seconds",
    help="Unix time of the last heartbeat that reached the broker; 0: none yet.",
)

_OF_BOTH = (SLOTS, RUNNING, WAITING, USED, BUDGET, ATTEMPTS, SECONDS)

RUN = MetricTable(
    prefix="passmuster_run",
    label="project",
    metrics=(*_OF_BOTH, FILES, PEAK, WORKERS, LOST_WORKERS, RERUNS, VERDICTS, STARTED, FINISHED),
)
WORKER = MetricTable(prefix="passmuster_worker", label="worker", metrics=(*_OF_BOTH, RUNS, HEARTBEAT))
