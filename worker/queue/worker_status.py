"""Builds the status that a worker publishes: its identity, its resources, and the files that it holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from passmuster.host.capacity import Capacity
from passmuster.model.executor import Usage
from passmuster.model.version import VERSION
from passmuster.wire.broker_messages import (
    MAX_STATUS_FILES,
    MAX_STATUS_PATH_CHARS,
    RunningFileStatus,
    WorkerStatus,
)
from worker.queue.in_flight import InFlightFile


def make_worker_status(
    name: str,
    capacity: Capacity,
    usage: Usage,
    claimed: Sequence[InFlightFile],
    *,
    host: str,
    runs: tuple[str, ...],
    only_run: str = "",
    accepted: int = 0,
    python: str = "",
) -> WorkerStatus:
    """Return the current status; `claimed` are the files whose leases the worker holds."""
    return WorkerStatus(
        name=name,
        host=host,
        slots=capacity.slots,
        busy=len(claimed),
        budget_bytes=capacity.budget_bytes,
        version=VERSION,
        limits=capacity.limits,
        used_bytes=usage.used_bytes,
        runs=runs,
        only_run=only_run,
        accepted=accepted,
        python=python,
        files=tuple(_running_files(usage, claimed)),
    )


def _running_files(usage: Usage, claimed: Sequence[InFlightFile]) -> Iterator[RunningFileStatus]:
    """Yield the claimed files that have started, as many as a status can contain."""
    by_attempt = {file.attempt_id: file for file in claimed}
    left_chars = MAX_STATUS_PATH_CHARS
    running = [(by_attempt[one.attempt_id], one) for one in usage.files if one.attempt_id in by_attempt]
    for file, used in running[:MAX_STATUS_FILES]:
        left_chars -= len(file.path) + len(file.run_id)
        if left_chars < 0:
            return
        yield RunningFileStatus(
            run_id=file.run_id, path=file.path, seconds=used.seconds, used_bytes=used.used_bytes
        )
