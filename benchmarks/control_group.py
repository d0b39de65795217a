"""A control group for one measured command, version 1 or 2, made and removed where that is allowed."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")

REMOVE_S = 5.0
"""How long to wait for killed processes to leave a group; only then can it be removed."""

JOIN = 'while [ "$1" != -- ]; do echo $$ > "$1" || exit 125; shift; done; shift; exec "$@"'
"""Shell text that moves itself into groups and becomes the command, so that nothing runs outside them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlGroup:
    """A group that exists.

    Args:
        version: 1 or 2.
        memory: its directory.
        cpu: its directory for CPU time, the same in version 2; None: none can be made.
    """

    version: int
    memory: Path
    cpu: Path | None

    @property
    def name(self) -> str:
        """What it is, for people."""
        return f"memory cgroup v{self.version}"

    def joining_command(self) -> list[str]:
        """Return the words to put before a command so that it runs in the group."""
        folders = {self.memory, *([] if self.cpu is None else [self.cpu])}
        return ["/bin/sh", "-c", JOIN, "sh", *(str(folder / "cgroup.procs") for folder in folders), "--"]

    def used_bytes(self) -> int:
        """Return anonymous and shared memory in use."""
        names = ("total_rss", "total_shmem") if self.version == 1 else ("anon", "shmem")
        fields = _fields(self.memory / "memory.stat")
        return sum(fields.get(name, 0) for name in names)

    def kernel_peak_bytes(self) -> int | None:
        """Return the kernel's high-water mark, page cache included; None where there is none."""
        name = "memory.max_usage_in_bytes" if self.version == 1 else "memory.peak"
        try:
            return int((self.memory / name).read_text())
        except OSError:
            return None

    def oom_kills(self) -> int | None:
        """Return how many processes the kernel killed here for want of memory."""
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        return _fields(self.memory / name).get("oom_kill")

    def cpu_s(self) -> float | None:
        """Return the CPU seconds used; None where they are not counted."""
        if self.cpu is None:
            return None
        if self.version == 2:
            return _fields(self.cpu / "cpu.stat").get("usage_usec", 0) / 1e6
        return int((self.cpu / "cpuacct.usage").read_text()) / 1e9

    def pids(self) -> list[int]:
        """Return the processes in it."""
        try:
            return [int(word) for word in (self.memory / "cgroup.procs").read_text().split()]
        except OSError:
            return []

    def remove(self) -> None:
        """Kill what is left in it and remove it."""
        deadline = time.monotonic() + REMOVE_S
        while (left := self.pids()) and time.monotonic() < deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        for folder in {self.memory, *([] if self.cpu is None else [self.cpu])}:
            with contextlib.suppress(OSError):
                folder.rmdir()


def make_group(*, limit_bytes: int | None) -> ControlGroup | None:
    """Make a group below this process's own; None where that is not possible.

    Args:
        limit_bytes: its hard limit; None: none.
    """
    name = f"passmuster-benchmark-{os.getpid()}-{time.monotonic_ns()}"
    places = _own_groups()
    try:
        if "memory" in places:
            group = _make_version_1(places, name)
            limit_file = "memory.limit_in_bytes"
        else:
            folder = MOUNT / places.get("", "/").lstrip("/") / name
            folder.mkdir()
            if not (folder / "memory.stat").exists():
                folder.rmdir()
                return None
            group = ControlGroup(version=2, memory=folder, cpu=folder)
            limit_file = "memory.max"
        if limit_bytes is not None:
            (group.memory / limit_file).write_text(str(limit_bytes))
    except OSError:
        return None
    return group


def _make_version_1(places: dict[str, str], name: str) -> ControlGroup:
    memory = MOUNT / "memory" / places["memory"].lstrip("/") / name
    memory.mkdir()
    cpu: Path | None = MOUNT / "cpuacct" / places.get("cpuacct", "/").lstrip("/") / name
    try:
        if cpu is not None:
            cpu.mkdir()
    except OSError:
        cpu = None
    return ControlGroup(version=1, memory=memory, cpu=cpu)


def _own_groups() -> dict[str, str]:
    """Return this process's group by controller; the empty name is that of version 2."""
    found: dict[str, str] = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            found[controller] = path
    return found


def _fields(path: Path) -> dict[str, int]:
    """Return the `name number` lines of a file."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split() for line in lines)
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
