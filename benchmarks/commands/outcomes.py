"""`outcomes`: every file of other people's suites, in a full run of ours against the file run by hand, alone.

Held against each other are the exit status, what the framework itself printed about its counts in both runs,
and the counts of the cases that ours reported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands.setting import GIB, Setting, forget_history, run_ours
from benchmarks.environments import base_interpreter
from benchmarks.ours import FileRun
from benchmarks.outcome import Outcome, pytest_counts, run_pytest_alone, run_script_alone, unittest_counts
from benchmarks.suites import cpython, sdists
from benchmarks.tables import print_table, write_json

ALONE_S = 300.0
"""Seconds for a file by hand: the same as our default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileComparison:
    """One file by both ways.

    Args:
        suite: which.
        file: its path.
        status: our verdict.
        tests: how many cases ours reported.
        differences: what is not the same; empty: nothing.
    """

    suite: str
    file: str
    status: str
    tests: int
    differences: tuple[str, ...]


def run(setting: Setting) -> bool:
    """Compare and print; return whether there is no difference."""
    compared: list[FileComparison] = []
    rows: list[list[str]] = []
    suites, python = setting.cache / "suites", base_interpreter()
    root, files = cpython.write_suite(suites / "cpython", work=setting.work, seed=setting.seed)
    compared += _compare(setting, "cpython", root, python, files, run_script_alone, _script_counts)
    for package in sdists.PACKAGES:
        suite = sdists.write_suite(suites / "sdists", package)
        compared += _compare(
            setting, suite.name, suite.root, suite.interpreter, suite.files, run_pytest_alone, _pytest_counts
        )
    for name in dict.fromkeys(comparison.suite for comparison in compared):
        mine = [comparison for comparison in compared if comparison.suite == name]
        equal = sum(not comparison.differences for comparison in mine)
        passed = sum(comparison.status == "PASS" for comparison in mine)
        cases = sum(comparison.tests for comparison in mine)
        rows.append([name, str(len(mine)), str(passed), str(cases), str(equal), f"{equal / len(mine):.1%}"])
    print_table(
        "outcomes: a full run against each file by hand",
        ["suite", "files", "passed", "cases", "equal", "share"],
        rows,
    )
    for comparison in compared:
        for difference in comparison.differences:
            print(f"  {comparison.suite}: {comparison.file}: {difference}")
    write_json(setting.output, "outcomes", compared)
    return not any(comparison.differences for comparison in compared)


def _compare(
    setting: Setting,
    suite: str,
    root: Path,
    interpreter: Path,
    files: Sequence[str],
    run_alone: Callable[..., Outcome | None],
    counts: Callable[[FileRun, Outcome], list[str]],
) -> list[FileComparison]:
    """Run a suite by ours, then each of its files by hand."""
    forget_history(root)
    runner = "script" if run_alone is run_script_alone else "pytest"
    _, record = run_ours(
        setting,
        root,
        interpreter=interpreter,
        budget_bytes=4 * GIB,
        options=["--no-history", "--runner", runner],
        paths=files,
    )
    compared: list[FileComparison] = []
    for file in files:
        ours = record.final.get(file)
        alone = run_alone(interpreter, root, file, work=setting.work, timeout_s=ALONE_S)
        if ours is None or alone is None:
            differences = [f"ours: {'no result' if ours is None else ours.status}, by hand: {alone}"]
        else:
            differences = [*_exits(ours, alone), *counts(ours, alone)]
        compared.append(
            FileComparison(
                suite=suite,
                file=file,
                status="no result" if ours is None else ours.status,
                tests=0 if ours is None else ours.outcomes.total(),
                differences=tuple(differences),
            )
        )
    return compared


def _exits(ours: FileRun, alone: Outcome) -> list[str]:
    found: list[str] = []
    if ours.exit_code != alone.exit_code and not (ours.exit_code is None and alone.exit_code < 0):
        found.append(f"exit status {ours.exit_code}, by hand {alone.exit_code} ({ours.status}: {ours.error})")
    if (ours.status == "PASS") != (alone.exit_code == 0):
        found.append(f"{ours.status} ({ours.error}), by hand exit status {alone.exit_code}")
    if ours.leaked:
        found.append(f"left behind: {'; '.join(ours.leaked)}")
    return found


def _script_counts(ours: FileRun, alone: Outcome) -> list[str]:
    """Compare what unittest printed in both runs, and our cases with it."""
    printed = unittest_counts(ours.output_tail)
    found = [] if printed == alone.counted else [f"printed {dict(printed)}, by hand {dict(alone.counted)}"]
    # A class or module that is skipped as a whole is one case of ours and none that unittest "ran".
    ran, cases = alone.counts.get("run", 0), ours.outcomes.total()
    if not ran <= cases <= ran + alone.counts.get("skipped", 0):
        found.append(f"{cases} cases reported, unittest ran {ran}")
    return found


def _pytest_counts(ours: FileRun, alone: Outcome) -> list[str]:
    """Compare what pytest printed in both runs, and our cases with it."""
    printed = pytest_counts(ours.output_tail)
    found = [] if printed == alone.counted else [f"printed {dict(printed)}, by hand {dict(alone.counted)}"]
    if dict(ours.outcomes) != dict(alone.counts):
        found.append(f"cases {dict(ours.outcomes)}, by hand {dict(alone.counts)}")
    return found
