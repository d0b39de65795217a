"""Several records are combined into the events of one run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import structs

from dispatcher.merge.combine import combine_records
from dispatcher.merge.reader import RecordedRun, read_record
from dispatcher.merge.record_check import check_records
from dispatcher.model.events import RunEvent, RunFinished, RunStarted, UsageSampled
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


def test_a_merged_run_starts_with_its_first_shard_and_lasts_as_long_as_the_longest(tmp_path: Path) -> None:
    # Clocks differ, so each shard's own start is the start of the whole.
    shards = [shard_events(shard_plan(1), started_at=1000.0), shard_events(shard_plan(2), started_at=5000.0)]
    records = [read_record(write_record(tmp_path, events)) for events in shards]

    first, *_, last = combine_records(records, check_records(records))

    assert isinstance(first, RunStarted)
    assert isinstance(last, RunFinished)
    assert first.started_at == 1000.0
    started = {record.file.path: record.final.started_at for record in last.results.records}
    assert started == {"a/tests/test_1.py": 1000.5, "a/tests/test_2.py": 1000.5, "a/tests/test_3.py": 1001.5}
    assert last.at_s == last.results.duration_s == 2.5


def test_a_merged_run_was_verified_if_a_shard_was(tmp_path: Path) -> None:
    def shard(number: int, *, is_verified: bool) -> Path:
        *events, last = shard_events(shard_plan(number))
        assert isinstance(last, RunFinished)
        results = structs.replace(last.results, is_verified=is_verified)
        return write_record(tmp_path, [*events, structs.replace(last, results=results)])

    records = [read_record(shard(1, is_verified=False)), read_record(shard(2, is_verified=True))]

    *_, last = combine_records(records, check_records(records))

    assert isinstance(last, RunFinished)
    assert last.results.is_verified
