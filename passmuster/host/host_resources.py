"""Reads the CPUs and the memory that this container may use, from affinity, cgroups (v1 and v2) and /proc.

The host's figures are wrong inside a container, so every level of the cgroup tree is read and the tightest
limit counts. `passmuster.host.capacity` turns the figures into limits. `passmuster.host.host_budget` reads
the available memory frequently, so a reading must be fast (well below 1 ms).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from msgspec import Struct

from passmuster.host.psutil_fallback import host_memory

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")


class AvailableResources(Struct, frozen=True, kw_only=True):
    """What this process and its children may use, each figure with its source.

    Args:
        cpus: CPUs, a quota's fraction rounded up; at least 1.
        available_bytes: memory that could be used now without pushing anything out.
    """

    cpus: int
    cpus_source: str
    total_bytes: int
    total_source: str
    available_bytes: int
    available_source: str


class Level(Struct, frozen=True, kw_only=True):
    """What the machine, or one control group around this process, has for it and for what else is inside.

    Args:
        name: `machine`, or what no other control group of this kernel has.
        left_bytes: memory that could be used now; None: it bounds none.
        cpus: processors that may be busy at once; None: it bounds none.
    """

    name: str
    left_bytes: int | None = None
    cpus: int | None = None


class _MemoryBound(Struct, frozen=True, kw_only=True):
    """A cgroup's memory limit and what is left of it."""

    limit_bytes: int
    left_bytes: int
    source: str
    directory: Path


def read_machine(
    *, proc: Path = PROC, cgroups: Path = CGROUPS, affinity_cpus: int | None = None
) -> AvailableResources:
    """Read what this container may use.

    Args:
        affinity_cpus: CPUs that the scheduler may use for this process; None: ask the kernel.
    """
    total_bytes, available_bytes, source = _ram(proc)
    cpus, cpus_source = _cpus(proc, cgroups, affinity_cpus)
    total_source, available_source = f"{source} total", f"{source} available"
    for bound in _memory_bounds(proc, cgroups, ram_bytes=total_bytes):
        if bound.limit_bytes < total_bytes:
            total_bytes, total_source = bound.limit_bytes, bound.source
        if bound.left_bytes < available_bytes:
            available_bytes, available_source = bound.left_bytes, f"what is left of {bound.source}"
    return AvailableResources(
        cpus=cpus,
        cpus_source=cpus_source,
        total_bytes=total_bytes,
        total_source=total_source,
        available_bytes=available_bytes,
        available_source=available_source,
    )


def read_levels(*, proc: Path = PROC, cgroups: Path = CGROUPS) -> tuple[Level, ...]:
    """Return the machine and the control groups that bound what this process may use, the machine first.

    Runs in different control groups share only what is above both. Takes well below 1 ms.
    """
    ram_bytes, available_bytes, _ = _ram(proc)
    levels = [Level(name="machine", left_bytes=available_bytes, cpus=len(usable_cpus()))]
    levels += [
        Level(name=_name_of(bound.directory), left_bytes=bound.left_bytes)
        for bound in _memory_bounds(proc, cgroups, ram_bytes=ram_bytes)
    ]
    for version, directory in _levels(proc, cgroups, controller="cpu"):
        quota = _quota(directory, version=version)
        if quota is not None:
            levels.append(Level(name=_name_of(directory), cpus=quota))
    return tuple(levels)


def oom_kill_count(*, proc: Path = PROC, cgroups: Path = CGROUPS) -> int | None:
    """Return how many processes the kernel has killed for lack of memory; None: it does not count them.

    A count that rose while a file died by SIGKILL identifies the kernel as the killer. The count of this
    process's cgroup is preferred to the machine's, because test processes live in it.
    """
    for version, directory in _levels(proc, cgroups, controller="memory"):
        name = "memory.events" if version == 2 else "memory.oom_control"
        count = _keyed(directory / name).get("oom_kill")
        if count is not None:
            return count
    return _keyed(proc / "vmstat").get("oom_kill")


def _ram(proc: Path) -> tuple[int, int, str]:
    """Return the machine's total and available bytes, without the limits of cgroups, and their source."""
    fields = _keyed(proc / "meminfo")
    total_kib = fields.get("MemTotal:")
    if total_kib is None:
        return *host_memory(), "psutil memory"
    available_kib = fields.get("MemAvailable:")
    if available_kib is None:
        available_kib = fields.get("MemFree:", 0) + fields.get("Cached:", 0)
    return total_kib * 1024, available_kib * 1024, "meminfo"


def usable_cpus() -> frozenset[int]:
    """Return the numbers of the CPUs that the scheduler may use for this process."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _cpus(proc: Path, cgroups: Path, affinity_cpus: int | None) -> tuple[int, str]:
    """Return how many CPUs may be used, and what set that number."""
    cpus = len(usable_cpus()) if affinity_cpus is None else affinity_cpus
    source = "CPU affinity" if hasattr(os, "sched_getaffinity") else "CPU count"
    for version, directory in _levels(proc, cgroups, controller="cpu"):
        quota = _quota(directory, version=version)
        if quota is not None and quota < cpus:
            cpus, source = quota, f"cgroup v{version} CPU quota"
    return max(1, cpus), source


def _name_of(directory: Path) -> str:
    """Return an identifier of a control group that is the same in every container."""
    found = directory.stat()
    return f"{found.st_dev:x}:{found.st_ino:x}"


def _quota(directory: Path, *, version: int) -> int | None:
    """Return the CPUs that one cgroup level's quota is worth, rounded up; None: it sets none."""
    if version == 2:
        words = _read(directory / "cpu.max").split()
    else:
        words = _read(directory / "cpu.cfs_quota_us").split() + _read(directory / "cpu.cfs_period_us").split()
    if len(words) != 2 or not all(word.isdecimal() for word in words):
        return None
    quota_us, period_us = int(words[0]), int(words[1])
    if quota_us <= 0 or period_us <= 0:
        return None
    return -(-quota_us // period_us)


def _memory_bounds(proc: Path, cgroups: Path, *, ram_bytes: int) -> Iterator[_MemoryBound]:
    """Yield each level of the cgroup tree that bounds memory to less than the machine has."""
    for version, directory in _levels(proc, cgroups, controller="memory"):
        cache_key = "inactive_file" if version == 2 else "total_inactive_file"
        names, usage_name = ["memory.limit_in_bytes"], "memory.usage_in_bytes"
        if version == 2:
            # Above memory.high a process is slowed down until it crawls: it is a limit in all but name.
            names, usage_name = ["memory.max", "memory.high"], "memory.current"
        for name in names:
            limit_bytes = _number(directory / name)
            if limit_bytes is None or limit_bytes >= ram_bytes:
                continue
            usage_bytes = _number(directory / usage_name) or 0
            # The kernel frees inactive page cache as soon as a process needs memory.
            usage_bytes -= _keyed(directory / "memory.stat").get(cache_key, 0)
            left_bytes = max(0, limit_bytes - max(0, usage_bytes))
            source = f"cgroup v{version} {name}"
            yield _MemoryBound(
                limit_bytes=limit_bytes, left_bytes=left_bytes, source=source, directory=directory
            )


@lru_cache(maxsize=8)
def _levels(proc: Path, cgroups: Path, *, controller: str) -> tuple[tuple[int, Path], ...]:
    """Return version and directory of each cgroup level above this process, its own first.

    Inside a container the path in /proc/self/cgroup may be the host's, which is not mounted here; the
    mount's root is then the process's own cgroup. Version 1 comes first: a controller lives in one hierarchy
    only, and in a mixed set-up the version 2 tree has no file for it. Cached, because a running process
    rarely moves between cgroups, and finding the directories costs more than reading them.
    """
    levels: list[tuple[int, Path]] = []
    hierarchies: list[tuple[int, Path, str]] = []
    for line in _read(proc / "self" / "cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            unified = cgroups / "unified"
            mount = cgroups if (cgroups / "cgroup.controllers").exists() else unified
            hierarchies.append((2, mount, path))
        elif controller in controllers.split(","):
            mount = cgroups / controller
            hierarchies.append((1, mount if mount.is_dir() else cgroups / controllers, path))
    for version, mount, path in sorted(hierarchies, key=lambda hierarchy: hierarchy[0]):
        parts = [part for part in path.split("/") if part]
        if ".." in parts:
            parts = []
        for depth in range(len(parts), -1, -1):
            directory = mount.joinpath(*parts[:depth])
            if directory.is_dir():
                levels.append((version, directory))
    return tuple(levels)


def _read(path: Path) -> str:
    """Return the text of a small file; empty if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    """Return the number in a file; None if there is none (`max`, missing)."""
    text = _read(path).strip()
    return int(text) if text.isdecimal() else None


def _keyed(path: Path) -> dict[str, int]:
    """Return the numbers of a file of `key number` lines, by key."""
    numbers: dict[str, int] = {}
    for line in _read(path).splitlines():
        words = line.split()
        if len(words) >= 2 and words[1].isdecimal():
            numbers[words[0]] = int(words[1])
    return numbers
