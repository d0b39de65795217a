"""The governor notices idle processors while a file waits, and lets it start."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from passmuster.model.task import TestTask
from worker.budget.memory_governor import MemoryGovernor

MIB = 1024**2
DEADLINE_S = 20.0
TICKS = os.sysconf("SC_CLK_TCK")


class Machine:
    """Made-up processes of which each uses a share of a processor, on a machine with nothing else on it."""

    def __init__(self, proc: Path) -> None:
        self.proc = proc
        (proc / "self").mkdir()
        self.uses: dict[str, float] = {}
        self._started_s = time.monotonic()

    def members(self, attempt_id: str) -> list[int]:
        """Return the process of an attempt, its figures as they are now."""
        name = attempt_id.partition(":")[2].partition("#")[0]
        directory = self.proc / name
        directory.mkdir(exist_ok=True)
        for file, text in (
            ("status", f"RssAnon: {10 * 1024} kB\nRssFile: 0 kB\n"),
            ("stat", f"{name} (x) S 1 1 1 0 -1 0 0 0 0 0 {self._ticks(name)} 0 0 0 20 0\n"),
        ):
            (directory / "new").write_text(text)
            (directory / "new").replace(directory / file)
        return [int(name)]

    def _ticks(self, name: str) -> int:
        # A busy one is busier than any clock can deny.
        return round((time.monotonic() - self._started_s) * self.uses[name] * TICKS)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def governor(machine: Machine) -> Iterator[MemoryGovernor]:
    governor = MemoryGovernor(
        slots=2,
        budget_bytes=1000 * MIB,
        limit_bytes=None,
        cpus=2,
        members=machine.members,
        on_breach=lambda breach: None,
        proc=machine.proc,
    )
    yield governor
    governor.close()


def start(machine: Machine, governor: MemoryGovernor, name: str, *, use: float) -> None:
    machine.uses[name] = use
    task = TestTask(run_id="r", file_path=name, predicted_bytes=10 * MIB)
    assert governor.admit(task) is not None
    governor.attach(task.attempt_id)


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_a_sleeping_file_frees_a_slot_for_a_queued_one(machine: Machine, governor: MemoryGovernor) -> None:
    start(machine, governor, "1", use=1.0)
    start(machine, governor, "2", use=0.0)
    assert governor.free_capacity().slots == 0

    until(lambda: governor.free_capacity().slots == 1)

    start(machine, governor, "3", use=1.0)
    assert governor.free_capacity().slots == 0


def test_busy_files_leave_no_further_slot(machine: Machine, governor: MemoryGovernor) -> None:
    start(machine, governor, "1", use=3.0)
    start(machine, governor, "2", use=0.0)
    looked_s = time.monotonic() + 0.6

    while time.monotonic() < looked_s:
        assert governor.free_capacity().slots == 0
        time.sleep(0.01)
