"""What a container may use, read from made-up kernel files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from passmuster.host import psutil_fallback as without_procfs
from passmuster.host.host_resources import AvailableResources, oom_kill_count, read_levels, read_machine

MIB = 1024**2
RAM_MIB = 16_000
FREE_MIB = 12_000


class Kernel:
    """Builds a /proc and a /sys/fs/cgroup below a temporary directory."""

    def __init__(self, root: Path) -> None:
        self.proc, self.cgroups = root / "proc", root / "cgroup"
        self.cgroups.mkdir()
        self.write(
            "proc/meminfo",
            f"MemTotal: {RAM_MIB * 1024} kB\nMemFree: 1 kB\nMemAvailable: {FREE_MIB * 1024} kB\n",
        )

    def write(self, path: str, text: str | int) -> None:
        """Write a kernel file; `proc/...` or `cgroup/...`."""
        file = self.proc.parent / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}")

    def read(self, *, affinity_cpus: int = 16) -> AvailableResources:
        """Read the machine, and see that the short way says the same."""
        machine = read_machine(proc=self.proc, cgroups=self.cgroups, affinity_cpus=affinity_cpus)
        levels = read_levels(proc=self.proc, cgroups=self.cgroups)
        assert min(level.left_bytes for level in levels if level.left_bytes is not None) == (
            machine.available_bytes
        )
        return machine


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


def test_without_cgroups_it_is_the_whole_machine(kernel: Kernel) -> None:
    assert kernel.read(affinity_cpus=3) == AvailableResources(
        cpus=3,
        cpus_source="CPU affinity",
        total_bytes=RAM_MIB * MIB,
        total_source="meminfo total",
        available_bytes=FREE_MIB * MIB,
        available_source="meminfo available",
    )


def test_version_2_the_tightest_level_counts(kernel: Kernel) -> None:
    kernel.write("proc/self/cgroup", "0::/pod/container\n")
    kernel.write("cgroup/cgroup.controllers", "cpu memory")
    kernel.write("cgroup/pod/cpu.max", "150000 100000\n")
    kernel.write("cgroup/pod/memory.max", 4000 * MIB)
    kernel.write("cgroup/pod/memory.current", 3500 * MIB)
    kernel.write("cgroup/pod/memory.stat", f"anon 1\ninactive_file {500 * MIB}\n")
    kernel.write("cgroup/pod/container/cpu.max", "max 100000\n")
    kernel.write("cgroup/pod/container/memory.max", "max\n")
    assert kernel.read() == AvailableResources(
        cpus=2,
        cpus_source="cgroup v2 CPU quota",
        total_bytes=4000 * MIB,
        total_source="cgroup v2 memory.max",
        available_bytes=1000 * MIB,
        available_source="what is left of cgroup v2 memory.max",
    )


def test_version_2_a_throttling_mark_is_a_limit_too(kernel: Kernel) -> None:
    kernel.write("proc/self/cgroup", "0::/a\n")
    kernel.write("cgroup/cgroup.controllers", "memory")
    kernel.write("cgroup/a/memory.max", 4000 * MIB)
    kernel.write("cgroup/a/memory.high", 3000 * MIB)
    kernel.write("cgroup/a/memory.current", 3200 * MIB)
    machine = kernel.read()
    assert (machine.total_bytes, machine.total_source) == (3000 * MIB, "cgroup v2 memory.high")
    assert machine.available_bytes == 0


def test_version_1_quota_limit_and_usage_without_reclaimable_cache(kernel: Kernel) -> None:
    kernel.write("proc/self/cgroup", "7:cpu,cpuacct:/box\n4:memory:/box\n0::/\n")
    kernel.write("cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "50000")
    kernel.write("cgroup/cpu,cpuacct/box/cpu.cfs_period_us", "100000")
    kernel.write("cgroup/memory/box/memory.limit_in_bytes", 2000 * MIB)
    kernel.write("cgroup/memory/box/memory.usage_in_bytes", 1500 * MIB)
    kernel.write("cgroup/memory/box/memory.stat", f"inactive_file 5\ntotal_inactive_file {100 * MIB}\n")
    assert kernel.read() == AvailableResources(
        cpus=1,
        cpus_source="cgroup v1 CPU quota",
        total_bytes=2000 * MIB,
        total_source="cgroup v1 memory.limit_in_bytes",
        available_bytes=600 * MIB,
        available_source="what is left of cgroup v1 memory.limit_in_bytes",
    )


def test_version_1_no_limit_is_written_as_a_huge_one(kernel: Kernel) -> None:
    kernel.write("proc/self/cgroup", "4:memory:/\n1:cpu:/\n")
    kernel.write("cgroup/memory/memory.limit_in_bytes", 9223372036854771712)
    kernel.write("cgroup/cpu/cpu.cfs_quota_us", -1)
    kernel.write("cgroup/cpu/cpu.cfs_period_us", 100000)
    machine = kernel.read()
    assert machine.total_source == "meminfo total"
    assert machine.cpus_source == "CPU affinity"


@pytest.mark.parametrize("path", ["/docker/0123", "/../../elsewhere"])
def test_a_path_of_the_host_means_the_mounts_root(kernel: Kernel, path: str) -> None:
    kernel.write("proc/self/cgroup", f"4:memory:{path}\n")
    kernel.write("cgroup/memory/memory.limit_in_bytes", 1000 * MIB)
    assert kernel.read().total_bytes == 1000 * MIB


def test_what_the_machine_has_left_counts_where_it_is_less_than_the_cgroups_rest(kernel: Kernel) -> None:
    kernel.write("proc/self/cgroup", "0::/\n")
    kernel.write("cgroup/cgroup.controllers", "memory")
    kernel.write("cgroup/memory.max", 15_000 * MIB)
    kernel.write("cgroup/memory.current", 0)
    machine = kernel.read()
    assert machine.total_bytes == 15_000 * MIB
    assert (machine.available_bytes, machine.available_source) == (FREE_MIB * MIB, "meminfo available")


@pytest.mark.parametrize("text", ["", "rubbish", "max", "-5", "1 2 3 4"])
def test_unreadable_figures_bound_nothing(kernel: Kernel, text: str) -> None:
    kernel.write("proc/self/cgroup", "0::/a\nrubbish\n\n")
    kernel.write("cgroup/cgroup.controllers", "memory")
    for name in ("memory.max", "memory.high", "memory.current", "memory.stat", "cpu.max"):
        kernel.write(f"cgroup/a/{name}", text)
    machine = kernel.read()
    assert (machine.cpus, machine.total_bytes) == (16, RAM_MIB * MIB)


def test_old_kernels_estimate_what_is_available(kernel: Kernel) -> None:
    kernel.write("proc/meminfo", "MemTotal: 1000 kB\nMemFree: 100 kB\nCached: 200 kB\n")
    assert kernel.read().available_bytes == 300 * 1024


def test_this_machine_can_be_read_by_files_and_by_psutil(tmp_path: Path) -> None:
    machine = read_machine()
    assert 1 <= machine.cpus <= (os.cpu_count() or 1)
    assert 0 < machine.available_bytes <= machine.total_bytes
    elsewhere = read_machine(proc=tmp_path, cgroups=tmp_path)
    assert elsewhere.total_source == "psutil memory total"
    assert elsewhere.total_bytes >= machine.total_bytes


def test_psutil_tells_the_memory_of_processes() -> None:
    resident = without_procfs.resident_bytes(os.getpid())
    unshared = without_procfs.unshared_bytes(os.getpid())
    assert resident is not None
    assert unshared is not None
    assert 0 < unshared <= resident * 1.1
    assert without_procfs.resident_bytes(2**22 + 1) is None
    assert without_procfs.unshared_bytes(2**22 + 1) is None
    assert without_procfs.pids_below(2**22 + 1) == []


def test_without_procfs_the_processes_below_one_are_found() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        found = without_procfs.pids_below(os.getpid())
        child.kill()

    assert child.pid in found


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has /proc")
def test_psutil_is_not_imported_where_there_is_a_proc() -> None:
    code = (
        "import sys, worker.budget.memory_probe\nfrom passmuster.host.host_resources import read_machine\n"
        "read_machine()\nsys.exit('psutil' in sys.modules)"
    )
    root = Path(__file__).parents[4]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_kernel_kills_are_counted_in_our_own_cgroup_first(kernel: Kernel) -> None:
    assert oom_kill_count(proc=kernel.proc, cgroups=kernel.cgroups) is None
    kernel.write("proc/vmstat", "nr_free_pages 5\noom_kill 9\n")
    assert oom_kill_count(proc=kernel.proc, cgroups=kernel.cgroups) == 9


def test_kernel_kills_in_version_2(kernel: Kernel) -> None:
    kernel.write("proc/vmstat", "oom_kill 9\n")
    kernel.write("proc/self/cgroup", "0::/a\n")
    kernel.write("cgroup/cgroup.controllers", "memory")
    kernel.write("cgroup/a/memory.events", "low 0\noom 2\noom_kill 3\noom_group_kill 0\n")
    assert oom_kill_count(proc=kernel.proc, cgroups=kernel.cgroups) == 3


def test_kernel_kills_in_version_1(kernel: Kernel) -> None:
    kernel.write("proc/self/cgroup", "4:memory:/a\n0::/\n")
    kernel.write("cgroup/memory/a/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n")
    assert oom_kill_count(proc=kernel.proc, cgroups=kernel.cgroups) == 4
