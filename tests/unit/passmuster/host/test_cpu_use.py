"""How many processors are busy, read from procfs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from passmuster.host.cpu_use import WINDOW_S, CpuMeter, machine_cpu_s, run_cpu_s, tree_cpu_s
from passmuster.host.host_resources import usable_cpus

TICKS = os.sysconf("SC_CLK_TCK")


def write_stat(proc: Path, pid: int, *times_s: float) -> None:
    """Write a process's stat file: user, system, and the same of the children it reaped."""
    directory = proc / str(pid)
    directory.mkdir(exist_ok=True)
    ticks = " ".join(str(round(seconds * TICKS)) for seconds in times_s)
    (directory / "stat").write_text(f"{pid} (a) b) S 1 1 1 0 -1 0 0 0 0 0 {ticks} 20 0 1 0\n")


def test_a_tree_has_used_what_its_processes_and_their_reaped_children_have(tmp_path: Path) -> None:
    write_stat(tmp_path, 1, 1.0, 0.5, 0.25, 0.25)
    write_stat(tmp_path, 2, 3.0, 0.0, 0.0, 0.0)

    assert tree_cpu_s([1, 2, 99], proc=tmp_path) == pytest.approx(5.0)
    assert tree_cpu_s([99], proc=tmp_path) is None
    assert tree_cpu_s([], proc=tmp_path) is None


def test_only_the_usable_processors_count(tmp_path: Path) -> None:
    line = "cpu{} {} 0 {} 900 700 0 0 {} 0 0\n"
    (tmp_path / "stat").write_text(
        "cpu  1 2 3 4 5 6 7 8 9 10\n"
        + line.format(0, TICKS, TICKS, TICKS)
        + line.format(1, 5 * TICKS, 0, 0)
        + line.format(2, 700, 700, 700)
        + "intr 1 2 3\n"
    )

    assert machine_cpu_s(proc=tmp_path, cpus=frozenset({0, 1})) == pytest.approx(8.0)
    assert machine_cpu_s(proc=tmp_path, cpus=frozenset({0, 7})) is None
    assert machine_cpu_s(proc=tmp_path / "none", cpus=frozenset({0})) is None


def test_this_machine_can_be_read() -> None:
    before_s, own_before_s = machine_cpu_s(), tree_cpu_s([os.getpid()])
    until_s = time.process_time() + 0.1
    while time.process_time() < until_s:
        pass
    after_s, own_after_s = machine_cpu_s(), tree_cpu_s([os.getpid()])

    assert len(usable_cpus()) >= 1
    assert own_before_s is not None
    assert own_after_s is not None
    assert own_after_s - own_before_s >= 0.05
    if before_s is not None and after_s is not None:
        assert after_s - before_s >= 0.05


def test_a_run_took_what_its_processes_took_whether_they_have_ended_or_not() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ninput()"
    before_s = run_cpu_s()
    with subprocess.Popen(
        [sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        while_it_runs_s = run_cpu_s()
        process.communicate(b"\n")
    after_s = run_cpu_s()

    assert before_s is not None
    assert while_it_runs_s is not None
    assert after_s is not None
    assert while_it_runs_s - before_s >= 0.25
    assert after_s - before_s >= 0.25


@pytest.mark.parametrize(("children", "is_known"), [({"1": ""}, True), ({}, False)])
def test_a_thread_that_has_just_ended_does_not_hide_what_the_others_started(
    tmp_path: Path, children: dict[str, str], is_known: bool
) -> None:
    for thread in ("1", "2"):
        (tmp_path / str(os.getpid()) / "task" / thread).mkdir(parents=True)
    for thread, pids in children.items():
        (tmp_path / str(os.getpid()) / "task" / thread / "children").write_text(pids)

    assert (run_cpu_s(proc=tmp_path) is not None) is is_known


def test_a_meter_tells_what_was_used_between_two_readings() -> None:
    meter = CpuMeter()
    assert meter.is_due(0.0)
    meter.record(3.0, now_s=10.0)
    assert [meter.is_due(10.0 + share * WINDOW_S) for share in (0.5, 1.5)] == [False, True]
    meter.record(3.5, now_s=11.0)
    assert meter.cpus == pytest.approx(0.5)


def test_a_meter_takes_a_process_that_ended_for_nothing_and_forgets_what_it_cannot_know() -> None:
    meter = CpuMeter(at_s=0.0, cpu_s=3.0)
    meter.record(2.0, now_s=1.0)
    found = [meter.cpus]
    for now_s, cpu_s in ((2.0, None), (3.0, 7.0)):
        meter.record(cpu_s, now_s=now_s)
        found.append(meter.cpus)
    assert found == [0.0, None, None]
