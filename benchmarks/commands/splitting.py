"""`splitting`: public suites with every file in parts that can be cut, against whole files.

Each suite runs twice, so that its history knows the tests and forking is verified, and then with
`--split force`. Every case must have the same outcome, unless it differs between two runs of whole files too.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands.setting import Setting
from benchmarks.public.compare import Cause, Outcomes, differences, files_of
from benchmarks.public.place import prepare
from benchmarks.public.runs import our_run
from benchmarks.public.table import PublicSuite, chosen_suites, read_table
from benchmarks.tables import print_table, write_json

USUAL = (
    *("attrs", "click", "h11", "itsdangerous", "jinja2", "mako", "marshmallow", "toolz", "werkzeug"),
    *("flask", "packaging", "tomlkit"),
)
"""The suites that run unless others are wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartsRecord:
    """One suite in parts against the same suite as whole files.

    Args:
        files: test files with cases.
        divided: those that ran in parts.
        parts: how many parts these had.
        cases: the number of cases in them all.
        indivisible: files that gave another result in parts, and ran as a whole.
        unstable: cases that differ between two runs of whole files as well.
        differences: every other case that differs, in words.
    """

    suite: str
    files: int
    divided: int
    parts: int
    cases: int
    indivisible: tuple[str, ...]
    unstable: int
    differences: tuple[str, ...]


def run(setting: Setting) -> bool:
    """Compare and print; return whether all suites ran and every case was the same."""
    records: list[PartsRecord] = []
    missing: list[str] = []
    for suite in chosen_suites(read_table(), setting.only or USUAL):
        try:
            records.append(_compare(setting, suite))
        except (subprocess.CalledProcessError, LookupError) as error:
            print(f"{suite.name}: not run: {error}")
            missing.append(suite.name)
            continue
        print(records[-1], flush=True)
        write_json(setting.output, "splitting", records)
    rows = [
        (
            record.suite,
            *map(str, (record.files, record.divided, record.parts, record.cases)),
            *map(str, (len(record.indivisible), record.unstable, len(record.differences))),
        )
        for record in records
    ]
    totals = [str(sum(int(row[column]) for row in rows)) for column in range(1, 8)]
    print_table(
        "--split force against whole files",
        ("suite", "files", "in parts", "parts", "cases", "indivisible", "unstable", "different"),
        [*rows, ("all", *totals)],
    )
    return not missing and not any(record.differences for record in records)


def _compare(setting: Setting, suite: PublicSuite) -> PartsRecord:
    place = prepare(suite, setting.cache)
    jobs = () if setting.jobs is None else ("--jobs", str(setting.jobs))
    usual = [*jobs, *setting.ours_options]

    def outcomes(*options: str, is_first: bool = False) -> Outcomes:
        return our_run(place, setting.work, is_first=is_first, options=[*usual, *options]).outcomes

    outcomes(is_first=True)
    whole = outcomes()
    in_parts = outcomes("--split", "force")
    events = setting.work / f"{suite.name}-later.jsonl"
    parts, indivisible = _parts(events)
    found = differences(whole, in_parts, explained=(), again=outcomes, alone=lambda file: ())
    unstable = sum(one.cause is Cause.UNSTABLE for one in found)
    return PartsRecord(
        suite=f"{suite.name} {suite.version}",
        files=len(files_of(whole)),
        divided=len(parts),
        parts=sum(parts),
        cases=sum(map(len, in_parts.values())),
        indivisible=indivisible,
        unstable=unstable,
        differences=tuple(str(one) for one in found if one.cause is not Cause.UNSTABLE),
    )


def _parts(events: Path) -> tuple[list[int], tuple[str, ...]]:
    """Return how many parts each divided file of a run had, and which files were found indivisible."""
    told = [json.loads(line) for line in events.read_text().splitlines()]
    parts = [event["parts"] for event in told if event["event"] == "file-planned" and event["parts"]]
    return parts, tuple(told[-1]["indivisible_paths"] + told[-1]["fails_in_parts_paths"])
