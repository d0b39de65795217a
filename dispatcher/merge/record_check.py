"""Checks that records belong to one run and cover every shard exactly once. Pure.

Records of different plans are not merged at all. If a record of a plan is missing, its files without a result
count as lost, by name, so that the report of the rest cannot be mistaken for the whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct

from dispatcher.merge.reader import RecordedRun
from dispatcher.merge.record_format import Header
from dispatcher.model.plan import PlannedFile
from passmuster.model.task import path_of
from passmuster.model.text import first_texts

MAX_NAMED = 3
"""Files or values named in a message."""

_SHOWN = 12
"""Characters of a digest that are shown to people."""


class RecordCheck(Struct, frozen=True, kw_only=True):
    """The result of checking a set of records."""

    mismatches: tuple[str, ...] = ()
    """Why they do not belong together, a line each."""
    incomplete: tuple[str, ...] = ()
    """The records that are missing or end early, a line each."""
    damaged: tuple[str, ...] = ()
    """The records that were changed, or that lack their coverage data, a line each."""
    missing: tuple[int, ...] = ()
    """The numbers of the shards without a record."""


def check_records(records: Sequence[RecordedRun]) -> RecordCheck:
    """Return what is wrong with records, at least one."""
    mismatches = (*_differences(records), *_duplicates(records), *_foreign_files(records))
    if mismatches:
        return RecordCheck(mismatches=mismatches)
    header = records[0].header
    there = {record.header.shard.number for record in records}
    missing = tuple(number for number in range(1, header.shard.total + 1) if number not in there)
    incomplete = [
        f"shard {number} of {header.shard.total} left no record: {_counted(_paths(header, number))}"
        for number in missing
    ]
    damaged: list[str] = []
    for record in records:
        if record.broken:
            text = f"the record of {_named(record)} is incomplete: {record.broken}"
            (incomplete if record.is_cut else damaged).append(text)
        elif lacks_coverage(record):
            damaged.append(f"the record of {_named(record)} has no coverage data, and coverage was measured")
    return RecordCheck(incomplete=tuple(incomplete), damaged=tuple(damaged), missing=missing)


def lacks_coverage(record: RecordedRun) -> bool:
    """Whether coverage was measured, for at least one file, but its data is missing."""
    return record.header.has_coverage and record.coverage is None


def short(digest: str) -> str:
    """Return a shortened digest for people."""
    return digest[:_SHOWN]


def _differences(records: Sequence[RecordedRun]) -> list[str]:
    """Return the properties in which records differ although they must agree."""
    found = []
    for what, value, hint in (
        ("commits", lambda header: header.commit, "check out the same one in every job"),
        ("CI runs", lambda header: header.ci_run, "remove the records of the earlier run"),
        ("numbers of shards", lambda header: str(header.shard.total), "pass the same N to every job"),
    ):
        sides = _sides(records, value)
        if len(sides) > 1:
            found.append(f"the records are of different {what}: {_both(sides)}; {hint}")
    plans = _sides(records, lambda header: header.digest)
    if len(plans) > 1 and not found:
        found.append(f"the plans differ: {_both(plans)}; {_plan_difference(plans)}")
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
        for value, records in list(sides.items())[:MAX_NAMED]
    )


def _plan_difference(plans: Mapping[str, Sequence[RecordedRun]]) -> str:
    """Return the first difference between two plans, so that the user can remove it."""
    one, other = (records[0].header for records in list(plans.values())[:2])
    here, there = ({path_of(key) for key, _ in header.whole} for header in (one, other))
    for paths, header in ((here - there, one), (there - here, other)):
        if paths:
            where = f"only on the machine of shard {header.shard}"
            return f"{_counted(sorted(paths))} {where}: pass the same arguments, with the same files in place"
    if one.history_digest != other.history_digest:
        histories = [short(header.history_digest) or "none" for header in (one, other)]
        return f"they were balanced by different histories ({' and '.join(histories)}): pass the same to all"
    return (
        "they select different tests, or were split for different slots or memory: "
        "pass the same arguments to every job"
    )


def _duplicates(records: Sequence[RecordedRun]) -> list[str]:
    return [
        f"shard {shard} left {len(duplicates)} records: "
        f"{', '.join(str(record.folder) for record in duplicates)}; keep the one that counts"
        for shard, duplicates in _sides(records, lambda header: str(header.shard)).items()
        if len(duplicates) > 1
    ]


def _foreign_files(records: Sequence[RecordedRun]) -> list[str]:
    """Return where a record contains other files than its own plan assigns to its shard."""
    found = []
    for record in records:
        expected = _keys(record.header, record.header.shard.number)
        started, results = record.started, record.results
        files = started.plan.files if started else ()
        planned = sorted(_planned_keys(files, expected)) if started else expected
        counted = sorted(item.file.path for item in results.records) if results else None
        if expected != planned or counted not in (None, sorted(set(map(path_of, expected)))):
            found.append(f"the record of {_named(record)} contains other files than its plan")
    return found


def _planned_keys(files: Sequence[PlannedFile], expected: Sequence[str]) -> Iterator[str]:
    """Yield the planned files and parts of files; a file without parts stands for all its parts.

    A file whose parts are planned runs as a whole if its result is known already.
    """
    by_path: dict[str, list[str]] = defaultdict(list)
    for key in expected:
        by_path[path_of(key)].append(key)
    for item in files:
        if item.task.parts:
            yield from (task.key for task in item.task.as_parts)
        else:
            yield from by_path.get(item.file.path, [item.file.path])


def _keys(header: Header, number: int) -> list[str]:
    """Return the files of a shard, and its parts of files."""
    return sorted(key for key, shard in header.whole if shard == number)


def _paths(header: Header, number: int) -> list[str]:
    """Return the files of a shard, also those of which it ran only a part."""
    return sorted({path_of(key) for key in _keys(header, number)})


def _named(record: RecordedRun) -> str:
    return f"shard {record.header.shard} in {record.folder}"


def _counted(paths: Sequence[str]) -> str:
    return f"{len(paths)} file(s) ({', '.join(first_texts(paths, MAX_NAMED))})" if paths else "0 files"
