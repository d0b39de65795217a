"""`machine`: several runs at once on one machine, of Passmuster and of `pytest -n auto`.

Three questions: what it takes until 1, 2, 4 and 8 runs of a real suite have ended, against as many one after
the other; whether 4 runs that need more memory than there is stay within a control group of 4 GiB; and how
long a small suite takes beside 1, 3 and 7 long runs. Both runners take turns in everything. What the figures
mean is in `benchmarks.machine.model`; ratios of the same round say more than seconds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands.setting import GIB, Setting, fresh_suite
from benchmarks.control_group import ControlGroup, make_group
from benchmarks.environments import ensure_environment
from benchmarks.machine.chart import draw_chart
from benchmarks.machine.model import OURS, RUNNERS, XDIST, AtOnce, Beside, read_figures
from benchmarks.machine.summary import misses, page
from benchmarks.measure import Measured, measure, plain_environment
from benchmarks.ours import our_command
from benchmarks.suites import heavy, packages, trivial, working
from benchmarks.tables import write_json

RUNS_AT_ONCE = (1, 2, 4, 8)
SUITES = (packages.CLICK, packages.MARSHMALLOW, packages.WERKZEUG)

LIMIT_BYTES = 4 * GIB
LIMITED_RUNS = 4
HEAVY_FILES = 24
"""Of these, four take over 1 GiB each: they take about 10 GiB together."""

LONG_RUNS = (1, 3, 7)
SMALL_FILES = 11
WORKING_FILES = 200
SMALL_TIMES = 3
"""How often the small suite runs beside the same long runs; the round counts that took least."""

BUDGET_SHARE = 0.8
"""Of what the machine can give: the default of `--machine-memory`."""

XDIST_REQUIREMENT = "pytest-xdist==3.8.0"
TIMEOUT_S = 900.0
BEGIN_S = 180.0
END_S = 20.0
"""Seconds within which long runs must have begun, and end when they are interrupted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A suite and how each runner runs a copy of it.

    Args:
        name: for people.
        root: where it is.
        commands: returns the command of each runner for a folder.
    """

    name: str
    root: Path
    commands: dict[str, Callable[[Path], list[str]]]


def run(setting: Setting) -> bool:
    """Measure and print; return whether what is demanded of ours holds (`benchmarks.machine.summary`)."""
    records: list[AtOnce | Beside] = []
    output = setting.output or setting.work / "machine.json"
    wanted = setting.only or ("at-once", "limited", "beside")
    parts = (
        ("at-once", lambda: _at_once_round(setting)),
        ("limited", lambda: _limited_round(setting)),
        ("beside", lambda: _beside_round(setting)),
    )
    for number in range(setting.rounds):
        for name, measured in parts:
            if name not in wanted:
                continue
            for record in measured():
                print(f"round {number + 1}: {record}", flush=True)
                records.append(record)
                write_json(output, "machine", records)
    figures = read_figures(output)
    print(page(figures))
    output.with_suffix(".svg").write_text(draw_chart(figures))
    found = misses(figures)
    print("\n".join(found))
    return not found


def _at_once_round(setting: Setting) -> Iterator[AtOnce]:
    """Yield one measurement of each suite, number of runs and runner."""
    for suite in _real_suites(setting):
        for count in RUNS_AT_ONCE:
            for runner in RUNNERS:
                before, together, after = (
                    _at_once(setting, suite, runner, number) for number in (1, count, 1)
                )
                # What else runs on the machine changes meanwhile: the runs alone enclose those together.
                serial_s = (before.wall_s + after.wall_s) / 2 * count
                alone_cpu_s = (before.cpu_s + after.cpu_s) / 2
                yield dataclasses.replace(together, serial_s=serial_s, alone_cpu_s=alone_cpu_s)


def _limited_round(setting: Setting) -> Iterator[AtOnce]:
    """Yield what runs that need more than a control group's memory do in it."""
    requirements = (*heavy.REQUIREMENTS, "pytest<9.1", XDIST_REQUIREMENT)
    interpreter = ensure_environment(setting.cache / "environments" / "machine-heavy", requirements)
    root = fresh_suite(setting.cache / "suites" / "machine-heavy")
    heavy.write_suite(root, files=HEAVY_FILES, seed=setting.seed)
    suite = _suite(setting, "heavy", root, interpreter, ("tests",), runner="unittest")
    for runner in RUNNERS:
        yield _at_once(setting, suite, runner, LIMITED_RUNS, limit_bytes=LIMIT_BYTES)


def _beside_round(setting: Setting) -> Iterator[Beside]:
    """Yield one measurement of the small suite for each number of long runs and each runner."""
    interpreter = ensure_environment(
        setting.cache / "environments" / "machine-small", ("pytest<9.1", XDIST_REQUIREMENT)
    )
    roots = [fresh_suite(setting.cache / "suites" / f"machine-{name}") for name in ("small", "long")]
    trivial.write_suite(roots[0], files=SMALL_FILES)
    working.write_suite(roots[1], files=WORKING_FILES)
    small, long = (
        _suite(setting, root.name, root, interpreter, ("tests",), runner="unittest") for root in roots
    )
    for count in LONG_RUNS:
        for runner in RUNNERS:
            yield _beside(setting, small, long, runner, count)


def _real_suites(setting: Setting) -> Iterator[Suite]:
    for package in SUITES:
        source = packages.write_suite(
            setting.cache / "suites" / "machine", package, added=(XDIST_REQUIREMENT,), environment="xdist"
        )
        yield _suite(setting, package.name, source.root, source.interpreter, source.files, runner="pytest")


def _suite(
    setting: Setting, name: str, root: Path, interpreter: Path, files: Sequence[str], *, runner: str
) -> Suite:
    """Return a suite with its commands; our runs meet in a folder of their own, where no others are."""
    pool = setting.work / "machine-pool"
    pool.mkdir(mode=0o700, exist_ok=True)
    words = ("--no-history", "--runner", runner, "--machine-folder", str(pool), *setting.ours_options)

    def ours(folder: Path) -> list[str]:
        events = folder / "events.jsonl"
        return our_command(folder, interpreter=interpreter, events=events, options=words, paths=files)

    def xdist(_folder: Path) -> list[str]:
        return [str(interpreter), "-m", "pytest", "-n", "auto", *files]

    return Suite(name=name, root=root, commands={OURS: ours, XDIST: xdist})


def _at_once(
    setting: Setting,
    suite: Suite,
    runner: str,
    count: int,
    *,
    limit_bytes: int | None = None,
) -> AtOnce:
    """Measure some runs that start together."""
    load, available_bytes = os.getloadavg()[0], _available_bytes()
    began_at = time.time()
    measured, folders = _measure(setting, suite, runner, count, limit_bytes=limit_bytes)
    ends = [_end_of(folder) for folder in folders]
    took = [max(0.001, at - began_at) for at, _ in ends]
    speeds = [1 / seconds for seconds in took]
    return AtOnce(
        runner=runner,
        suite=suite.name,
        runs=count,
        wall_s=measured.wall_s,
        serial_s=None,
        mean_s=sum(took) / count,
        cpu_s=measured.cpu_s,
        alone_cpu_s=None,
        fairness=sum(speeds) ** 2 / (count * sum(speed**2 for speed in speeds)),
        peak_bytes=measured.peak_bytes,
        budget_bytes=int(BUDGET_SHARE * min(available_bytes, limit_bytes or available_bytes)),
        limit_bytes=limit_bytes,
        runnable=measured.mean_runnable,
        load=load,
        oom_kills=measured.oom_kills,
        failed=sum(status != 0 for _, status in ends),
    )


def _measure(
    setting: Setting,
    suite: Suite,
    runner: str,
    count: int,
    *,
    limit_bytes: int | None = None,
) -> tuple[Measured, list[Path]]:
    """Run some copies of a suite at once; return their folders, too, which say when each ended and how."""
    folders = _copies(setting, suite.root, count)
    parts = [
        f"(cd {shlex.quote(str(folder))}; {shlex.join(suite.commands[runner](folder))} > run.log 2>&1;"
        f' s=$?; echo "$(date +%s.%N) $s" > run.end) &'
        for folder in folders
    ]
    measured = measure(
        ["bash", "-c", f"{' '.join(parts)} wait"],
        cwd=setting.work,
        environment=plain_environment(),
        output=setting.work / "machine.log",
        limit_bytes=limit_bytes,
        timeout_s=TIMEOUT_S,
    )
    return measured, folders


def _copies(setting: Setting, root: Path, count: int, *, name: str = "machine") -> list[Path]:
    """Return fresh copies of a suite, one for each run."""
    place = setting.work / name
    shutil.rmtree(place, ignore_errors=True)
    return [Path(shutil.copytree(root, place / str(number), symlinks=True)) for number in range(count)]


def _end_of(folder: Path) -> tuple[float, int]:
    """Return when the run in a folder ended, in Unix seconds, and its exit status; 1 where it was killed."""
    try:
        at, status = (folder / "run.end").read_text().split()
    except FileNotFoundError:
        return time.time(), 1
    return float(at), int(status)


def _available_bytes() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/meminfo does not say what is available")


@dataclass(frozen=True, slots=True, kw_only=True)
class _SmallRun:
    """One run of the small suite, as `Beside` has it."""

    wall_s: float
    busy_cpus: float
    start_s: float | None
    first_file_s: float | None
    failed: bool


def _beside(setting: Setting, small: Suite, long: Suite, runner: str, count: int) -> Beside:
    """Measure the small suite alone, and then while long runs go on."""
    alone = [_measure(setting, small, runner, 1)[0] for _ in range(SMALL_TIMES)]
    best = min(alone, key=lambda measured: measured.wall_s)
    load, group = os.getloadavg()[0], make_group(limit_bytes=None)
    with ExitStack() as stack:
        if group is not None:
            stack.callback(group.remove)
        for folder in _copies(setting, long.root, count, name="machine-long"):
            stack.callback(_end, _start(long, runner, folder, group))
            _wait_until_it_works(folder, runner)
        times = [_run_small(setting, small, runner, group) for _ in range(SMALL_TIMES)]
    least = min(times, key=lambda one: one.wall_s)
    return Beside(
        runner=runner,
        long_runs=count,
        wall_s=least.wall_s,
        alone_s=best.wall_s,
        alone_cpu_s=best.cpu_s,
        busy_cpus=least.busy_cpus,
        start_s=least.start_s,
        first_file_s=least.first_file_s,
        load=load,
        failed=any(one.failed for one in times),
    )


def _run_small(setting: Setting, suite: Suite, runner: str, group: ControlGroup | None) -> _SmallRun:
    """Run the small suite once, while long runs go on in the same control group."""
    (folder,) = _copies(setting, suite.root, 1)
    began_at, began_s, began_cpu_s = time.time(), time.perf_counter(), _cpu_s(group)
    failed = _start(suite, runner, folder, group).wait() != 0
    wall_s, cpu_s = time.perf_counter() - began_s, _cpu_s(group)
    busy_cpus = float(len(os.sched_getaffinity(0)))
    if cpu_s is not None and began_cpu_s is not None:
        busy_cpus = (cpu_s - began_cpu_s) / wall_s
    run_at, first_file_s = _event_at_s(folder, "run-started"), _event_at_s(folder, "file-started")
    return _SmallRun(
        wall_s=wall_s,
        busy_cpus=busy_cpus,
        start_s=None if run_at is None else run_at - began_at,
        first_file_s=first_file_s,
        failed=failed,
    )


def _cpu_s(group: ControlGroup | None) -> float | None:
    return None if group is None else group.cpu_s()


def _start(suite: Suite, runner: str, folder: Path, group: ControlGroup | None) -> subprocess.Popen[bytes]:
    """Start a run in a session and, where there is one, a control group of its own."""
    joining = [] if group is None else group.joining_command()
    with (folder / "run.log").open("wb") as log:
        return subprocess.Popen(
            [*joining, *suite.commands[runner](folder)],
            cwd=folder,
            env=plain_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Interrupt a run, and kill its session if that does not end it."""
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(END_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _wait_until_it_works(folder: Path, runner: str) -> None:
    """Wait until a long run's first test has begun."""
    deadline_s = time.monotonic() + BEGIN_S
    while time.monotonic() < deadline_s:
        if runner == OURS and _event_at_s(folder, "file-started") is not None:
            return
        # xdist prints how many workers it has when they start with the tests.
        if runner == XDIST and b"workers [" in (folder / "run.log").read_bytes():
            return
        time.sleep(0.05)
    raise RuntimeError(f"the long run in {folder} has not begun: {(folder / 'run.log').read_text()}")


def _event_at_s(folder: Path, name: str) -> float | None:
    """Return when the first event of a name came: seconds of the run; of `run-started` the Unix time."""
    with contextlib.suppress(OSError):
        for line in (folder / "events.jsonl").read_text().splitlines():
            with contextlib.suppress(ValueError):  # The last line may not be whole yet.
                event = json.loads(line)
                if event["event"] == name:
                    return float(event["started_at"] if name == "run-started" else event["at_s"])
    return None
