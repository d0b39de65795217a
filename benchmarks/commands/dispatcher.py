"""`dispatcher`: the CPU time that the dispatcher itself needs for each file, and what follows on many cores.

Measured here: runs whose files end without a process (`benchmarks.instant_run`), so that nothing but the
dispatcher is left. Calculated from that: how long a run of 10,000 files takes on more cores than this machine
has. The schedule is simulated. The other bound is the CPU time of the run's process, which runs one thread at
a time: that of the dispatcher, with workers elsewhere, or of the dispatcher and the local pool.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.commands.setting import GIB, Setting, forget_history, fresh_suite
from benchmarks.instant_run import REAL, InstantRun
from benchmarks.measure import plain_environment
from benchmarks.ours import REPOSITORY
from benchmarks.suites import trivial
from benchmarks.tables import median, print_table, write_json
from dispatcher.config.model import TestConfig
from dispatcher.history.file_history import FileHistory
from dispatcher.model.plan import TestFile
from dispatcher.model.usage_stats import UsageStats
from dispatcher.planning.planner import make_plan
from dispatcher.planning.simulation import simulate_plan
from passmuster.host.capacity import Capacity

MAX_FILE_S = 0.002
"""CPU seconds for each file that the dispatcher may need, in the largest run."""

FILES = (1_000, 10_000)
SLOTS = (2, 16, 64, 128)
RATE = 1_000
"""Files that end in a second while all slots are taken: each takes its slot for `slots / RATE` seconds."""

REAL_FILES = 300
"""Files whose tests do run."""

FILE_SECONDS = (0.1, 1.0)
"""Mean seconds of a file in the runs that are calculated."""

BYTES_PER_SLOT = 2 * GIB


def run(setting: Setting) -> bool:
    """Measure, calculate and print; return whether every file passed and the dispatcher keeps its limit."""
    records: list[InstantRun] = []
    for _ in range(setting.rounds):
        for files in FILES:
            root = fresh_suite(setting.cache / "suites" / "dispatcher")
            trivial.write_suite(root, files=files)
            for slots in SLOTS:
                forget_history(root)
                records += [_run(setting, root, slots, str(slots / RATE)) for _ in ("first", "second")]
        root = fresh_suite(setting.cache / "suites" / "dispatcher")
        trivial.write_suite(root, files=REAL_FILES)
        records += [_run(setting, root, len(os.sched_getaffinity(0)), REAL) for _ in ("first", "second")]
    _print_measured(records)
    _print_calculated(records)
    write_json(setting.output, "dispatcher", records)
    instant = [record for record in records if record.file_s is not None]
    is_quick = all(_file_cpu_s(instant, max(FILES), slots) <= MAX_FILE_S for slots in SLOTS)
    return is_quick and all(record.passed == record.files for record in records)


def _run(setting: Setting, root: Path, slots: int, file_s: str) -> InstantRun:
    """Run the suite once in a process of its own, whose report goes through a pipe."""
    report = setting.work / "dispatcher.json"
    subprocess.run(
        [sys.executable, "-m", "benchmarks.instant_run", str(root), str(slots), file_s, str(report)],
        cwd=REPOSITORY,
        env=plain_environment(),
        stdout=subprocess.PIPE,
        check=True,
    )
    return InstantRun(**json.loads(report.read_text()))


def _file_cpu_s(records: Sequence[InstantRun], files: int, slots: int) -> float:
    """Return the median CPU seconds for each file of such runs."""
    return median([one.file_cpu_s for one in records if (one.files, one.slots) == (files, slots)])


def _print_measured(records: Sequence[InstantRun]) -> None:
    rows: list[list[str]] = []
    for key in dict.fromkeys((one.files, one.slots, one.file_s) for one in records):
        mine = [one for one in records if (one.files, one.slots, one.file_s) == key]
        files, slots, file_s = key
        parts = ([one.prepare_s for one in mine], [one.run_s for one in mine], [one.end_s for one in mine])
        rows.append(
            [
                f"{files:,} files, {slots} slots{', tests run' if file_s is None else ''}",
                *(f"{median(part) * 1e3 / files:.2f}" for part in parts),
                f"{median([one.file_cpu_s for one in mine]) * 1e3:.2f}",
                f"{files / median([one.wall_s for one in mine]):,.0f}",
                f"{max(one.peak_bytes for one in mine) / 1e6:.0f}",
            ]
        )
    head = "run,before ms,run ms,after ms,all ms,files a second,MB"
    print_table("dispatcher: CPU milliseconds of this process for each file", head.split(","), rows)


def _print_calculated(records: Sequence[InstantRun]) -> None:
    rows: list[list[str]] = []
    files = max(FILES)
    pool_s = files * median([one.file_cpu_s for one in records if one.file_s is None])
    for mean_s in FILE_SECONDS:
        for slots in SLOTS:
            tests_s = simulated_s(files, slots, mean_s=mean_s)
            own_s = files * _file_cpu_s(records, files, slots)
            rows.append(
                [
                    f"{files:,} files of {mean_s:g} s, {slots} slots",
                    f"{tests_s:,.0f}",
                    f"{own_s:,.0f}",
                    f"{pool_s:,.0f}",
                    f"{max(tests_s, own_s) / tests_s:.2f}",
                    f"{max(tests_s, pool_s) / tests_s:.2f}",
                ]
            )
    head = "run,tests s,dispatcher s,with pool s,x tests,with pool x tests"
    print_table("dispatcher: on as many cores as slots, simulated", head.split(","), rows)


def simulated_s(files: int, slots: int, *, mean_s: float, seed: int = 1) -> float:
    """Return the simulated seconds of a run with history, for files of log-normal duration."""
    chance = random.Random(seed)
    drawn = [chance.lognormvariate(0.0, 1.0) for _ in range(files)]
    seconds = [one * mean_s * files / sum(drawn) for one in drawn]
    found = [TestFile(path=f"test_{number}.py", label=f"test_{number}.py") for number in range(files)]
    known = {
        file.path: FileHistory(
            path=file.path, spawned=UsageStats(duration_s=one, cpu_s=one, peak_bytes=GIB // 8, runs=1)
        )
        for file, one in zip(found, seconds, strict=True)
    }
    budget_bytes = slots * BYTES_PER_SLOT
    plan = make_plan(
        found, known, TestConfig(root=Path("/")), run_id="", slots=slots, budget_bytes=budget_bytes
    )
    capacity = Capacity(slots=slots, budget_bytes=budget_bytes, total_bytes=budget_bytes, limits=())
    return simulate_plan(plan, capacity).wall_s or 0.0
