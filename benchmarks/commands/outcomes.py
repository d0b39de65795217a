"""`outcomes`: public suites without configuration, by Passmuster and by their authors' own command.

Compared are the files, the cases, the outcome of every case, and the exit status. Each suite runs by its
own command (once more where there are differences), and by Passmuster twice: without history, and with the
history of that run.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from dataclasses import dataclass

from benchmarks.commands.setting import Setting
from benchmarks.public.compare import Cause, differences, files_of
from benchmarks.public.place import Place, prepare
from benchmarks.public.runs import SuiteRun, our_run, plain_alone, plain_run
from benchmarks.public.table import chosen_suites, read_table
from benchmarks.tables import print_table, write_json

HEAD = (
    *("suite", "files", "", "cases", "", "exit", "", "explained", "unexplained"),
    *("plain s", "first", "later", "CPU s", "first", "later"),
)
"""Pairs are the project's own command and Passmuster; `first` and `later` are shares of the plain figure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Passmuster's run of a suite against the run by the project's own command.

    Args:
        suite: its name and version.
        run: `first` or `later`.
        command: the project's own command.
        files: test files with cases; by the command, and by Passmuster.
        cases: the same of cases.
        exit_codes: the same of the exit status.
        wall_s: the same of seconds.
        cpu_s: the same of CPU seconds.
        causes: how many differences of each cause.
        differences: every difference, in words.
    """

    suite: str
    run: str
    command: str
    files: tuple[int, int]
    cases: tuple[int, int]
    exit_codes: tuple[int, int]
    wall_s: tuple[float, float]
    cpu_s: tuple[float, float]
    causes: dict[str, int]
    differences: tuple[str, ...]

    @property
    def unexplained(self) -> int:
        """How many differences nobody has explained."""
        return self.causes.get(Cause.UNEXPLAINED, 0)


def run(setting: Setting) -> bool:
    """Compare and print; return whether all suites ran and every difference is explained."""
    compared: list[Comparison] = []
    missing: list[str] = []
    try:
        suites = chosen_suites(read_table(), setting.only)
    except ValueError as error:
        raise SystemExit(f"--only: {error}") from None
    for suite in suites:
        print(f"{suite.name} {suite.version}: {suite.command}", flush=True)
        try:
            place = prepare(suite, setting.cache)
            compared += _compare(setting, place)
        except (subprocess.CalledProcessError, LookupError) as error:
            print(f"  not run: {error}")
            missing.append(suite.name)
    print_table("outcomes: the project's own command, and ours", HEAD, _rows(compared))
    write_json(setting.output, "outcomes", compared)
    names = {comparison.suite for comparison in compared}
    equal = names - {comparison.suite for comparison in compared if comparison.unexplained}
    print(f"{len(equal)} of {len(names)} suites have no unexplained difference")
    if missing:
        print(f"not run: {', '.join(missing)}")
    return not missing and not any(comparison.unexplained for comparison in compared)


def _compare(setting: Setting, place: Place) -> list[Comparison]:
    """Run a suite by both; print each difference.

    Raises:
        LookupError: the project's own command ran no test, or could not collect all: nothing to equal.
    """
    plain = plain_run(place, 1)
    if plain.exit_code not in (0, 1) or not plain.outcomes:
        raise LookupError(
            f"{place.suite.command!r} ended with {plain.exit_code}; repair its row in the table"
        )
    compared: list[Comparison] = []
    jobs = () if setting.jobs is None else ("--jobs", str(setting.jobs))
    for label in ("first", "later"):
        ours = our_run(place, setting.work, is_first=label == "first", options=[*jobs, *setting.ours_options])
        comparison = _comparison(label, place, plain, ours)
        print(f"  {label}: {ours.wall_s:.1f} s, by the command {plain.wall_s:.1f} s; {comparison.causes}")
        for text in comparison.differences:
            print(f"    {text}", flush=True)
        compared.append(comparison)
    return compared


def _comparison(label: str, place: Place, plain: SuiteRun, ours: SuiteRun) -> Comparison:
    suite = place.suite
    found = differences(
        plain.outcomes,
        ours.outcomes,
        explained=suite.explained,
        again=lambda: plain_run(place, 2).outcomes,
        alone=lambda file: plain_alone(place, file),
    )
    causes = Counter[str](difference.cause.value for difference in found)
    texts = [str(difference) for difference in found]
    for text in _verdicts(plain, ours, is_explained=bool(found)):
        causes[Cause.UNEXPLAINED.value] += 1
        texts.append(f"{Cause.UNEXPLAINED}: {text}")
    return Comparison(
        suite=f"{suite.name} {suite.version}",
        run=label,
        command=suite.command,
        files=(len(files_of(plain.outcomes)), len(files_of(ours.outcomes))),
        cases=(_count(plain), _count(ours)),
        exit_codes=(plain.exit_code, ours.exit_code),
        wall_s=(plain.wall_s, ours.wall_s),
        cpu_s=(plain.cpu_s, ours.cpu_s),
        causes=dict(causes),
        differences=tuple(texts),
    )


def _verdicts(plain: SuiteRun, ours: SuiteRun, *, is_explained: bool) -> list[str]:
    """Return what is wrong with the verdicts: of the run, and of files none of whose cases failed.

    Args:
        plain: the run by the project's own command.
        ours: Passmuster's.
        is_explained: whether cases differ, which may change the exit status.
    """
    bad = {case.file for case, outcomes in plain.outcomes.items() if {"failed", "error"} & set(outcomes)}
    worse = {case.file for case, outcomes in ours.outcomes.items() if {"failed", "error"} & set(outcomes)}
    found = [f"{file}: {why}" for file, why in ours.failed_files if file not in bad | worse]
    if plain.exit_code != ours.exit_code and not is_explained:
        found.append(f"exit status {plain.exit_code}, ours {ours.exit_code}")
    return found


def _count(run: SuiteRun) -> int:
    return sum(map(len, run.outcomes.values()))


def _rows(compared: list[Comparison]) -> list[list[str]]:
    rows: list[list[str]] = []
    for first, later in zip(compared[::2], compared[1::2], strict=True):
        explained = sum(first.causes.values()) - first.unexplained
        rows.append(
            [
                first.suite,
                *(str(number) for pair in (first.files, first.cases, first.exit_codes) for number in pair),
                str(explained),
                f"{first.unexplained} / {later.unexplained}",
                *_shares(first.wall_s, later.wall_s),
                *_shares(first.cpu_s, later.cpu_s),
            ]
        )
    return rows


def _shares(first: tuple[float, float], later: tuple[float, float]) -> list[str]:
    plain_s = first[0]
    return [f"{plain_s:.1f}", f"{first[1] / plain_s:.2f}", f"{later[1] / plain_s:.2f}"]
