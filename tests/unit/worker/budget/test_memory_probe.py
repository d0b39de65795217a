"""The memory of process trees: made-up /proc files for the rules, real processes for the truth."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from worker.budget.memory_probe import (
    ALARM_PRICE_RATIO,
    GROWTH_PRICE_RATIO,
    STALE_S,
    TreeMemory,
    TreeProbe,
)

MIB = 1024**2
PLENTY = 1000 * 1024**3


class Proc:
    """Builds a /proc."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "self").mkdir()

    def put(
        self, pid: int, *, anon: int, shmem: int = 0, swap: int = 0, file: int = 0, pss: int | None = None
    ) -> None:
        """Write a process; sizes in MiB; no `pss`: smaps_rollup may not be read."""
        directory = self.root / str(pid)
        directory.mkdir(exist_ok=True)
        (directory / "status").write_text(
            f"Name:\tpython\nVmPeak:\t99999 kB\nVmRSS:\t{(anon + shmem + file) * 1024} kB\n"
            f"RssAnon:\t{anon * 1024} kB\nRssFile:\t{file * 1024} kB\nRssShmem:\t{shmem * 1024} kB\n"
            f"VmSwap:\t{swap * 1024} kB\n"
        )
        if pss is not None:
            self.rollup(
                pid,
                f"Pss: 999999 kB\nPss_Anon: {pss * 1024} kB\nPss_File: 77 kB\nSwapPss: 0 kB\n",
            )

    def rollup(self, pid: int, text: str) -> None:
        """Write a process's smaps_rollup."""
        (self.root / str(pid) / "smaps_rollup").write_text(f"55d-7ff ---p 0 00:00 0 [rollup]\n{text}")


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


def _used(memory: TreeMemory) -> float:
    return memory.used_bytes / MIB


def _look(
    probe: TreeProbe, pids: Sequence[int], *, now_s: float, spare_bytes: int, exact: bool = False
) -> TreeMemory:
    """Measure cheaply, and once more, exactly, where that is due: what the governor does."""
    memory = probe.measure(pids, now_s=now_s, spare_bytes=spare_bytes, exact=exact)
    if memory.is_due:
        return probe.measure(pids, now_s=now_s, spare_bytes=spare_bytes, exact=True)
    return memory


def test_one_process_is_its_own_memory_without_pages_of_files(proc: Proc) -> None:
    proc.put(1, anon=100, shmem=20, swap=3, file=40)
    memory = _look(TreeProbe(proc=proc.root), [1], now_s=0, spare_bytes=0)
    assert memory == TreeMemory(
        used_bytes=123 * MIB,
        upper_bytes=123 * MIB,
        file_bytes=40 * MIB,
        processes=1,
        is_exact=True,
        is_due=False,
        is_settled=True,
    )


def test_pages_shared_by_a_fork_are_counted_once(proc: Proc) -> None:
    for pid in range(1, 61):
        proc.put(pid, anon=120, pss=3)
    memory = _look(TreeProbe(proc=proc.root), range(1, 61), now_s=0, spare_bytes=PLENTY)
    assert _used(memory) == 180
    assert memory.upper_bytes == 60 * 120 * MIB


def test_exited_processes_and_an_empty_tree_count_as_zero(proc: Proc) -> None:
    proc.put(1, anon=10)
    (proc.root / "2").mkdir()
    (proc.root / "3").mkdir()
    (proc.root / "3" / "status").write_text("Name:\tzombie\nState:\tZ (zombie)\n")
    probe = TreeProbe(proc=proc.root)
    assert _used(_look(probe, [1, 2, 4], now_s=0, spare_bytes=0)) == 10
    assert _used(_look(probe, [3], now_s=1, spare_bytes=0)) == 0
    assert _used(_look(probe, [], now_s=2, spare_bytes=0)) == 0


def test_if_pss_is_unreadable_resident_memory_counts(proc: Proc) -> None:
    proc.put(1, anon=100, pss=50)
    proc.put(2, anon=30)
    assert _used(_look(TreeProbe(proc=proc.root), [1, 2], now_s=0, spare_bytes=0)) == 80


def test_kernels_that_do_not_split_pss_are_supported(proc: Proc) -> None:
    proc.put(1, anon=100)
    proc.put(2, anon=100)
    proc.rollup(1, "Rss: 5 kB\nPss: 51200 kB\n")
    proc.rollup(2, "Pss: 999999 kB\n")
    assert _used(_look(TreeProbe(proc=proc.root), [1, 2], now_s=0, spare_bytes=0)) == 150


def test_growth_since_the_last_pss_reading_is_added_in_full(proc: Proc) -> None:
    probe = TreeProbe(proc=proc.root)
    proc.put(1, anon=100, pss=60)
    proc.put(2, anon=100, pss=40)
    assert _used(_look(probe, [1, 2], now_s=0, spare_bytes=PLENTY)) == 100
    proc.put(2, anon=104, pss=41)
    memory = _look(probe, [1, 2], now_s=0.5, spare_bytes=PLENTY)
    assert (_used(memory), memory.is_exact, memory.is_settled) == (104, False, True)


def _second_reading(
    proc: Proc, *, after_s: float, spare_bytes: int = PLENTY, exact: bool = False
) -> TreeMemory:
    """Measure a tree whose shares changed although its resident memory did not."""
    probe = TreeProbe(proc=proc.root)
    proc.put(1, anon=1000, pss=500)
    proc.put(2, anon=1000, pss=500)
    assert _used(_look(probe, [1, 2], now_s=0, spare_bytes=PLENTY)) == 1000
    proc.put(2, anon=1000, pss=900)
    return _look(probe, [1, 2], now_s=after_s, spare_bytes=spare_bytes, exact=exact)


def test_pss_is_not_read_again_without_a_reason(proc: Proc) -> None:
    assert _used(_second_reading(proc, after_s=STALE_S * 0.9)) == 1000


def test_pss_is_read_again_when_the_reading_is_old(proc: Proc) -> None:
    assert _used(_second_reading(proc, after_s=STALE_S * 1.1)) == 1400


def test_pss_is_read_again_when_unshared_pages_could_exceed_the_rest(proc: Proc) -> None:
    assert _used(_second_reading(proc, after_s=0.5, spare_bytes=200 * MIB)) == 1400


def test_pss_is_read_on_request(proc: Proc) -> None:
    memory = _second_reading(proc, after_s=0.0, exact=True)
    assert (_used(memory), memory.is_exact) == (1400, True)


def test_pss_is_read_again_after_growth_or_a_new_process(proc: Proc) -> None:
    probe = TreeProbe(proc=proc.root)
    proc.put(1, anon=1000, pss=500)
    proc.put(2, anon=1000, pss=500)
    _look(probe, [1, 2], now_s=0, spare_bytes=PLENTY)
    proc.put(2, anon=1500, pss=700)
    assert _used(_look(probe, [1, 2], now_s=0.9, spare_bytes=PLENTY)) == 1200
    proc.put(3, anon=10, pss=1)
    assert _used(_look(probe, [1, 2, 3], now_s=1.5, spare_bytes=PLENTY)) == 1201


@pytest.mark.parametrize(
    ("new_process", "spare_bytes", "ratio"),
    [(True, PLENTY, ALARM_PRICE_RATIO), (False, 0, ALARM_PRICE_RATIO), (False, PLENTY, GROWTH_PRICE_RATIO)],
)
def test_pss_is_read_again_only_if_its_cost_is_a_small_share_of_the_time_since(
    new_process: bool, spare_bytes: int, ratio: int, proc: Proc, monkeypatch: pytest.MonkeyPatch
) -> None:
    price_s = 2.0
    clock = SimpleNamespace(thread_time=iter((10.0, 10.0 + price_s)).__next__)
    monkeypatch.setattr("worker.budget.memory_probe.time", clock)
    probe = TreeProbe(proc=proc.root)
    proc.put(1, anon=1000, pss=500)
    proc.put(2, anon=1000, pss=500)
    probe.measure([1, 2], now_s=0, spare_bytes=PLENTY, exact=True)
    assert probe.price_s == price_s
    proc.put(3, anon=10, pss=1)
    pids = [1, 2, 3] if new_process else [1, 2]

    def is_due(now_s: float) -> bool:
        return probe.measure(pids, now_s=now_s, spare_bytes=spare_bytes).is_due

    assert not is_due(price_s * ratio - 0.01)
    assert is_due(price_s * ratio)


def test_reading_pss_takes_at_most_a_quarter_of_a_cpu_in_alarm_and_a_fiftieth_otherwise() -> None:
    assert (1 / ALARM_PRICE_RATIO, 1 / GROWTH_PRICE_RATIO) == (0.25, 0.02)


def test_an_estimate_with_a_new_process_is_unsettled_until_pss_is_read(proc: Proc) -> None:
    probe = TreeProbe(proc=proc.root)
    proc.put(1, anon=1000, pss=500)
    proc.put(2, anon=1000, pss=500)
    proc.put(3, anon=1000, pss=0)
    _look(probe, [1, 2], now_s=0, spare_bytes=PLENTY)
    at_once = _look(probe, [1, 2, 3], now_s=0.0, spare_bytes=PLENTY)
    assert (_used(at_once), at_once.is_settled) == (2000, False)
    later = _look(probe, [1, 2, 3], now_s=0.5, spare_bytes=PLENTY)
    assert (_used(later), later.is_settled) == (1000, True)


def test_a_tree_that_shrinks_is_never_more_than_its_resident_memory(proc: Proc) -> None:
    probe = TreeProbe(proc=proc.root)
    proc.put(1, anon=1000, pss=800)
    proc.put(2, anon=1000, pss=800)
    _look(probe, [1, 2], now_s=0, spare_bytes=PLENTY)
    proc.put(2, anon=30, pss=30)
    assert _used(_look(probe, [1], now_s=0.0, spare_bytes=PLENTY)) == 1000
    proc.put(1, anon=10, pss=8)
    assert _used(_look(probe, [1, 2], now_s=0.0, spare_bytes=PLENTY)) == 40


_PARENT_OF_FORKS = """
import os, sys, time
block = bytearray(60 << 20)
for _ in range(5):
    if os.fork() == 0:
        sys.stdin.read()
        os._exit(0)
print(os.getpid(), flush=True)
sys.stdin.read()
"""


@contextmanager
def _running(code: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(10)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has /proc")
def test_forked_children_of_a_real_process_are_not_counted_five_times() -> None:
    with _running(_PARENT_OF_FORKS) as parent:
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        pids = [parent.pid, *map(int, children)]
        assert len(pids) == 6
        memory = _look(TreeProbe(), pids, now_s=time.monotonic(), spare_bytes=PLENTY)
        assert memory.upper_bytes > 360 * MIB
        assert 60 * MIB < memory.used_bytes < 120 * MIB


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has /proc")
def test_a_process_that_exits_during_the_measurement_counts_as_zero() -> None:
    with _running("import sys; print(1, flush=True); sys.stdin.read()") as process:
        probe = TreeProbe()
        assert _look(probe, [process.pid], now_s=0, spare_bytes=PLENTY).used_bytes > MIB
        process.kill()
        process.wait(10)
        memory = _look(probe, [process.pid], now_s=1, spare_bytes=PLENTY, exact=True)
        assert (memory.used_bytes, memory.processes) == (0, 0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has /proc")
def test_a_zombie_counts_as_zero(proc: Proc) -> None:
    # Fifty such children, each counted with the pages that it had shared, once made an innocent file guilty.
    ended = subprocess.Popen([sys.executable, "-I", "-S", "-c", ""])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    proc.put(1, anon=200, pss=200)
    proc.put(2, anon=200)
    (proc.root / "2" / "smaps_rollup").symlink_to(f"/proc/{ended.pid}/smaps_rollup")

    memory = _look(TreeProbe(proc=proc.root), [1, 2], now_s=0.0, spare_bytes=PLENTY, exact=True)
    ended.wait()

    assert _used(memory) == 200


def test_without_procfs_psutil_measures(tmp_path: Path) -> None:
    probe = TreeProbe(proc=tmp_path / "nowhere")
    with _running("import sys; print(1, flush=True); sys.stdin.read()") as process:
        memory = _look(probe, [process.pid, 2**22 + 1], now_s=0, spare_bytes=0)
        assert memory.processes == 1
        assert memory.used_bytes > MIB
        both = _look(probe, [process.pid, os.getpid()], now_s=0, spare_bytes=0)
        assert both.processes == 2
        assert MIB < both.used_bytes <= both.upper_bytes
