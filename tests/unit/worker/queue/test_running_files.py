"""A worker's status names its running files and never exceeds its size limit."""

from __future__ import annotations

import pytest

from passmuster.model.executor import FileUsage, Usage
from passmuster.wire.broker_messages import MAX_STATUS_FILES, RunningFileStatus, WorkerStatus
from passmuster.wire.run_store import _STATUS_CODEC
from worker.queue.in_flight import InFlightFile, running_files


def made(paths: list[str], *, held_only: int = 0) -> WorkerStatus:
    """Return the status of a worker that runs these files, and has more that did not start."""
    held = [InFlightFile(run_id="r", path=path, delivery=101, attempt_id=f"id {path}") for path in paths]
    held += [
        InFlightFile(run_id="r", path=f"h{number}", delivery=101, attempt_id=f"h{number}")
        for number in range(held_only)
    ]
    files = tuple(
        FileUsage(attempt_id=f"id {path}", file_path=path, slot=number, seconds=1.5, used_bytes=7)
        for number, path in enumerate([*paths, "of nobody"])
    )
    usage = Usage(slots=2, budget_bytes=1 << 30, used_bytes=9, peak_bytes=9, files=files)
    return WorkerStatus(
        name="w",
        host="h",
        slots=2,
        busy=len(held),
        budget_bytes=1 << 30,
        version="1",
        used_bytes=9,
        runs=("r",),
        files=tuple(running_files(usage, held)),
    )


def test_a_status_names_running_files_and_counts_accepted_ones() -> None:
    status = made(["a.py", "b.py"], held_only=1)

    assert (status.name, status.host, status.slots, status.busy, status.used_bytes) == ("w", "h", 2, 3, 9)
    assert status.runs == ("r",)
    assert status.files == tuple(
        RunningFileStatus(run_id="r", path=path, seconds=1.5, used_bytes=7) for path in ("a.py", "b.py")
    )


@pytest.mark.parametrize("letter", ["x", "日", "\U0001f600", "\udcff"])
@pytest.mark.parametrize("length", [10, 4000])
def test_a_status_never_exceeds_its_size_limit(letter: str, length: int) -> None:
    status = made([f"{letter * length}{number}" for number in range(1000)])

    assert 0 < len(status.files) <= MAX_STATUS_FILES
    assert _STATUS_CODEC.decode(_STATUS_CODEC.encode(status)) == status
