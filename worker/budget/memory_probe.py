"""Measures how much memory the process tree of one running file uses.

The kernel offers two figures, whose costs differ a thousandfold (measured on Linux 6.18):

- `/proc/PID/status`, about 15 µs: resident anonymous, shared-memory and swapped bytes. Pages that a fork
  shares are counted in every process, so that their sum over a tree is an *upper bound*.
- `/proc/PID/smaps_rollup`, about 120 µs and another 8 ms for each GB, because the kernel walks the page
  tables: the proportional set size (PSS), which counts a page shared by n processes as 1/n in each. Its
  sum over a tree is what the tree really takes.

For a tree of one process the upper bound is exact, because `exec` left it nothing to share. For a tree of
several processes, or one forked from a server whose pages it shares, PSS is read, but only when `_is_due`
says that it is worth its cost; in between, the growth of the upper bound is added. Neither figure includes
pages of files on disk, because the kernel can drop them and read them again.

`worker.budget.memory_governor` owns one `TreeProbe` for each running file.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from passmuster.host.host_resources import PROC
from passmuster.host.psutil_fallback import resident_bytes, unshared_bytes

GROWTH_PRICE_RATIO = 50
"""After growth, PSS is read when the last reading took at most 1/50 of the time since: 2 % of a CPU."""

ALARM_PRICE_RATIO = 4
"""After new processes started, or when memory is short, reading PSS may take up to a quarter of a CPU."""

CHANGE_SHARE = 0.05
"""Change of the upper bound, as a share, below which PSS is not read again."""

STALE_S = 1.0
"""Seconds after which PSS is read again in any case, if its cost allows."""

UNSHARE_BYTES_PER_S = 1024**3
"""How fast writes can turn shared pages into private ones, which the upper bound does not show."""

_RESIDENT_FIELDS = (b"RssAnon:", b"RssShmem:", b"VmSwap:")
_PSS_FIELDS = (b"Pss_Anon:", b"Pss_Shmem:", b"SwapPss:")


class TreeMemory(Struct, frozen=True, kw_only=True):
    """One measurement of a process tree."""

    used_bytes: int
    """The best estimate."""
    upper_bytes: int
    """Upper bound: shared pages count in every process."""
    file_bytes: int
    """Pages of files on disk in its largest process; not part of the other figures."""
    processes: int
    is_exact: bool
    """Whether an exact measurement would find nothing new."""
    is_due: bool
    """Whether an exact measurement is worth its cost now."""
    is_settled: bool
    """Whether no process started since PSS was last read. Until then a forked child counts in full, so an
    unsettled estimate is not recorded as a peak."""


class _Resident(Struct, frozen=True):
    """One process by its status file, in bytes."""

    own_bytes: int
    file_bytes: int


class _PssReading(Struct, frozen=True):
    """The last PSS reading of a tree, the upper bound at that time, and its cost."""

    pss_bytes: int
    upper_bytes: int
    pids: frozenset[int]
    at_s: float
    cost_s: float


class TreeProbe:
    """Measures one process tree repeatedly. Not thread-safe: one sampler owns it."""

    def __init__(self, *, proc: Path = PROC) -> None:
        self.is_forked = False
        """Whether its first process was forked and therefore shares pages with its server."""
        self._proc = str(proc)
        self._has_proc = (proc / "self").exists()
        self._last: _PssReading | None = None
        self.pss_cost_s = 0.0
        """CPU seconds that the last `measure` spent on reading PSS."""

    @property
    def price_s(self) -> float:
        """CPU seconds that the next PSS reading would take; 0 for a tree that never had two processes."""
        return self._last.cost_s if self._last is not None else 0.0

    def measure(
        self, pids: Sequence[int], *, now_s: float, spare_bytes: int, exact: bool = False
    ) -> TreeMemory:
        """Measure the tree. Processes that have exited count as zero.

        The fewer `spare_bytes` are left of the budget or limit, the more often PSS is due. With `exact`, read
        it now at any cost; otherwise the result only says whether it is due.
        """
        resident: dict[int, _Resident] = {}
        for pid in pids:
            reading = self._resident(pid)
            if reading is not None:
                resident[pid] = reading
        upper_bytes = sum(reading.own_bytes for reading in resident.values())
        is_tree = len(resident) > 1 or (self.is_forked and bool(resident))
        self.pss_cost_s = 0.0
        if is_tree and exact:
            self._read_pss(resident, upper_bytes, now_s)
        return TreeMemory(
            used_bytes=self._estimate(resident, upper_bytes),
            upper_bytes=upper_bytes,
            file_bytes=max((reading.file_bytes for reading in resident.values()), default=0),
            processes=len(resident),
            is_exact=exact or not is_tree,
            is_due=is_tree and not exact and self._is_due(resident, upper_bytes, now_s, spare_bytes),
            is_settled=not is_tree or (self._last is not None and self._last.pids.issuperset(resident)),
        )

    def _estimate(self, resident: dict[int, _Resident], upper_bytes: int) -> int:
        """Return the tree's bytes: the last PSS reading plus the growth since."""
        last = self._last
        if last is None or (len(resident) <= 1 and not self.is_forked):
            return upper_bytes
        grown_bytes = max(0, upper_bytes - last.upper_bytes)
        return min(upper_bytes, last.pss_bytes + grown_bytes)

    def _is_due(
        self, resident: dict[int, _Resident], upper_bytes: int, now_s: float, spare_bytes: int
    ) -> bool:
        """Whether reading PSS is worth its cost now."""
        last = self._last
        if last is None:
            return True
        age_s = now_s - last.at_s
        if age_s < last.cost_s * ALARM_PRICE_RATIO:
            return False
        if not last.pids.issuperset(resident):
            # Only PSS shows how much a new process shares with its parent.
            return True
        hidden_bytes = last.upper_bytes - last.pss_bytes
        if min(hidden_bytes, age_s * UNSHARE_BYTES_PER_S) > spare_bytes / 2:
            return True
        if age_s < last.cost_s * GROWTH_PRICE_RATIO:
            return False
        return age_s >= STALE_S or abs(upper_bytes - last.upper_bytes) > last.upper_bytes * CHANGE_SHARE

    def _read_pss(self, resident: dict[int, _Resident], upper_bytes: int, now_s: float) -> None:
        """Read PSS of every process and store it with its cost."""
        # CPU seconds, not wall-clock seconds: on a machine busy with fifty growing processes the wall clock
        # shows many times more, and sampling would be rarest when it matters most.
        started_s = time.thread_time()
        pss_bytes = sum(self._pss(pid, reading) for pid, reading in resident.items())
        self.pss_cost_s = time.thread_time() - started_s
        self._last = _PssReading(
            pss_bytes=min(pss_bytes, upper_bytes),
            upper_bytes=upper_bytes,
            pids=frozenset(resident),
            at_s=now_s,
            cost_s=self.pss_cost_s,
        )

    def _resident(self, pid: int) -> _Resident | None:
        """Return a process's resident bytes; None if it has exited."""
        if not self._has_proc:
            rss_bytes = resident_bytes(pid)
            return None if rss_bytes is None else _Resident(rss_bytes, 0)
        try:
            with open(f"{self._proc}/{pid}/status", "rb", buffering=0) as file:
                text = file.read()
        except OSError:
            # ESRCH comes from read() when the process ends between open() and read().
            return None
        return _Resident(_sum_kib(text, _RESIDENT_FIELDS) or 0, _sum_kib(text, (b"RssFile:",)) or 0)

    def _pss(self, pid: int, resident: _Resident) -> int:
        """Return a process's PSS; 0 if it has exited, its resident bytes if PSS is not readable."""
        if not self._has_proc:
            own_bytes = unshared_bytes(pid)
            return resident.own_bytes if own_bytes is None else own_bytes
        try:
            with open(f"{self._proc}/{pid}/smaps_rollup", "rb", buffering=0) as file:
                text = file.read()
        except ProcessLookupError:
            # It exited after its status was read and waits to be reaped: its memory is free.
            return 0
        except FileNotFoundError:
            # Kernels before 4.14 have no such file for living processes either.
            return resident.own_bytes if Path(self._proc, str(pid)).exists() else 0
        except OSError:
            return resident.own_bytes
        pss_bytes = _sum_kib(text, _PSS_FIELDS[:1])
        if pss_bytes is None:
            # Kernels before 5.9 do not split PSS: it includes files on disk, so it may be too high.
            whole_bytes = _sum_kib(text, (b"Pss:", b"SwapPss:"))
            return resident.own_bytes if whole_bytes is None else min(whole_bytes, resident.own_bytes)
        return _sum_kib(text, _PSS_FIELDS) or 0


def _sum_kib(text: bytes, fields: Sequence[bytes]) -> int | None:
    """Return the sum in bytes of `fields` in a text of `Name: 12 kB` lines; None if it has none of them."""
    total_bytes: int | None = None
    for field in fields:
        start = text.find(b"\n" + field)
        if start >= 0:
            value = text[start + 1 + len(field) :].split(None, 1)[0]
            total_bytes = (total_bytes or 0) + int(value) * 1024
    return total_bytes
