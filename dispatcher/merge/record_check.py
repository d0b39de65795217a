"""Checks that records belong to one run and cover every shard exactly once. Pure.

Records of different plans are not merged at all. If a record of a plan is missing, its files without a result
count as lost, by name, so that the report of the rest cannot be mistaken for the whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from dispatcher.merge.reader import RecordedRun
from dispatcher.merge.record_format import Header

NAMED = 3
"""Files that are named where more are concerned."""

_SHOWN = 12
"""Characters of a digest that people are shown."""


class RecordCheck(Struct, frozen=True, kw_only=True):
    """The result of checking a set of records.

    Args:
        strangers: why they do not belong together, a line each; empty: they do.
        gaps: what is missing, a line each; empty: nothing.
        missing: the numbers of the shards without a record.
    """

    strangers: tuple[str, ...]
    gaps: tuple[str, ...] = ()
    missing: tuple[int, ...] = ()


def check_records(records: Sequence[RecordedRun]) -> RecordCheck:
    """Return what is wrong with records, at least one."""
    strangers = (*_different(records), *_doubled(records), *_foreign_files(records))
    if strangers:
        return RecordCheck(strangers=strangers)
    header = records[0].header
    there = {record.header.shard.number for record in records}
    missing = tuple(number for number in range(1, header.shard.total + 1) if number not in there)
    gaps = [
        f"shard {number} of {header.shard.total} left no record: {_counted(_files(header, number))}"
        for number in missing
    ]
    for record in records:
        if record.broken:
            gaps.append(f"the record of {_named(record)} is not whole: {record.broken}")
        elif lacks_coverage(record):
            gaps.append(f"the record of {_named(record)} has no coverage data, and coverage was measured")
    return RecordCheck(strangers=(), gaps=tuple(gaps), missing=missing)


def lacks_coverage(record: RecordedRun) -> bool:
    """Whether coverage was measured, for at least one file, but its data is missing."""
    return record.header.has_coverage and record.coverage is None


def short(digest: str) -> str:
    """Return a shortened digest for people."""
    return digest[:_SHOWN]


def _different(records: Sequence[RecordedRun]) -> list[str]:
    """Return the properties in which records differ although they must agree."""
    found = []
    for what, value, hint in (
        ("commits", lambda header: header.commit, "check out the same one in every job"),
        ("runs of the CI", lambda header: header.ci_run, "leave out what an earlier run left"),
        ("numbers of shards", lambda header: str(header.shard.total), "give the same N to every job"),
    ):
        sides = _sides(records, value)
        if len(sides) > 1:
            found.append(f"the records are of different {what}: {_both(sides)}; {hint}")
    plans = _sides(records, lambda header: header.digest)
    if len(plans) > 1 and not found:
        found.append(f"the plans differ: {_both(plans)}; {_why(plans)}")
    return found


def _sides(records: Sequence[RecordedRun], value: Callable[[Header], str]) -> Mapping[str, list[RecordedRun]]:
    sides: dict[str, list[RecordedRun]] = defaultdict(list)
    for record in records:
        if value(record.header):
            sides[value(record.header)].append(record)
    return sides


def _both(sides: Mapping[str, Sequence[RecordedRun]]) -> str:
    """Return each value with one record that has it."""
    return " and ".join(
        f"{short(value) if len(value) > 2 * _SHOWN else value} ({_named(records[0])})"
        for value, records in list(sides.items())[:NAMED]
    )


def _why(plans: Mapping[str, Sequence[RecordedRun]]) -> str:
    """Return the first difference between two plans, so that the user can remove it."""
    one, other = (records[0].header for records in list(plans.values())[:2])
    here, there = dict(one.whole), dict(other.whole)
    for paths, header in ((here.keys() - there.keys(), one), (there.keys() - here.keys(), other)):
        if paths:
            where = f"only on the machine of shard {header.shard}"
            return f"{_counted(sorted(paths))} {where}: give the same arguments, with the same files in place"
    if one.history_digest != other.history_digest:
        histories = [short(header.history_digest) or "none" for header in (one, other)]
        return f"they were balanced by different histories ({' and '.join(histories)}): give all the same one"
    return (
        "they select different tests, or were split by different slots or memory: "
        "give every job the same arguments"
    )


def _doubled(records: Sequence[RecordedRun]) -> list[str]:
    by_number: dict[int, list[RecordedRun]] = defaultdict(list)
    for record in records:
        by_number[record.header.shard.number].append(record)
    return [
        f"shard {doubled[0].header.shard} left {len(doubled)} records: "
        f"{', '.join(str(record.folder) for record in doubled)}; keep the one that counts"
        for doubled in by_number.values()
        if len(doubled) > 1
    ]


def _foreign_files(records: Sequence[RecordedRun]) -> list[str]:
    """Return where a record contains other files than its own plan assigns to its shard."""
    found = []
    for record in records:
        expected = _files(record.header, record.header.shard.number)
        started, results = record.started, record.results
        planned = sorted(item.file.path for item in started.plan.files) if started else expected
        counted = sorted(item.file.path for item in results.records) if results else expected
        if not expected == planned == counted:
            found.append(f"the record of {_named(record)} holds other files than its plan says")
    return found


def _files(header: Header, number: int) -> list[str]:
    return sorted(path for path, shard in header.whole if shard == number)


def _named(record: RecordedRun) -> str:
    return f"shard {record.header.shard} in {record.folder}"


def _counted(paths: Sequence[str]) -> str:
    named = ", ".join(paths[:NAMED]) + (", ..." if len(paths) > NAMED else "")
    return f"{len(paths)} file(s) ({named})" if paths else "0 files"
