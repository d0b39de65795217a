"""Governance of running files: a made-up /proc for what happens, real processes for the whole."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from passmuster.host.host_budget import HostBudget, RunProfile
from passmuster.host.host_budget_policy import FileNeed, HeldResources
from passmuster.host.host_resources import Level
from passmuster.model.errors import InfrastructureError
from passmuster.model.executor import FreeCapacity
from passmuster.model.status import StopReason
from passmuster.model.task import Limits, TestTask
from worker.budget.memory_governor import MemoryGovernor
from worker.budget.memory_ledger import Measured
from worker.budget.memory_policy import UNKNOWN_MARGIN, Breach

MIB = 1024**2
DEADLINE_S = 20.0


def _task(
    name: str, need_mib: int | None = None, *, limit_mib: int | None = None, exclusive: bool = False
) -> TestTask:
    return TestTask(
        run_id="r",
        file_path=name,
        predicted_bytes=None if need_mib is None else need_mib * MIB,
        limits=Limits(memory_bytes=None if limit_mib is None else limit_mib * MIB),
        exclusive=exclusive,
    )


def _is_blind(governor: MemoryGovernor) -> bool:
    try:
        governor.check()
    except InfrastructureError:
        return True
    return False


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"waited in vain until {what}"
        time.sleep(0.002)


class Machine:
    """A machine of made-up processes, and a governor that watches over it. Sizes in MiB."""

    def __init__(self, proc: Path) -> None:
        self.proc = proc
        (proc / "self").mkdir()
        self.breaches: list[Breach] = []
        self.pids: dict[str, list[int]] = {}
        self.governors: list[MemoryGovernor] = []
        self.looks = 0
        self.trouble: Exception | None = None
        self.victims_die = True

    def govern(
        self,
        *,
        slots: int = 4,
        budget: int = 1000,
        limit: int | None = None,
        host_budget: HostBudget | None = None,
    ) -> MemoryGovernor:
        """Make a governor whose victims die at once."""
        governor = MemoryGovernor(
            slots=slots,
            budget_bytes=budget * MIB,
            limit_bytes=None if limit is None else limit * MIB,
            members=self.members,
            on_breach=self.stop,
            host_budget=host_budget,
            proc=self.proc,
        )
        self.governors.append(governor)
        return governor

    def members(self, attempt_id: str) -> Sequence[int]:
        """Return the processes of an attempt."""
        self.looks += 1
        if self.trouble is not None:
            raise self.trouble
        return self.pids.get(attempt_id, [])

    def stop(self, breach: Breach) -> None:
        """End an attempt's processes."""
        self.breaches.append(breach)
        if self.victims_die:
            self.pids[breach.attempt_id] = []

    def use(self, pid: int, mib: int) -> None:
        """Let a process use memory."""
        directory = self.proc / str(pid)
        directory.mkdir(exist_ok=True)
        new = directory / "status.new"
        new.write_text(
            f"Name: x\nRssAnon: {mib * 1024} kB\nRssFile: {7 * 1024} kB\nRssShmem: 0 kB\nVmSwap: 0 kB\n"
        )
        new.replace(directory / "status")

    def start(self, governor: MemoryGovernor, task: TestTask, *, pid: int, mib: int) -> None:
        """Admit a task and let its process run."""
        assert governor.admit(task) is not None
        self.use(pid, mib)
        self.pids[task.attempt_id] = [pid]
        governor.attach(task.attempt_id)

    def taken_mib(self) -> int:
        """Return what all made-up processes use."""
        return sum(int(path.read_text().split()[3]) // 1024 for path in self.proc.glob("*/status"))

    def until_looked(self, times: int = 3) -> None:
        """Wait until memory was measured that often."""
        before = self.looks
        _until(lambda: self.looks >= before + times, "memory was measured")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    for governor in machine.governors:
        governor.close()
    assert not any(thread.name == "memory-governor" for thread in threading.enumerate())


def test_files_are_admitted_while_slots_and_memory_are_free(machine: Machine) -> None:
    governor = machine.govern(slots=3)
    assert governor.free_capacity() == FreeCapacity(
        slots=3, free_bytes=1000 * MIB, unknown_bytes=256 * MIB, running=0
    )
    assert governor.admit(_task("a", 600)) == 0
    assert governor.admit(_task("b", 600)) is None
    assert governor.admit(_task("c", 400)) == 1
    assert governor.admit(_task("d", 1)) is None
    assert governor.free_capacity() == FreeCapacity(slots=1, free_bytes=0, unknown_bytes=256 * MIB, running=2)
    governor.detach("r:a#1")
    assert governor.admit(_task("b", 600)) == 0


def test_a_file_is_measured_soon_and_its_peak_is_returned_at_its_end(machine: Machine) -> None:
    governor = machine.govern()
    machine.start(governor, _task("a", 10), pid=1, mib=300)
    _until(lambda: governor.usage().used_bytes == 300 * MIB, "the file was measured")
    machine.use(1, 20)
    _until(lambda: governor.usage().used_bytes == 20 * MIB, "it was measured again")
    assert governor.usage().peak_bytes == 300 * MIB
    assert governor.detach("r:a#1") == Measured(peak_bytes=300 * MIB, was_alone=True)
    assert governor.detach("r:a#1") == Measured(peak_bytes=None, was_alone=False)
    assert governor.usage().files == ()


def test_the_kernels_figure_covers_a_peak_between_two_samples(machine: Machine) -> None:
    governor = machine.govern()
    machine.start(governor, _task("a", 10), pid=1, mib=300)
    _until(lambda: governor.usage().used_bytes > 0, "the file was measured")
    measured = governor.detach("r:a#1", max_rss_bytes=507 * MIB)
    assert measured.peak_bytes == 500 * MIB
    assert governor.usage().peak_bytes == 500 * MIB


def test_a_file_too_short_to_be_measured_has_the_kernels_figure(machine: Machine) -> None:
    governor = machine.govern()
    governor.admit(_task("a"))
    governor.admit(_task("b"))
    assert governor.detach("r:a#1", max_rss_bytes=5 * MIB) == Measured(peak_bytes=5 * MIB, was_alone=False)
    assert governor.detach("r:b#1") == Measured(peak_bytes=None, was_alone=False)


def test_only_the_file_that_exceeds_its_own_limit_is_killed(machine: Machine) -> None:
    governor = machine.govern(limit=500)
    machine.start(governor, _task("a", 10), pid=1, mib=400)
    machine.start(governor, _task("strict", 10, limit_mib=200), pid=2, mib=250)
    _until(lambda: bool(machine.breaches), "somebody was stopped")
    machine.until_looked()
    assert [(breach.attempt_id, breach.reason) for breach in machine.breaches] == [
        ("r:strict#1", StopReason.MEMORY_LIMIT)
    ]
    assert machine.breaches[0].limit_bytes == 200 * MIB


def test_when_files_exceed_the_budget_the_one_furthest_above_its_prediction_is_evicted(
    machine: Machine,
) -> None:
    governor = machine.govern()
    machine.start(governor, _task("oldest", 300), pid=1, mib=300)
    machine.start(governor, _task("honest", 300), pid=2, mib=300)
    machine.start(governor, _task("liar", 100), pid=3, mib=100)
    machine.until_looked(6)
    assert machine.breaches == []
    machine.use(3, 450)
    _until(lambda: bool(machine.breaches), "somebody was stopped")
    machine.until_looked(6)
    (breach,) = machine.breaches
    assert (breach.attempt_id, breach.reason) == ("r:liar#1", StopReason.MEMORY_BUDGET)
    assert governor.detach("r:liar#1").peak_bytes == 450 * MIB
    assert governor.free_capacity().unknown_bytes == math.ceil(450 * MIB * UNKNOWN_MARGIN)


def test_a_single_file_that_exceeds_the_budget_is_killed_for_its_limit(machine: Machine) -> None:
    governor = machine.govern()
    machine.start(governor, _task("a"), pid=1, mib=1001)
    _until(lambda: bool(machine.breaches), "it was stopped")
    assert machine.breaches[0].reason is StopReason.MEMORY_LIMIT


def test_shared_memory_of_forked_processes_does_not_exceed_the_budget(machine: Machine) -> None:
    governor = machine.govern()
    for pid in range(1, 51):
        machine.use(pid, 117)
        (machine.proc / str(pid) / "smaps_rollup").write_text(
            "[rollup]\nPss_Anon: 4096 kB\nPss_Shmem: 0 kB\n"
        )
    machine.pids["r:a#1"] = list(range(1, 51))
    governor.admit(_task("a"))
    governor.attach("r:a#1")
    _until(lambda: governor.usage().used_bytes == 200 * MIB, "the tree was measured")
    machine.until_looked()
    assert machine.breaches == []


def test_no_file_is_killed_on_an_inexact_estimate(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    # As on a machine where reading the shares is so dear that it happens only when it must.
    monkeypatch.setattr("worker.budget.memory_probe.ALARM_PRICE_RATIO", 10**9)
    governor = machine.govern()
    for pid in range(1, 51):
        machine.use(pid, 117)
        (machine.proc / str(pid) / "smaps_rollup").write_text(
            "[rollup]\nPss_Anon: 4096 kB\nPss_Shmem: 0 kB\n"
        )
    machine.pids["r:a#1"] = [1, 2]
    governor.admit(_task("a"))
    governor.attach("r:a#1")
    _until(lambda: governor.usage().used_bytes == 8 * MIB, "the first two were measured")
    machine.pids["r:a#1"] = list(range(1, 51))
    _until(lambda: governor.usage().used_bytes == 200 * MIB, "all were measured")
    machine.until_looked()
    assert machine.breaches == []


def test_measured_use_above_the_prediction_prevents_further_starts(machine: Machine) -> None:
    governor = machine.govern()
    machine.start(governor, _task("a", 10), pid=1, mib=900)
    _until(lambda: governor.usage().used_bytes == 900 * MIB, "the file was measured")
    assert governor.admit(_task("b", 101)) is None
    assert governor.admit(_task("b", 100)) == 1


def test_the_kill_of_a_surviving_victim_is_requested_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.budget.memory_governor.KILL_PATIENCE_S", 0.05)
    machine.victims_die = False
    governor = machine.govern(limit=100)
    machine.start(governor, _task("a"), pid=1, mib=200)
    _until(lambda: len(machine.breaches) >= 3, "it was named again")
    assert {breach.attempt_id for breach in machine.breaches} == {"r:a#1"}


def test_a_file_that_its_owner_released_is_ignored(machine: Machine) -> None:
    governor = machine.govern()
    machine.start(governor, _task("a"), pid=1, mib=10)
    machine.trouble = KeyError("r:a#1")
    machine.until_looked(10)
    governor.check()


def test_one_failed_sample_does_not_end_sampling(machine: Machine) -> None:
    governor = machine.govern()
    machine.start(governor, _task("a"), pid=1, mib=10)
    machine.trouble = RuntimeError("once")
    machine.until_looked(1)
    machine.trouble = None
    machine.use(1, 1001)
    _until(lambda: bool(machine.breaches), "it was stopped")
    governor.check()


def test_when_memory_cannot_be_measured_the_run_fails_and_no_file_starts(machine: Machine) -> None:
    governor = machine.govern()
    machine.start(governor, _task("a", 10), pid=1, mib=10)
    machine.trouble = RuntimeError("out of\norder")
    _until(lambda: _is_blind(governor), "governance was given up")
    with pytest.raises(InfrastructureError, match="RuntimeError: out of order"):
        governor.check()
    with pytest.raises(InfrastructureError, match="cannot measure the memory of running tests: RuntimeError"):
        governor.free_capacity()
    with pytest.raises(InfrastructureError):
        governor.admit(_task("b", 10))
    assert governor.detach("r:a#1").was_alone


def test_no_file_is_admitted_after_close(machine: Machine) -> None:
    governor = machine.govern()
    governor.close()
    assert governor.admit(_task("a")) is None


def test_no_thread_starts_before_the_first_file(machine: Machine) -> None:
    machine.govern().free_capacity()
    assert not any(thread.name == "memory-governor" for thread in threading.enumerate())


def _pool(directory: Path, available: Callable[[], int]) -> HostBudget:
    directory.mkdir(mode=0o700, exist_ok=True)
    seat = RunProfile(root="/project", budget_bytes=1000 * MIB, slots=4)
    return HostBudget(
        directory, seat, levels=lambda: [Level(name="machine", left_bytes=available() * MIB, cpus=99)]
    )


def test_two_runs_share_the_available_memory(machine: Machine, tmp_path: Path) -> None:
    mine, theirs = (_pool(tmp_path / "pool", lambda: 1250) for _ in range(2))
    try:
        first, second = machine.govern(host_budget=mine), machine.govern(host_budget=theirs)
        assert first.admit(_task("a", 700)) == 0
        assert second.admit(_task("b", 400)) is None
        other_runs = second.usage().other_runs
        assert other_runs is not None
        assert other_runs.held_by.endswith("): 700 MiB")
        assert second.admit(_task("c", 300)) == 0
        assert second.usage().other_runs is None
        assert second.free_capacity().free_bytes == 0
        first.detach("r:a#1")
        assert second.admit(_task("b", 400)) == 1
    finally:
        mine.close()
        theirs.close()


def test_growth_into_the_memory_of_other_runs_evicts_a_file_but_never_the_only_one(
    machine: Machine, tmp_path: Path
) -> None:
    mine, theirs = (_pool(tmp_path / "pool", lambda: 1250 - machine.taken_mib()) for _ in range(2))
    try:
        governor = machine.govern(host_budget=mine)
        machine.start(governor, _task("a", 100), pid=1, mib=100)
        machine.start(governor, _task("b", 100), pid=2, mib=100)
        _until(
            lambda: theirs.try_start(FileNeed(memory_bytes=700 * MIB), HeldResources()) is None,
            "the other run had its part",
        )
        machine.use(2, 450)
        _until(lambda: bool(machine.breaches), "somebody made room")
        governor.detach("r:b#1")
        machine.use(2, 0)
        machine.use(1, 840)
        _until(lambda: governor.usage().used_bytes == 840 * MIB, "the other was measured")
        machine.until_looked()
        assert [breach.attempt_id for breach in machine.breaches] == ["r:b#1"]
    finally:
        mine.close()
        theirs.close()


_LEAK = """
import time
blocks = []
while True:
    blocks.append(b"x" * (4 << 20))
    time.sleep(0.004)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has /proc")
def test_a_real_leak_of_a_gigabyte_a_second_stays_within_the_budget() -> None:
    budget_bytes = 400 * MIB
    processes: dict[str, subprocess.Popen[bytes]] = {}
    breaches: list[Breach] = []

    def stop(breach: Breach) -> None:
        breaches.append(breach)
        processes[breach.attempt_id].send_signal(signal.SIGKILL)

    governor = MemoryGovernor(
        slots=2,
        budget_bytes=budget_bytes,
        limit_bytes=None,
        members=lambda attempt_id: [processes[attempt_id].pid],
        on_breach=stop,
    )
    task = _task("leak")
    assert governor.admit(task) == 0
    with subprocess.Popen([sys.executable, "-c", _LEAK]) as process:
        processes[task.attempt_id] = process
        governor.attach(task.attempt_id)
        try:
            # wait4 gives the kernel's own high-water mark, which our own looks cannot talk down.
            _, status, used = os.wait4(process.pid, 0)
        finally:
            process.kill()
            process.returncode = -signal.SIGKILL
    governor.close()
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    assert [breach.reason for breach in breaches] == [StopReason.MEMORY_LIMIT]
    # Pages of files on disk (the interpreter itself) count in the kernel's figure; a loaded machine may
    # wake the governor late. Without governance this process would not have ended at all.
    assert used.ru_maxrss * 1024 < budget_bytes * 1.25
    assert governor.usage().peak_bytes > budget_bytes * 0.75
