"""What keeps the processors busy while files run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from passmuster.host.cpu_use import CpuMeter
from passmuster.host.host_resources import usable_cpus
from worker.budget.cpu_watch import ASKED_S, CpuWatch, load_of

TICKS = os.sysconf("SC_CLK_TCK")
SEEN = len(usable_cpus())


def write_busy(proc: Path, seconds: float) -> None:
    """Let the machine's processors have been busy for so long, all together."""
    lines = [f"cpu{number} {0} 0 0 0 0 0 0 0 0 0" for number in sorted(usable_cpus())]
    lines[0] = f"cpu{min(usable_cpus())} {round(seconds * TICKS)} 0 0 0 0 0 0 0 0 0"
    (proc / "stat").write_text("\n".join(["cpu 0 0 0 0 0 0 0 0 0 0", *lines, ""]))


@pytest.mark.parametrize(
    ("cpus", "seen", "busy", "files", "other", "is_saturated"),
    [
        (2, 2, None, 0.5, 0.0, False),
        (2, 2, 1.5, 0.5, 1.0, False),
        (2, 2, 2.0, 0.5, 1.5, True),
        (2, 2, 0.4, 0.5, 0.0, False),
        (2, 8, 5.0, 0.5, 0.0, False),
        (2, 8, 8.0, 0.5, 1.5, True),
        (2, 2, None, 2.0, 0.0, True),
        (2, 2, None, 3.0, 0.0, True),
    ],
)
def test_the_load_is_what_a_quota_or_other_work_leaves(
    cpus: int, seen: int, busy: float | None, files: float, other: float, *, is_saturated: bool
) -> None:
    load = load_of(cpus=cpus, seen=seen, busy_cpus=busy, files_cpus=files)
    assert load.other_cpus == pytest.approx(other)
    assert load.is_saturated == is_saturated


def test_load_is_measured_only_while_a_file_is_queued(tmp_path: Path) -> None:
    write_busy(tmp_path, 0.0)
    watch, blind = CpuWatch(cpus=2, proc=tmp_path), CpuWatch(cpus=None, proc=tmp_path)
    assert not watch.read_machine(now_s=1.0)
    watch.ask(now_s=1.0)
    blind.ask(now_s=1.0)
    assert watch.read_machine(now_s=1.0)
    assert not blind.read_machine(now_s=1.0)
    assert blind.read(CpuMeter(), [os.getpid()], now_s=1.0) is None
    assert not watch.read_machine(now_s=1.0 + 2 * ASKED_S)


def test_the_last_use_of_a_finished_file_does_not_count_as_other_load(tmp_path: Path) -> None:
    watch = CpuWatch(cpus=SEEN, proc=tmp_path)
    for now_s, busy_s in ((1.0, 0.0), (2.0, 0.25)):
        write_busy(tmp_path, busy_s)
        watch.ask(now_s=now_s)
        assert watch.read_machine(now_s=now_s)
    assert watch.load(files_cpus=0.0, ended=0).other_cpus == pytest.approx(0.25)
    write_busy(tmp_path, 1.0)
    watch.ask(now_s=3.0)
    assert watch.read_machine(now_s=3.0)
    assert watch.load(files_cpus=0.0, ended=1).other_cpus == pytest.approx(0.25)
    assert watch.load(files_cpus=0.0, ended=1).other_cpus == pytest.approx(0.75)
