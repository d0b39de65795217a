"""How much memory the process tree of one running file uses.

Two questions may be asked of the kernel, and they differ a thousandfold in price (measured on Linux 6.18):

- `/proc/PID/status`, about 15 µs: resident anonymous, shared-memory and swapped bytes. Pages that a fork
  shares are counted in every process, so that their sum over a tree is an *upper bound*.
- `/proc/PID/smaps_rollup`, about 120 µs and another 8 ms for each GB, because the kernel walks the page
  tables: the proportional set size (PSS), which counts a page shared by n processes as 1/n in each. Its
  sum over a tree is what the tree really takes.

A tree of one process is taken at its upper bound, which is exact: `exec` left it nothing to share. A tree of
several, or one that was forked from a server and shares pages with that, is read by PSS, but only as often as
`_is_due` finds worth the price; in between, what grew since is added. Pages of files on disk count in
neither: the kernel can drop them and read them again.

`worker.budget.memory_governor` owns one `TreeProbe` for each running file.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from passmuster.host.host_resources import PROC
from passmuster.host.psutil_fallback import resident_bytes, unshared_bytes

GROWTH_PRICE_RATIO = 20
"""After growth, PSS is read when the last reading took at most 1/20 of the time since: 5 % of a CPU."""

ALARM_PRICE_RATIO = 4
"""When processes came or memory is short, up to a quarter of a CPU may go into knowing better."""

CHANGE_SHARE = 0.05
"""A change of the upper bound by less than this share is no reason to read PSS again."""

STALE_S = 1.0
"""Seconds after which PSS is read again whatever else happened, where its price allows."""

UNSHARE_BYTES_PER_S = 1024**3
"""How fast shared pages can become private ones by being written to, which the bound does not show."""

_RESIDENT_FIELDS = (b"RssAnon:", b"RssShmem:", b"VmSwap:")
_PSS_FIELDS = (b"Pss_Anon:", b"Pss_Shmem:", b"SwapPss:")


class TreeMemory(Struct, frozen=True, kw_only=True):
    """What a process tree used when it was measured.

    Args:
        used_bytes: the best estimate.
        upper_bytes: what it cannot be above, because shared pages are counted in every process.
        file_bytes: pages of files on disk in its largest process; not part of the others.
        processes: how many processes there were.
        is_exact: whether measuring again, more dearly, would tell nothing new.
        is_due: whether it is worth its price now to measure once more, exactly.
        is_settled: whether no process came since sharing was last measured. A forked child counts in full
            until then, so that an unsettled estimate is no peak to remember.
    """

    used_bytes: int
    upper_bytes: int
    file_bytes: int
    processes: int
    is_exact: bool
    is_due: bool
    is_settled: bool


class _Resident(Struct, frozen=True):
    """One process by its status file, in bytes."""

    own_bytes: int
    file_bytes: int


class _PssReading(Struct, frozen=True):
    """The last dear reading of a tree, the bound it was made at, and its price."""

    pss_bytes: int
    upper_bytes: int
    pids: frozenset[int]
    at_s: float
    cost_s: float


class TreeProbe:
    """Measures one process tree again and again. Not thread-safe: one sampler owns it."""

    def __init__(self, *, proc: Path = PROC) -> None:
        self.is_forked = False
        """Whether its first process was forked and not executed, and so shares pages with its server."""
        self._proc = str(proc)
        self._has_proc = (proc / "self").exists()
        self._last: _PssReading | None = None
        self.dear_s = 0.0
        """CPU seconds that the last `measure` spent on reading PSS."""

    @property
    def price_s(self) -> float:
        """CPU seconds that reading PSS once more would take; 0 for a tree that never had two processes."""
        return self._last.cost_s if self._last is not None else 0.0

    def measure(
        self, pids: Sequence[int], *, now_s: float, spare_bytes: int, exact: bool = False
    ) -> TreeMemory:
        """Measure the tree. Processes that vanish meanwhile count as nothing; it never raises for them.

        Args:
            pids: the tree's processes, some of which may be gone.
            now_s: a clock that only goes forward.
            spare_bytes: what is left until the answer matters: the less, the more exactly it is measured.
            exact: read PSS now, whatever it costs; otherwise the answer only says whether that is due.
        """
        resident: dict[int, _Resident] = {}
        for pid in pids:
            reading = self._resident(pid)
            if reading is not None:
                resident[pid] = reading
        upper_bytes = sum(reading.own_bytes for reading in resident.values())
        is_tree = len(resident) > 1 or (self.is_forked and bool(resident))
        self.dear_s = 0.0
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
        """Return the tree's bytes by the last PSS reading and what changed since."""
        last = self._last
        if last is None or (len(resident) <= 1 and not self.is_forked):
            return upper_bytes
        grown_bytes = max(0, upper_bytes - last.upper_bytes)
        return min(upper_bytes, last.pss_bytes + grown_bytes)

    def _is_due(
        self, resident: dict[int, _Resident], upper_bytes: int, now_s: float, spare_bytes: int
    ) -> bool:
        """Return whether PSS is worth its price now."""
        last = self._last
        if last is None:
            return True
        age_s = now_s - last.at_s
        if age_s < last.cost_s * ALARM_PRICE_RATIO:
            return False
        if not last.pids.issuperset(resident):
            # What a new process shares with its parent is the whole question.
            return True
        hidden_bytes = last.upper_bytes - last.pss_bytes
        if min(hidden_bytes, age_s * UNSHARE_BYTES_PER_S) > spare_bytes / 2:
            return True
        if age_s < last.cost_s * GROWTH_PRICE_RATIO:
            return False
        return age_s >= STALE_S or abs(upper_bytes - last.upper_bytes) > last.upper_bytes * CHANGE_SHARE

    def _read_pss(self, resident: dict[int, _Resident], upper_bytes: int, now_s: float) -> None:
        """Read PSS of every process and remember it with its price."""
        # CPU seconds and not those on the clock: on a machine that is busy with fifty growing processes these
        # are many times more, and we would look least often when it matters most.
        started_s = time.thread_time()
        pss_bytes = sum(self._pss(pid, reading) for pid, reading in resident.items())
        self.dear_s = time.thread_time() - started_s
        self._last = _PssReading(
            pss_bytes=min(pss_bytes, upper_bytes),
            upper_bytes=upper_bytes,
            pids=frozenset(resident),
            at_s=now_s,
            cost_s=self.dear_s,
        )

    def _resident(self, pid: int) -> _Resident | None:
        """Return a process's resident bytes; None when it is gone."""
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
        """Return a process's proportional bytes; 0: it is gone; its resident ones: they may not be read."""
        if not self._has_proc:
            own_bytes = unshared_bytes(pid)
            return resident.own_bytes if own_bytes is None else own_bytes
        try:
            with open(f"{self._proc}/{pid}/smaps_rollup", "rb", buffering=0) as file:
                text = file.read()
        except ProcessLookupError:
            # It has ended since its status was read, and waits to be reaped: its memory is gone.
            return 0
        except FileNotFoundError:
            # Kernels before 4.14 have no such file for living processes either.
            return resident.own_bytes if Path(self._proc, str(pid)).exists() else 0
        except OSError:
            return resident.own_bytes
        pss_bytes = _sum_kib(text, _PSS_FIELDS[:1])
        if pss_bytes is None:
            # Kernels before 5.9 do not split PSS: files on disk are in it, so that it may be too high.
            whole_bytes = _sum_kib(text, (b"Pss:", b"SwapPss:"))
            return resident.own_bytes if whole_bytes is None else min(whole_bytes, resident.own_bytes)
        return _sum_kib(text, _PSS_FIELDS) or 0


def _sum_kib(text: bytes, fields: Sequence[bytes]) -> int | None:
    """Return the sum in bytes of those of `fields` that a text of `Name: 12 kB` lines has; None: none."""
    total_bytes: int | None = None
    for field in fields:
        start = text.find(b"\n" + field)
        if start >= 0:
            value = text[start + 1 + len(field) :].split(None, 1)[0]
            total_bytes = (total_bytes or 0) + int(value) * 1024
    return total_bytes
