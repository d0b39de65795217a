"""`machine`: several runs at once on one machine, ours against as many `pytest -n auto`.

Three questions: what it takes until all of 1, 2 and 4 runs of a real suite are done, against the same runs
one after the other; how long a small suite takes beside 1, 3 and 7 long runs; and whether 4 runs that grow
at once stay within a control group of 1 GiB. Only ratios mean something where other programs run too.
"""

from __future__ import annotations

import shlex
import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from benchmarks.commands.setting import GIB, Setting, fresh_suite
from benchmarks.measure import Measured, measure, plain_environment
from benchmarks.ours import our_command
from benchmarks.suites import growing, sdists, trivial, working
from benchmarks.tables import print_table, write_json

RUNS_AT_ONCE = (1, 2, 4)
LONG_RUNS = (1, 3, 7)
SMALL_FILES = 11
WORKING_FILES = 200
GROWING_RUNS = 4
LIMIT_BYTES = GIB

XDIST = "pytest-xdist==3.8.0"

SAMPLE_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class AtOnce:
    """Some runs of one suite at once.

    Args:
        runner: `ours` or `xdist`.
        suite: which.
        runs: how many.
        wall_s: seconds until all were done.
        serial_s: seconds that the same runs took one after the other.
        mean_s: seconds until a run was done, on average.
        fairness: Jain's index of the runs' speeds: 1 where all took the same, 1 / runs where one had
            everything.
        peak_bytes: the most memory of all.
        runnable: the most processes that wanted a processor at once, on the whole machine.
        oom_kills: processes that the kernel killed for want of memory; None: not known.
        failed: runs that did not end with exit status 0.
    """

    runner: str
    suite: str
    runs: int
    wall_s: float
    serial_s: float
    mean_s: float
    fairness: float
    peak_bytes: int
    runnable: int
    oom_kills: int | None
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A small suite beside long runs.

    Args:
        long_runs: how many.
        alone_s: what the small suite takes alone.
        beside_s: what it takes beside them.
        fair_s: what it takes alone with its fair share of the processors.
    """

    long_runs: int
    alone_s: float
    beside_s: float
    fair_s: float


Commands = Callable[[Path], list[str]]
"""Returns the command that runs a copy of a suite in a folder."""


@dataclass(slots=True)
class _Load:
    """The most processes that wanted a processor at once, sampled by a thread."""

    most: int = 0
    done: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        while not self.done.wait(SAMPLE_S):
            for line in Path("/proc/stat").read_text().splitlines():
                if line.startswith("procs_running"):
                    self.most = max(self.most, int(line.split()[1]))


def run(setting: Setting) -> bool:
    """Measure and print; return whether our small suite never took more than twice its fair time."""
    suite = sdists.write_suite(
        setting.cache / "suites" / "machine", sdists.JINJA2, added=(XDIST,), environment="xdist"
    )
    options = setting.ours_options

    def ours(root: Path) -> list[str]:
        words = ["--runner", "pytest", "--no-history", *options]
        return our_command(
            root,
            interpreter=suite.interpreter,
            events=root / "events.jsonl",
            options=words,
            paths=suite.files,
        )

    def xdist(root: Path) -> list[str]:
        return [str(suite.interpreter), "-m", "pytest", "-q", "-n", "auto", *suite.files]

    records: list[AtOnce] = []
    for name, command in (("ours", ours), ("xdist", xdist)):
        serial_s = _serial(setting, suite.root, command)
        records += [
            _at_once(setting, name, suite.name, suite.root, command, count, serial_s=serial_s)
            for count in RUNS_AT_ONCE
        ]
    records += _growing(setting, suite.interpreter)
    beside = [_beside(setting, count) for count in LONG_RUNS]
    _print(records, beside)
    write_json(setting.output, "machine", [*records, *beside])
    return all(one.beside_s <= 2 * one.fair_s for one in beside)


def _growing(setting: Setting, interpreter: Path) -> list[AtOnce]:
    """Return what several runs that grow at once do within a control group of 1 GiB; nothing without one."""
    root = fresh_suite(setting.cache / "suites" / "growing")
    growing.write_suite(root)

    def ours(folder: Path) -> list[str]:
        words = ["--no-history", "--runner", "unittest", *setting.ours_options]
        return our_command(folder, interpreter=interpreter, events=folder / "events.jsonl", options=words)

    def xdist(folder: Path) -> list[str]:
        return [str(interpreter), "-m", "pytest", "-q", "-n", "auto", "tests"]

    found = []
    for name, command in (("ours", ours), ("xdist", xdist)):
        serial_s = _serial(setting, root, command)
        try:
            one = _at_once(
                setting,
                name,
                "growing in 1 GiB",
                root,
                command,
                GROWING_RUNS,
                serial_s=serial_s,
                limit_bytes=LIMIT_BYTES,
            )
        except RuntimeError as error:
            print(f"growing: {error}")
        else:
            found.append(one)
    return found


def _serial(setting: Setting, root: Path, command: Commands) -> float:
    """Return the seconds that one run takes: the best of the rounds, after one that fills caches."""
    times = []
    for _ in range(setting.rounds + 1):
        (copy,) = _copies(setting, root, 1)
        times.append(_measure(setting, [(copy, command(copy))]).wall_s)
    return min(times[1:])


def _at_once(
    setting: Setting,
    runner: str,
    suite: str,
    root: Path,
    command: Commands,
    count: int,
    *,
    serial_s: float,
    limit_bytes: int | None = None,
) -> AtOnce:
    """Measure some runs at once, as often as the rounds say; return the round with the least wall time."""
    rounds = []
    for _ in range(setting.rounds):
        copies = _copies(setting, root, count)
        load = _Load()
        watcher = threading.Thread(target=load.watch)
        watcher.start()
        began_at = time.time()
        try:
            measured = _measure(setting, [(copy, command(copy)) for copy in copies], limit_bytes=limit_bytes)
        finally:
            load.done.set()
            watcher.join()
        ends = [_end_of(copy) for copy in copies]
        took = [max(0.001, at - began_at) for at, _ in ends]
        speeds = [1 / seconds for seconds in took]
        rounds.append(
            AtOnce(
                runner=runner,
                suite=suite,
                runs=count,
                wall_s=measured.wall_s,
                serial_s=serial_s * count,
                mean_s=sum(took) / count,
                fairness=sum(speeds) ** 2 / (count * sum(speed**2 for speed in speeds)),
                peak_bytes=measured.peak_bytes,
                runnable=load.most,
                oom_kills=measured.oom_kills,
                failed=sum(status != 0 for _, status in ends),
            )
        )
    return min(rounds, key=lambda record: record.wall_s)


def _copies(setting: Setting, root: Path, count: int) -> list[Path]:
    """Return fresh copies of a suite, one for each run."""
    place = setting.work / "machine"
    shutil.rmtree(place, ignore_errors=True)
    return [Path(shutil.copytree(root, place / str(number), symlinks=True)) for number in range(count)]


def _measure(
    setting: Setting, runs: Sequence[tuple[Path, list[str]]], *, limit_bytes: int | None = None
) -> Measured:
    """Run some commands at once, each in its folder, where it leaves when it ended and how."""
    parts = [
        f"(cd {shlex.quote(str(folder))}; {shlex.join(command)} > run.log 2>&1;"
        f' s=$?; echo "$(date +%s.%N) $s" > run.end) &'
        for folder, command in runs
    ]
    return measure(
        ["bash", "-c", f"{' '.join(parts)} wait"],
        cwd=setting.work,
        environment=plain_environment(),
        output=setting.work / "machine.log",
        limit_bytes=limit_bytes,
    )


def _end_of(folder: Path) -> tuple[float, int]:
    """Return when the run in a folder ended, in Unix seconds, and its exit status."""
    at, status = (folder / "run.end").read_text().split()
    return float(at), int(status)


def _beside(setting: Setting, long_runs: int) -> Beside:
    """Measure the small suite alone, and beside runs that keep all processors busy."""
    small = fresh_suite(setting.cache / "suites" / "small")
    trivial.write_suite(small, files=SMALL_FILES)
    long = fresh_suite(setting.cache / "suites" / "working")
    working.write_suite(long, files=WORKING_FILES)
    interpreter = Path(sys.executable)

    def command(root: Path) -> list[str]:
        words = ["--no-history", "--runner", "unittest", *setting.ours_options]
        return our_command(root, interpreter=interpreter, events=root / "events.jsonl", options=words)

    alone_s = _serial(setting, small, command)
    copies = _copies(setting, long, long_runs)
    lines = " ".join(
        f'(cd {shlex.quote(str(copy))}; exec {shlex.join(command(copy))} > run.log 2>&1) & pids="$pids $!";'
        for copy in copies
    )
    timing = setting.work / "beside.json"
    once = f"{shlex.join(command(small))} > /dev/null 2>&1"
    times = "; ".join(f"date +%s.%N; {once}" for _ in range(setting.rounds))
    script = f"{lines} sleep 4; ({times}; date +%s.%N) > {shlex.quote(str(timing))}; kill -INT $pids; wait"
    measure(
        ["bash", "-c", script],
        cwd=setting.work,
        environment=plain_environment(),
        output=setting.work / "machine.log",
    )
    instants = [float(line) for line in timing.read_text().split()]
    beside_s = min(after - before for before, after in pairwise(instants))
    # Half of a machine for two runs; each further one leaves less to each.
    return Beside(long_runs=long_runs, alone_s=alone_s, beside_s=beside_s, fair_s=alone_s * (long_runs + 1))


def _print(records: Sequence[AtOnce], beside: Sequence[Beside]) -> None:
    head = ["suite and runner", "runs", "all done", "one by one", "ratio", "mean", "fairness", "MiB"]
    rows = [
        [
            f"{one.suite}, {one.runner}",
            str(one.runs),
            f"{one.wall_s:.1f} s",
            f"{one.serial_s:.1f} s",
            f"{one.wall_s / one.serial_s:.2f}",
            f"{one.mean_s:.1f} s",
            f"{one.fairness:.2f}",
            f"{one.peak_bytes / 1024**2:.0f}",
            str(one.runnable),
            "-" if one.oom_kills is None else str(one.oom_kills),
            str(one.failed),
        ]
        for one in records
    ]
    print_table("machine: several runs at once", [*head, "runnable", "OOM kills", "failed"], rows)
    rows = [
        [str(one.long_runs), f"{one.alone_s:.2f} s", f"{one.beside_s:.2f} s", f"{one.fair_s:.2f} s"]
        for one in beside
    ]
    print_table(
        f"machine: {SMALL_FILES} small files beside long runs", ["long runs", "alone", "beside", "fair"], rows
    )
