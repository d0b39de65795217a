"""`merged`: other people's suites run whole, and in shards that are merged: do both tell the same?

Held against each other are the files with their cases and how each ended, by the JUnit reports; the counts of
the summary; and the covered lines and branches of every source file, by the Cobertura reports.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands.setting import Setting, forget_history
from benchmarks.ours import REPOSITORY
from benchmarks.suites import packages
from benchmarks.tables import print_table, write_json

SHARDS = 4

_COUNTS = re.compile(r"^  (?:Total tests|Passed|Failed|Test cases): .*$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a run told.

    Args:
        status: its exit status.
        counts: the lines of its summary that count.
        cases: how each test ended, by its file and its name.
        lines: each line of a source file that could be covered, with what is said of it.
    """

    status: int
    counts: tuple[str, ...]
    cases: dict[str, str]
    lines: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One suite both ways."""

    suite: str
    files: int
    cases: int
    lines: int
    differences: tuple[str, ...]


def run(setting: Setting) -> bool:
    """Compare and print; return whether there is no difference."""
    compared = [
        _compare(setting, package) for package in (packages.NEWER_CLICK, packages.WERKZEUG, packages.MAKO)
    ]
    rows = [
        [one.suite, str(one.files), str(one.cases), str(one.lines), str(len(one.differences))]
        for one in compared
    ]
    title = f"merged: {SHARDS} shards, merged, against the run that was not split"
    print_table(title, ["suite", "files", "cases", "lines and branches", "differences"], rows)
    for one in compared:
        for difference in one.differences[:20]:
            print(f"  {one.suite}: {difference}")
    write_json(setting.output, "merged", compared)
    return not any(one.differences for one in compared)


def _compare(setting: Setting, package: packages.Package) -> Compared:
    covered = dataclasses.replace(package, requirements=(*package.requirements, "coverage>=7.10"))
    suite = packages.write_suite(setting.cache / "suites" / "covered", covered)
    work = setting.work / "merged"
    shutil.rmtree(work, ignore_errors=True)
    source = package.own_package or package.name.partition("=")[0]
    common = ["--root", str(suite.root), "--python", str(suite.interpreter), "--no-history"]
    options = [*common, "--coverage", "--coverage-source", source, "--runner", "pytest"]
    forget_history(suite.root)
    whole = _told(work / "whole", [*options, *suite.files])
    for number in range(1, SHARDS + 1):
        reports = ["--coverage-dir", str(work / "shard-coverage"), "-q"]
        shard = ["--shard", f"{number}/{SHARDS}", "--record", str(work / "records")]
        _run([*options, *shard, *reports, *suite.files])
    merged = _told(work / "merged", ["merge", *common, str(work / "records")])
    return Compared(
        suite=package.name,
        files=len(suite.files),
        cases=len(whole.cases),
        lines=len(whole.lines),
        differences=tuple(_differences(whole, merged)),
    )


def _told(folder: Path, words: Sequence[str]) -> Told:
    """Run our command with reports in a folder, and return what they say."""
    junit, cobertura = folder / "junit.xml", folder / "coverage.xml"
    reports = ["--junit-xml", str(junit), "--coverage-dir", str(folder / "html")]
    done = _run([*words, *reports, "--coverage-xml", str(cobertura)])
    return Told(
        status=done.returncode,
        counts=tuple(_COUNTS.findall(done.stdout)),
        cases=_cases(junit),
        lines=_lines(cobertura),
    )


def _run(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(REPOSITORY / "run_tests.py"), *words]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)


def _cases(junit: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for suite in ET.parse(junit).getroot():
        for case in suite.findall("testcase"):
            name = f"{suite.get('file')} {case.get('classname')} {case.get('name')}"
            while name in found:
                name += " again"
            found[name] = ",".join(child.tag for child in case if child.tag != "system-out") or "passed"
    return found


def _lines(cobertura: Path) -> dict[str, str]:
    return {
        f"{source.get('filename')}:{line.get('number')}": str(sorted(line.items()))
        for source in ET.parse(cobertura).getroot().iter("class")
        for line in source.iter("line")
    }


def _differences(whole: Told, merged: Told) -> list[str]:
    found = []
    if whole.status != merged.status:
        found.append(f"exit status {whole.status}, merged {merged.status}")
    if whole.counts != merged.counts:
        found.append(f"counts {whole.counts}, merged {merged.counts}")
    for one, other in ((whole.cases, merged.cases), (whole.lines, merged.lines)):
        found += [
            f"{name}: {one.get(name)}, merged {other.get(name)}"
            for name in sorted(one.keys() | other.keys())
            if one.get(name) != other.get(name)
        ]
    return found
