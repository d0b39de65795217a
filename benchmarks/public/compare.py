"""Compares the cases of two runs of one suite, and classifies each difference. Pure."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from benchmarks.public.table import Explanation


@dataclass(frozen=True, slots=True, order=True)
class Case:
    """One test case: a file relative to the suite's folder, and its name inside ("" for the file itself)."""

    file: str
    name: str

    def __str__(self) -> str:
        return f"{self.file}::{self.name}" if self.name else self.file


Outcomes = Mapping[Case, tuple[str, ...]]
"""The outcomes of each case, sorted; more than one if several cases have the same name."""


class Cause(StrEnum):
    """Why a case differs."""

    UNSTABLE = "unstable"
    """Two runs of the project's own command differ in it, too."""
    ALONE = "alone"
    """The case is found by both, and the project's own command, given only this file, has our outcome."""
    EXPLAINED = "explained"
    """The table says why."""
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A case that did not end the same.

    Args:
        case: which.
        plain: its outcomes under the project's own command; nothing: it was not found.
        ours: its outcomes under Passmuster; nothing: it was not found.
        cause: why.
        why: in words, if the table says so.
    """

    case: Case
    plain: tuple[str, ...]
    ours: tuple[str, ...]
    cause: Cause
    why: str = ""

    def __str__(self) -> str:
        def said(outcomes: tuple[str, ...]) -> str:
            return "+".join(outcomes) or "not found"

        reason = f": {self.why}" if self.why else ""
        return f"{self.cause}: {self.case}: {said(self.plain)}, ours {said(self.ours)}{reason}"


def collect_outcomes(cases: Iterable[tuple[Case, str]]) -> Outcomes:
    """Return the outcomes by case."""
    found: dict[Case, list[str]] = {}
    for case, outcome in cases:
        found.setdefault(case, []).append(outcome)
    return {case: tuple(sorted(outcomes)) for case, outcomes in found.items()}


def files_of(outcomes: Outcomes) -> set[str]:
    """Return the files that have cases."""
    return {case.file for case in outcomes}


def differences(
    plain: Outcomes,
    ours: Outcomes,
    *,
    explained: Sequence[Explanation],
    again: Callable[[], Outcomes],
    alone: Callable[[str], Sequence[Outcomes]],
) -> list[Difference]:
    """Return the cases in which Passmuster's run is not that of the project's own command.

    Args:
        plain: the run of the project's own command, which is to be equalled.
        ours: Passmuster's run.
        explained: the known differences of the suite.
        again: runs the project's own command once more.
        alone: runs the project's own command for one file alone, as often as it should agree with itself.
    """
    differing = _differing(plain, ours)
    unstable = _unstable(plain, ours, _differing(plain, again())) if differing else set()
    found: list[Difference] = []
    for case in sorted(differing):
        mine, theirs = ours.get(case, ()), plain.get(case, ())
        cause, why = Cause.UNEXPLAINED, ""
        if case in unstable:
            cause = Cause.UNSTABLE
        elif why := _explanation(case, explained):
            cause = Cause.EXPLAINED
        elif mine and theirs and any(run.get(case) == mine for run in alone(case.file)):
            cause = Cause.ALONE
        found.append(Difference(case=case, plain=theirs, ours=mine, cause=cause, why=why))
    return found


def _differing(one: Outcomes, other: Outcomes) -> set[Case]:
    return {case for case in one.keys() | other.keys() if one.get(case) != other.get(case)}


def _unstable(plain: Outcomes, ours: Outcomes, varying: set[Case]) -> set[Case]:
    """Return the cases that differ from ours and are among those that vary between plain runs.

    A case whose name is new in every run (it holds an address, or a random value) is known by number: a file
    must have as many of them in ours as in the plain run.
    """
    differing = _differing(plain, ours)
    changed = {case for case in differing & varying if case in plain and case in ours}
    renamed = {case for case in differing & varying if case not in ours}
    fresh = {case for case in differing if case not in plain}
    here, there = (Counter(case.file for case in cases) for cases in (renamed, fresh))
    return changed | {case for case in renamed | fresh if here[case.file] == there[case.file]}


def _explanation(case: Case, explained: Sequence[Explanation]) -> str:
    name = str(case)
    for entry in explained:
        # fnmatch takes brackets for a set of characters, and many names hold brackets.
        if any(fnmatch.fnmatchcase(name, pattern.replace("[", "[[]")) for pattern in entry.match):
            return entry.why
    return ""
