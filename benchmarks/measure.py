"""Runs one command and measures the whole tree of its processes: wall time, CPU time, peak memory.

Memory is that of a memory cgroup of its own where one can be made (v1 or v2), else sampled PSS. What counts
is anonymous and shared memory; pages of files on disk, which the kernel can drop, do not. A sampled peak can
miss what lives for less than `SAMPLE_S`; the kernel's own high-water mark, which cannot, is given beside it
and is an upper bound, because it counts the page cache too.

`benchmarks.control_group` makes the groups, `benchmarks.process_memory` reads single processes.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.control_group import ControlGroup, make_group
from benchmarks.process_memory import anonymous_bytes, children, count_runnable, proportional_bytes, tree

LINGER_S = 0.25
"""How long processes may outlive the command, as the helpers of `multiprocessing` do by milliseconds."""

SAMPLE_S = 0.01
"""Seconds between two samples of a cgroup; reading one takes about 0.1 ms."""

SAMPLE_PSS_S = 0.05
"""Seconds between two samples of PSS, which costs milliseconds for each GB."""

SAMPLE_RUNNABLE_S = 0.1
"""Seconds between two counts of the processes that want a processor, which reads a file for each process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a command took.

    Args:
        exit_code: as `subprocess` has it: negative for a signal.
        wall_s: seconds from its start until it was reaped.
        cpu_s: CPU seconds of its whole tree.
        peak_bytes: the most memory of its whole tree, sampled.
        tests_peak_bytes: the same without the runner itself and its direct children (its supervisors); None
            where the command is no runner of ours.
        own_peak_bytes: the most that the runner and its supervisors used; None as above.
        kernel_peak_bytes: the kernel's high-water mark, page cache included; None without a cgroup.
        over_budget_bytes: how far `tests_peak_bytes` went over the budget at worst; 0: never.
        over_budget_s: for how many seconds it was over, in all.
        longest_over_s: the longest such time at a stretch.
        oom_kills: processes that the kernel killed for want of memory; None without a cgroup.
        memory_source: where the memory was read.
        survivors: processes that were still there when the command had ended; they were killed.
        peak_processes: the most processes at once, sampled.
        mean_runnable: processes that ran or wanted a processor, on average.
        timed_out: whether it was killed because it took too long.
    """

    exit_code: int
    wall_s: float
    cpu_s: float
    peak_bytes: int
    tests_peak_bytes: int | None
    own_peak_bytes: int | None
    kernel_peak_bytes: int | None
    over_budget_bytes: int
    over_budget_s: float
    longest_over_s: float
    oom_kills: int | None
    memory_source: str
    survivors: int
    peak_processes: int
    mean_runnable: float
    timed_out: bool


@dataclass(slots=True)
class _Samples:
    """What one thread saw while the command ran."""

    peak_bytes: int = 0
    tests_peak_bytes: int = 0
    own_peak_bytes: int = 0
    over_bytes: int = 0
    over_s: float = 0.0
    longest_over_s: float = 0.0
    over_since_s: float | None = None
    processes: int = 1
    runnable: list[int] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)


def measure(
    command: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    output: Path,
    budget_bytes: int | None = None,
    limit_bytes: int | None = None,
    timeout_s: float | None = None,
    with_memory: bool = True,
) -> Measured:
    """Run `command` to its end and return what it took.

    Args:
        command: the command line.
        cwd: its working directory.
        environment: its whole environment.
        output: the file for its stdout and stderr.
        budget_bytes: what the tests of a runner of ours may use; None: the command is no runner of ours.
        limit_bytes: hard limit of the cgroup; None: none.
        timeout_s: seconds after which all of it is killed; None: it may take as long as it likes.
        with_memory: whether to sample memory, which takes CPU time from what runs on a busy machine.

    Raises:
        RuntimeError: a hard limit is wanted and no cgroup can be made.
    """
    group = make_group(limit_bytes=limit_bytes)
    if group is None and limit_bytes is not None:
        raise RuntimeError("a hard limit needs a memory cgroup that can be written: run as root")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    samples = _Samples()
    try:
        with output.open("wb") as log:
            joined = list(command) if group is None else [*group.joining_command(), *command]
            start_s = time.perf_counter()
            with subprocess.Popen(
                joined, cwd=cwd, env=dict(environment), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            ) as process:
                sampler = threading.Thread(target=_sample, args=(process.pid, group, budget_bytes, samples))
                if with_memory:
                    sampler.start()
                try:
                    timed_out = _wait(process, group, timeout_s)
                    wall_s = time.perf_counter() - start_s
                except BaseException:
                    # Else nobody would end what is measured, and the `with` above would wait for it.
                    _kill(process, group)
                    raise
                finally:
                    samples.done.set()
                    if with_memory:
                        sampler.join()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Measured(
            exit_code=process.returncode,
            wall_s=wall_s,
            cpu_s=cpu_s if group is None or group.cpu_s() is None else group.cpu_s() or 0.0,
            peak_bytes=samples.peak_bytes,
            tests_peak_bytes=None if budget_bytes is None else samples.tests_peak_bytes,
            own_peak_bytes=None if budget_bytes is None else samples.own_peak_bytes,
            kernel_peak_bytes=None if group is None else group.kernel_peak_bytes(),
            over_budget_bytes=samples.over_bytes,
            over_budget_s=samples.over_s,
            longest_over_s=samples.longest_over_s,
            oom_kills=None if group is None else group.oom_kills(),
            memory_source="sampled PSS" if group is None else group.name,
            survivors=0 if group is None else _survivors(group),
            peak_processes=samples.processes,
            mean_runnable=sum(samples.runnable) / max(1, len(samples.runnable)),
            timed_out=timed_out,
        )
    finally:
        if group is not None:
            group.remove()


def _wait(process: subprocess.Popen[bytes], group: ControlGroup | None, timeout_s: float | None) -> bool:
    """Wait for a command; kill its whole tree if that takes too long, and return whether it did."""
    # `Popen.wait` with a timeout looks every 50 ms, which a short run would be charged with.
    descriptor = os.pidfd_open(process.pid)
    try:
        has_ended, _, _ = select.select([descriptor], [], [], timeout_s)
    finally:
        os.close(descriptor)
    if not has_ended:
        _kill(process, group)
        return True
    process.wait()
    return False


def _survivors(group: ControlGroup) -> int:
    """Return how many processes a command has left behind, but for those that are about to end."""
    deadline = time.monotonic() + LINGER_S
    while (left := len(group.pids())) and time.monotonic() < deadline:
        time.sleep(SAMPLE_S)
    return left


def _kill(process: subprocess.Popen[bytes], group: ControlGroup | None) -> None:
    """Kill a command with its whole tree, and reap it."""
    while process.poll() is None:
        for pid in tree(process.pid) if group is None else group.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(SAMPLE_S)


def plain_environment() -> dict[str, str]:
    """Return this process's environment without what would change how tests run or what bytecode costs."""
    unwanted = ("PASSMUSTER", "PYTEST", "PYTHON", "COVERAGE", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}


def _sample(pid: int, group: ControlGroup | None, budget_bytes: int | None, samples: _Samples) -> None:
    """Take samples until the command has ended."""
    last_s = runnable_at_s = time.perf_counter()
    while not samples.done.wait(SAMPLE_S if group is not None else SAMPLE_PSS_S):
        pids = tree(pid) if group is None else group.pids()
        used_bytes = proportional_bytes(pids) if group is None else group.used_bytes()
        samples.processes = max(samples.processes, len(pids))
        now_s = time.perf_counter()
        if now_s - runnable_at_s >= SAMPLE_RUNNABLE_S:
            runnable_at_s = now_s
            samples.runnable.append(count_runnable(pids))
        samples.peak_bytes = max(samples.peak_bytes, used_bytes)
        if budget_bytes is not None:
            own_bytes = anonymous_bytes([pid, *children(pid)])
            samples.own_peak_bytes = max(samples.own_peak_bytes, own_bytes)
            _note_tests(samples, used_bytes - own_bytes, budget_bytes, now_s=now_s, since_s=last_s)
        last_s = now_s


def _note_tests(
    samples: _Samples, tests_bytes: int, budget_bytes: int, *, now_s: float, since_s: float
) -> None:
    """Take note of what the tests used at one moment."""
    samples.tests_peak_bytes = max(samples.tests_peak_bytes, tests_bytes)
    if tests_bytes <= budget_bytes:
        samples.over_since_s = None
        return
    samples.over_bytes = max(samples.over_bytes, tests_bytes - budget_bytes)
    samples.over_s += now_s - since_s
    if samples.over_since_s is None:
        samples.over_since_s = since_s
    samples.longest_over_s = max(samples.longest_over_s, now_s - samples.over_since_s)
