"""`hostile`: three suites that break a budget on purpose; nothing but the guilty file may be lost."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.commands.setting import GIB, Setting, forget_history, fresh_suite, run_ours
from benchmarks.environments import base_interpreter
from benchmarks.measure import Measured
from benchmarks.ours import RunRecord
from benchmarks.suites.hostile import HostileSuite, write_suites
from benchmarks.tables import megabytes, print_table, write_json

BUDGET_BYTES = 2 * GIB


@dataclass(frozen=True, slots=True, kw_only=True)
class HostileRecord:
    """One measured run of one suite.

    Args:
        suite: which.
        with_history: whether an earlier run had left its history.
        measured: what it took.
        said_peak_bytes: the peak by our runner's own measure.
        wrong: files whose status is not the one they must have.
        guilty: status and reason of the guilty file, empty where there is none.
        evicted: attempts that were stopped only to make room.
    """

    suite: str
    with_history: bool
    measured: Measured
    said_peak_bytes: int
    wrong: tuple[str, ...]
    guilty: str
    evicted: tuple[str, ...]

    @property
    def is_good(self) -> bool:
        """Whether everything is as it must be."""
        measured = self.measured
        return not (self.wrong or measured.over_budget_bytes or measured.survivors)


def run(setting: Setting) -> bool:
    """Measure and print; return whether only the guilty were lost and the budget was kept."""
    suites = write_suites(fresh_suite(setting.cache / "suites" / "hostile"), seed=setting.seed)
    records: list[HostileRecord] = []
    for _ in range(setting.rounds):
        for suite in suites:
            forget_history(suite.root)
            records.append(_measure(setting, suite, with_history=False))
            records.append(_measure(setting, suite, with_history=True))
    _print(records)
    write_json(setting.output, "hostile", records)
    return all(record.is_good for record in records)


def _measure(setting: Setting, suite: HostileSuite, *, with_history: bool) -> HostileRecord:
    measured, record = run_ours(
        setting,
        suite.root,
        interpreter=base_interpreter(),
        budget_bytes=BUDGET_BYTES,
        options=["--memory-budget", "2GiB", "--timeout", "120s"],
    )
    guilty = record.final.get(suite.guilty or "")
    return HostileRecord(
        suite=suite.name,
        with_history=with_history,
        measured=measured,
        said_peak_bytes=record.peak_bytes,
        wrong=_wrong(suite, record),
        guilty="" if guilty is None else f"{guilty.status}: {guilty.error}",
        evicted=tuple(f"{attempt.path}: {attempt.error}" for attempt in record.evictions),
    )


def _wrong(suite: HostileSuite, record: RunRecord) -> tuple[str, ...]:
    """Return the files that did not end as they must."""
    found: list[str] = []
    for path in suite.paths:
        ended = record.final.get(path)
        wanted = "MEMORY" if path == suite.guilty else "PASS"
        status = "no result" if ended is None else ended.status
        if status != wanted:
            found.append(f"{path}: {status}, not {wanted}: {'' if ended is None else ended.error}")
    return tuple(found)


def _print(records: list[HostileRecord]) -> None:
    rows = [
        [
            f"{record.suite}, {'with history' if record.with_history else 'first run'}",
            f"{record.measured.wall_s:.1f}",
            megabytes(record.measured.peak_bytes),
            megabytes(record.measured.tests_peak_bytes),
            megabytes(record.said_peak_bytes),
            megabytes(record.measured.over_budget_bytes),
            f"{record.measured.longest_over_s * 1000:.0f}",
            str(len(record.evicted)),
            str(len(record.wrong)),
            str(record.measured.survivors),
        ]
        for record in records
    ]
    head = "suite,wall s,peak MB,tests MB,said MB,over MB,over ms,evicted,wrong,survivors"
    print_table(f"hostile: budget {megabytes(BUDGET_BYTES)} MB", head.split(","), rows)
    for record in records:
        for line in (record.guilty, *record.wrong, *record.evicted):
            if line:
                print(f"  {record.suite}: {line}")
