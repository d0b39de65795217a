"""Several records are combined into the events of one run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import structs

from dispatcher.merge.combine import combine_records
from dispatcher.merge.reader import RecordedRun, read_record
from dispatcher.merge.record_check import check_records
from dispatcher.model.events import RunEvent, RunFinished, UsageSampled
from tests.support.recorded import shard_events, shard_plan, write_record


def _with_peak(events: Sequence[RunEvent], peak_bytes: int) -> list[RunEvent]:
    """Return a shard's events with its highest memory in all samples and in its results."""
    changed: list[RunEvent] = []
    for event in events:
        if isinstance(event, UsageSampled):
            event = structs.replace(event, usage=structs.replace(event.usage, peak_bytes=peak_bytes))
        elif isinstance(event, RunFinished):
            event = structs.replace(event, results=structs.replace(event.results, peak_bytes=peak_bytes))
        changed.append(event)
    return changed


def _peaks(records: Sequence[RecordedRun]) -> tuple[int, int]:
    """Return the peak of the whole in its results, and the highest of its samples."""
    *events, last = combine_records(records, check_records(records))
    assert isinstance(last, RunFinished)
    samples = [event.usage.peak_bytes for event in events if isinstance(event, UsageSampled)]
    return last.results.peak_bytes, max(samples)


def test_the_peak_of_the_whole_is_the_highest_of_the_machines_and_not_their_sum(tmp_path: Path) -> None:
    records = [
        read_record(write_record(tmp_path, _with_peak(shard_events(shard_plan(number)), peak_bytes)))
        for number, peak_bytes in ((1, 70), (2, 40))
    ]

    assert _peaks(records) == (70, 70)


def test_the_peak_of_an_incomplete_record_is_the_highest_of_its_samples(tmp_path: Path) -> None:
    cut = _with_peak(shard_events(shard_plan(1)), 90)[:-1]
    whole = _with_peak(shard_events(shard_plan(2)), 40)
    records = [read_record(write_record(tmp_path, events)) for events in (cut, whole)]

    assert _peaks(records) == (90, 90)
