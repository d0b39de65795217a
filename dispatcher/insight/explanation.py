"""Collects everything known about one test file, and why it will run as planned. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from msgspec import Struct

from dispatcher.config.choices import Override
from dispatcher.config.model import TestConfig
from dispatcher.config.overrides import Overrides
from dispatcher.history.file_history import FileHistory, ForkObservation
from dispatcher.insight.last_run import PastRun
from dispatcher.model.plan import PlannedFile, TestFile
from dispatcher.model.rerun_reason import RerunReason
from passmuster.model.executor import OtherRuns
from passmuster.model.result import TestResult
from passmuster.model.status import Isolation, RunnerKind, Status
from passmuster.model.units import Amount, format_seconds


class Explanation(Struct, frozen=True, kw_only=True):
    """What is known about a file.

    Args:
        last: the reported run; None: no kept run ran the file.
        known: its history; None: it has none.
        outcomes: how its last runs ended, oldest first, each with all its attempts.
        planned: its plan; None: it no longer exists.
        place: its position in the order of the next run, from 1.
        is_found: whether a run that does not name it finds it.
        group_most: how many files of its group run at once; None: it is in none.
        affected: why --changed would select it; empty: it would not.
        waits: which resources, held by other runs on this machine, the project's active runs wait for, by
            process ID.
    """

    file: TestFile
    last: PastRun | None
    known: FileHistory | None
    outcomes: tuple[tuple[Status, ...], ...] = ()
    planned: PlannedFile | None = None
    position: int = 0
    total: int = 0
    is_found: bool = True
    limit_bytes: int = 0
    budget_bytes: int = 0
    overrides: tuple[tuple[str, str], ...] = ()
    group_max: int | None = None
    start_method: str = ""
    waits: tuple[tuple[int, OtherRuns], ...] = ()
    affected: tuple[str, ...] = ()

    @property
    def never_ran(self) -> bool:
        """Whether it has no history."""
        return self.last is None and self.known is None

    @property
    def is_changed(self) -> bool:
        """Whether it changed since it last ran."""
        return self.known is not None and not self.known.is_of(self.file)


def start_method_of(planned: PlannedFile, known: FileHistory | None, config: TestConfig) -> str:
    """Return a file's start method, and why."""
    rule = Overrides(config.overrides).rule_for(planned.file.path)
    if planned.task.runner is RunnerKind.COMMAND:
        return "spawned: a command of the project runs it"
    asked_for = rule.isolation or config.isolation
    if asked_for is not Isolation.AUTO:
        origin = "an override" if rule.isolation else "the setting isolation"
        return f"{'forked' if asked_for is Isolation.FORK else 'spawned'}: requested by {origin}"
    if planned.task.isolation is Isolation.SPAWN:
        if known is not None and known.must_spawn(planned.file):
            return "spawned: it gave another result when forked in an earlier run"
        return "spawned: it did not pass when it last ran, and a failure counts only when spawned"
    if planned.is_fork_verified:
        return "forked if possible: it passed forked and spawned in an earlier run"
    if known is not None and known.forking is ForkObservation.HARMFUL:
        return "forked if possible: it gave another result when forked, but has changed since"
    return "forked if possible, then spawned once to verify that it passes"


def overrides_of(path: str, config: TestConfig) -> tuple[tuple[str, str], ...]:
    """Return the overrides that apply to a file, each with its settings."""
    found: list[tuple[str, str]] = []
    for override in config.overrides:
        said = Overrides((override,)).rule_for(path)
        texts = list(_said(said))
        if texts:
            found.append((", ".join(override.files), ", ".join(texts)))
    return tuple(found)


def _said(rule: Override) -> Iterator[str]:
    for name in rule.__struct_fields__:
        value = getattr(rule, name)
        if name == "files" or value is None:
            continue
        key = name.removesuffix("_s").replace("_", "-")
        if name.endswith("_s"):
            yield f"{key} {format_seconds(value)}"
        else:
            shown = " ".join(value) if isinstance(value, tuple) else value
            yield f"{key} {shown if isinstance(shown, Amount | str | int) else str(shown)}"


def rerun_reason(before: TestResult, attempt: TestResult) -> RerunReason:
    """Return why an attempt followed another one, as far as its journal shows.

    A retry during which, by chance, nothing else ran cannot be distinguished from an exclusive rerun.
    """
    if before.is_evicted:
        return RerunReason.EVICTED
    if before.parts:
        return RerunReason.RETRY if attempt.parts else RerunReason.WHOLE
    if attempt.parts:
        return RerunReason.REPART
    if before.status.is_pass:
        if attempt.isolation is Isolation.FORK:
            return RerunReason.REFORK
        return RerunReason.VERIFY_PASS if before.isolation is Isolation.FORK else RerunReason.RECHECK
    if before.isolation is Isolation.FORK and attempt.isolation is Isolation.SPAWN:
        return RerunReason.VERIFY_FAILURE
    return RerunReason.EXCLUSIVE if attempt.was_alone and not before.was_alone else RerunReason.RETRY


def rerun_reasons(attempts: Sequence[TestResult]) -> tuple[RerunReason | None, ...]:
    """Return why each attempt was made; None: it was the first."""
    return (None, *(rerun_reason(one, other) for one, other in pairwise(attempts)))
