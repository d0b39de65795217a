"""Builds the status that a worker publishes: its identity, its resources, and the files that it holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from passmuster.model.executor import Usage
from passmuster.model.version import VERSION
from passmuster.wire.broker_messages import (
    MAX_STATUS_FILES,
    MAX_STATUS_PATH_CHARS,
    RunningFileStatus,
    WorkerStatus,
)
from worker.queue.in_flight import InFlightFile
from worker.queue.root_runner import WorkerCapacity


def make_worker_status(
    name: str,
    share: WorkerCapacity,
    usage: Usage,
    held: Sequence[InFlightFile],
    *,
    host: str,
    runs: tuple[str, ...],
    only_run: str = "",
    taken: int = 0,
    python: str = "",
) -> WorkerStatus:
    """Return the card of this moment.

    Args:
        name: of the worker.
        share: the slots and the memory that it may use.
        usage: the use of its running files, as last measured.
        held: the files that the broker gave to it.
        host: where it is.
        runs: the ids of the runs that it serves.
        only_run: the id of the one run that it is there for; empty: all.
        taken: messages that it has taken.
        python: its interpreter, described.
    """
    return WorkerStatus(
        name=name,
        host=host,
        slots=share.slots,
        busy=len(held),
        budget_bytes=share.budget_bytes,
        version=VERSION,
        limits=share.limits,
        used_bytes=usage.used_bytes,
        runs=runs,
        only_run=only_run,
        accepted=taken,
        python=python,
        files=tuple(_bounded(_files(usage, held))),
    )


def _files(usage: Usage, held: Sequence[InFlightFile]) -> Iterator[RunningFileStatus]:
    """Yield what runs; a file that is admitted and has not started is not there yet."""
    found = {one.attempt_id: one for one in held}
    for file in usage.files:
        one = found.get(file.attempt_id)
        if one is not None:
            yield RunningFileStatus(
                run_id=one.run_id, path=one.path, seconds=file.seconds, used_bytes=file.used_bytes
            )


def _bounded(files: Iterator[RunningFileStatus]) -> Iterator[RunningFileStatus]:
    """Yield as many of them as a card can hold."""
    left_chars = MAX_STATUS_PATH_CHARS
    for number, file in enumerate(files):
        left_chars -= len(file.path) + len(file.run_id)
        if number == MAX_STATUS_FILES or left_chars < 0:
            return
        yield file
