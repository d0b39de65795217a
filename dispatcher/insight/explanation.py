"""Collects everything known about one test file, and why it will run as planned. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from msgspec import Struct, structs

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
from passmuster.model.units import format_seconds


class Explanation(Struct, frozen=True, kw_only=True):
    """What is known about a file."""

    file: TestFile
    last: PastRun | None
    """The reported run; None: no kept run ran the file."""
    known: FileHistory | None
    """Its history; None: it has none."""
    outcomes: tuple[tuple[Status, ...], ...] = ()
    """How its last runs ended, oldest first, each with all its attempts."""
    planned: PlannedFile | None = None
    """Its plan for the next run, like all that follows; None: it no longer exists."""
    position: int = 0
    """Its place in the order of the run, from 1."""
    total: int = 0
    is_found: bool = True
    """Whether a run that does not name it finds it."""
    limit_bytes: int = 0
    budget_bytes: int = 0
    overrides: tuple[tuple[str, str], ...] = ()
    group_max: int | None = None
    """How many files of its group run at once; None: it is in none."""
    start_method: str = ""
    waits: tuple[tuple[int, OtherRuns], ...] = ()
    """What the project's active runs wait for because other runs on this machine hold it, by process ID."""
    affected: tuple[str, ...] = ()
    """Why --changed would select it; empty: it would not."""

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
    rules = ((one.files, Overrides((one,)).rule_for(path)) for one in config.overrides)
    found = ((", ".join(patterns), ", ".join(_settings_of(rule))) for patterns, rule in rules)
    return tuple((patterns, settings) for patterns, settings in found if settings)


def _settings_of(rule: Override) -> Iterator[str]:
    for name, value in structs.asdict(rule).items():
        if name == "files" or value is None:
            continue
        key = name.removesuffix("_s").replace("_", "-")
        if name.endswith("_s"):
            yield f"{key} {format_seconds(value)}"
        else:
            yield f"{key} {' '.join(value) if isinstance(value, tuple) else value}"


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
