"""`shards`: how evenly a suite is split over 4 and over 16 machines: ours against plainer splits.

Each shard is run by our runner, alone, on this one machine, with the same history in place: so only the split
differs. The shards of all splits take turns. What is compared is the slowest shard's time with the mean; a
busy machine moves that, alike for all splits, and does not move the predicted times, the play of the run.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from benchmarks.commands.setting import GIB, Setting, forget_history, fresh_suite, run_ours
from benchmarks.environments import base_interpreter, ensure_environment
from benchmarks.ours import RunRecord
from benchmarks.splits import PYTEST_SPLIT_ALGORITHMS, Split, by_count, by_hash, by_pytest_split
from benchmarks.suites import cpython, heavy, trivial, waiting
from benchmarks.tables import print_table, write_json
from dispatcher.config.model import TestConfig
from dispatcher.history.file_history import FileHistory
from dispatcher.history.history import read_shared_history
from dispatcher.model.plan import TestFile
from dispatcher.model.shard_option import Shard
from dispatcher.planning.planner import make_plan
from dispatcher.planning.shard_selection import select_shard
from dispatcher.planning.simulation import simulate_run
from passmuster.model.task import TestTask
from passmuster.model.units import Amount

SHARDS = (4, 16)
SLOTS = 4
"""Of the machine that is predicted: what a split takes a machine for unless it is told otherwise."""

OURS = "ours, with history"
COUNT = "by count"
MEASURED = (OURS, COUNT, f"pytest-split, {PYTEST_SPLIT_ALGORITHMS[0]}")
"""The splits that are run; the others are predicted only, or this would take an hour."""

EVEN = 1.1
"""How many times the mean our slowest shard may be predicted to take, or the longest file if that is more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A suite to be split.

    Args:
        name: its name.
        root: its folder.
        interpreter: its Python.
        paths: the files that are run; empty: all.
        options: of our runner for it.
        budget_bytes: the memory of each machine.
    """

    name: str
    root: Path
    interpreter: Path
    paths: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    budget_bytes: int = 4 * GIB


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRecord:
    """One split of one suite.

    Args:
        suite: which.
        shards: into how many.
        way: how it was made.
        files: how many each shard has.
        predicted_s: when each is done, by the play of the run on a machine of 4 slots.
        real_s: when each was done here, round after round; empty: it was not run.
        longest_s: what the longest file took in the run that the history is of.
    """

    suite: str
    shards: int
    way: str
    files: tuple[int, ...]
    predicted_s: tuple[float, ...]
    longest_s: float
    real_s: tuple[tuple[float, ...], ...] = ()

    @property
    def predicted(self) -> float:
        """The slowest shard against the mean."""
        return max(self.predicted_s) / fmean(self.predicted_s)

    @property
    def predicted_to_least(self) -> float:
        """The slowest shard against the mean, or against the longest file, which no split can cut."""
        return max(self.predicted_s) / max(fmean(self.predicted_s), self.longest_s)

    @property
    def real(self) -> float:
        """The same of the real times, the mean of the rounds."""
        return fmean(max(times) / fmean(times) for times in self.real_s)

    @property
    def slowest_s(self) -> float:
        """What the slowest shard took, the mean of the rounds."""
        return fmean(map(max, self.real_s))


def run(setting: Setting) -> bool:
    """Measure and print; return whether ours are even."""
    records: list[SplitRecord] = []
    for suite in _suites(setting):
        history = _learn(setting, suite)
        for total in SHARDS:
            records += _compare(setting, suite, history, total)
            write_json(setting.output, "shards", records)
    return all(record.predicted_to_least <= EVEN for record in records if record.way == OURS)


def _suites(setting: Setting) -> list[Suite]:
    suites = setting.cache / "suites"
    root = fresh_suite(suites / "shards-trivial")
    trivial.write_suite(root)
    made = [Suite(name="trivial", root=root, interpreter=base_interpreter())]
    root = fresh_suite(suites / "shards-waiting")
    waiting.write_suite(root, seed=setting.seed)
    as_predicted = (
        "--jobs",
        str(SLOTS),
        "--oversubscribe",
        "off",
        "--memory-budget",
        str(waiting.BUDGET_BYTES),
    )
    made.append(
        Suite(
            name="waiting",
            root=root,
            interpreter=base_interpreter(),
            options=as_predicted,
            budget_bytes=waiting.BUDGET_BYTES,
        )
    )
    root = fresh_suite(suites / "shards-heavy")
    heavy.write_suite(root, seed=setting.seed)
    interpreter = ensure_environment(setting.cache / "environments" / "heavy", heavy.REQUIREMENTS)
    made.append(Suite(name="heavy", root=root, interpreter=interpreter))
    root, files = cpython.write_suite(suites / "cpython", work=setting.work, seed=setting.seed)
    made.append(Suite(name="cpython", root=root, interpreter=base_interpreter(), paths=files))
    return made


def _learn(setting: Setting, suite: Suite) -> Path:
    """Run the whole suite twice; return its history, kept where no further run changes it."""
    forget_history(suite.root)
    for _ in range(2):
        _run(setting, suite, suite.paths)
    kept = setting.work / f"shards-{suite.name}.sqlite3"
    shutil.copyfile(suite.root / ".passmuster" / "history.sqlite3", kept)
    return kept


def _run(setting: Setting, suite: Suite, paths: Sequence[str]) -> RunRecord:
    measured, record = run_ours(
        setting,
        suite.root,
        interpreter=suite.interpreter,
        budget_bytes=suite.budget_bytes,
        options=suite.options,
        paths=paths,
    )
    if measured.exit_code != 0:
        bad = [file.path for file in record.final.values() if file.status != "PASS"]
        print(f"{suite.name}: exit status {measured.exit_code}: {', '.join(bad)}")
    return record


def _compare(setting: Setting, suite: Suite, history: Path, total: int) -> list[SplitRecord]:
    known = read_shared_history(history, origin="the benchmark").files
    tasks = _plan(suite, known, sorted(known))
    longest_s = max(task.predicted_s or 0.0 for task in tasks)
    splits = _splits(setting, suite, known, tasks, total)
    records = [
        SplitRecord(
            suite=suite.name,
            shards=total,
            way=way,
            files=tuple(map(len, split)),
            predicted_s=tuple(_predicted_s(suite, known, shard) for shard in split),
            longest_s=longest_s,
        )
        for way, split in splits.items()
    ]
    measured = {way: split for way, split in splits.items() if way in MEASURED}
    for _ in range(setting.rounds):
        # In turns, so that what else the machine does falls on all of them.
        times = {way: list[float]() for way in measured}
        for number in range(total):
            for way, split in measured.items():
                times[way].append(_real_s(setting, suite, history, split[number]))
        records = [
            replace(record, real_s=(*record.real_s, tuple(times[record.way])))
            if record.way in times
            else record
            for record in records
        ]
    _print(records)
    return records


def _plan(suite: Suite, known: Mapping[str, FileHistory], paths: Sequence[str]) -> list[TestTask]:
    """Return the files as a run of just them would start them, unchanged since the history was made."""
    files = [
        TestFile(path=path, label=path, size_bytes=known[path].size_bytes, mtime_ns=known[path].mtime_ns)
        for path in paths
    ]
    plan = make_plan(files, known, _config(suite), run_id="", slots=SLOTS, budget_bytes=suite.budget_bytes)
    return [planned.task for planned in plan.files]


def _config(suite: Suite) -> TestConfig:
    return TestConfig(memory_budget=Amount(size_bytes=suite.budget_bytes))


def _splits(
    setting: Setting, suite: Suite, known: Mapping[str, FileHistory], tasks: Sequence[TestTask], total: int
) -> dict[str, Split]:
    """Return every split by its name."""
    files = [TestFile(path=path, label=path, size_bytes=file.size_bytes) for path, file in known.items()]
    whole = select_shard(files, Shard(number=1, total=total), _config(suite), history=known).plan.whole
    paths = [path for path, _ in whole]
    seconds = {task.file_path: task.predicted_s or 0.0 for task in tasks}
    environments = setting.cache / "environments"
    return {
        OURS: [[path for path, number in whole if number == wanted] for wanted in range(1, total + 1)],
        COUNT: by_count(paths, total),
        "by hash": by_hash(paths, total),
        **{
            f"pytest-split, {algorithm}": by_pytest_split(
                seconds, total, algorithm=algorithm, environments=environments
            )
            for algorithm in PYTEST_SPLIT_ALGORITHMS
        },
    }


def _predicted_s(suite: Suite, known: Mapping[str, FileHistory], shard: Sequence[str]) -> float:
    forecast = simulate_run(_plan(suite, known, shard), slots=SLOTS, budget_bytes=suite.budget_bytes)
    return forecast.wall_s or 0.0


def _real_s(setting: Setting, suite: Suite, history: Path, shard: Sequence[str]) -> float:
    """Run a shard and return the seconds from its first event to its last."""
    if not shard:
        return 0.0
    forget_history(suite.root)
    (suite.root / ".passmuster").mkdir()
    shutil.copyfile(history, suite.root / ".passmuster" / "history.sqlite3")
    return _run(setting, suite, shard).duration_s


def _print(records: Sequence[SplitRecord]) -> None:
    rows = [
        [
            record.way,
            f"{min(record.files)}-{max(record.files)}",
            f"{max(record.predicted_s):.1f}",
            f"{record.predicted:.2f}",
            f"{record.predicted_to_least:.2f}",
            *((f"{record.slowest_s:.1f}", f"{record.real:.2f}") if record.real_s else ("-", "-")),
        ]
        for record in records
    ]
    first = records[0]
    title = (
        f"{first.suite}: {sum(first.files)} files in {first.shards} shards, longest {first.longest_s:.1f} s"
    )
    head = "split,files,predicted slowest s,x mean,x least,real slowest s,x mean"
    print_table(title, head.split(","), rows)
