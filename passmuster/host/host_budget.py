"""Shares the memory and the CPUs of one machine between the runs on it.

Every run keeps a file with its request in a common directory (`passmuster.host.machine_claims`), locked as
long as the run lives, so the file of a killed run does not count. Before a file starts, the run applies the
rules of `passmuster.host.host_budget_policy` to the requests of all runs, under one common lock. The cost for
a single run is one lock and one small write.

Clocks are not compared between runs: a run counts as frozen when its request has not changed for a while by
the reader's own clock. The memory that a frozen run uses counts; its reservations and its waiting do not.

`worker.budget.memory_governor` asks for every file that it starts. A run inside a test of another run does
not share: its files are measured as part of that test, and bounded by that test's limit.
"""

from __future__ import annotations

import fcntl
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec import Struct, structs

from passmuster.host.capacity import machine_bytes
from passmuster.host.host_budget_policy import (
    FileNeed,
    HeldResources,
    SharedResources,
    Shortage,
    find_shortage,
    first_bytes,
    further_bytes,
)
from passmuster.host.host_budget_policy import surplus_bytes as surplus_of
from passmuster.host.host_resources import Level, usable_cpus
from passmuster.host.machine_claims import (
    MAX_LEVELS,
    SUFFIX,
    ClaimError,
    RunClaim,
    claim_paths,
    default_folder,
    encode,
    name_holders,
    private_folder,
    read_claim,
    shared_folder,
)
from passmuster.host.machine_peaks import add_peaks, load_peaks
from passmuster.model.executor import OtherRuns
from passmuster.model.units import Amount

LOCK_PATIENCE_S = 0.05
"""Seconds to wait for the common lock, which is held for microseconds."""

LOCK_GIVE_UP_S = 2.0
"""Seconds after which a run decides without the common lock, because its holder hangs."""

FROZEN_S = 5.0
"""Seconds without a change of its request after which a run counts as frozen; a live one changes four times a
second while files run or wait."""

ASKED_S = 1.0
"""Seconds for which a run waits after it last asked; it asks ten times a second."""

READ_EVERY_S = 0.1
"""Seconds for which cached requests and the machine's memory figure are valid when no decision depends on
them."""

READ_EVERY_S_FOR_EACH = 0.015
"""Seconds more for each other run: reading a claim takes 30 µs, and every run reads those of all others."""

RACY_NS = 1_000_000_000
"""A folder changed less than this ago may change again without its time showing it: it ticks coarsely."""


class RunProfile(Struct, frozen=True, kw_only=True):
    """The properties of a run when it joins.

    Args:
        is_nice: whether it yields to every other run that waits.
        machine_memory: the memory that the files of all runs may use together; None: 80 % of the available.
    """

    root: str
    budget_bytes: int
    slots: int
    is_nice: bool = False
    machine_memory: Amount | None = None


class HostBudget:
    """One run's share of the machine. Thread-safe."""

    def __init__(
        self,
        folder: Path,
        profile: RunProfile,
        *,
        levels: Callable[[], Sequence[Level]],
        is_shared: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Join the runs on this machine.

        Args:
            folder: holds the claims; `open_host_budget` has checked it.

        Raises:
            OSError: the folder cannot be written.
        """
        self._folder, self._profile, self._read_levels, self._clock = folder, profile, levels, clock
        self._mutex = threading.RLock()
        self._others: dict[str, _Other] = {}
        self._read_at_s = self._levels_read_at_s = self._asked_at_s = float("-inf")
        self._lock_missed_s: float | None = None
        self._seen_mtime_ns = -1
        self._processors = sum(1 << number for number in usable_cpus())
        self.peaks_bytes = load_peaks(folder)
        """Peaks of files of any project on this machine, from this user's recent runs."""
        self.unreadable = 0
        """Number of live runs at the start whose requests could not be read."""
        mode = 0o644 if is_shared else 0o600
        self._lock_fd = _open_lock(folder / "lock", mode)
        self._claim_fd = -1
        try:
            self._levels = tuple(levels())[:MAX_LEVELS]
            self._claim = RunClaim(
                run=f"{os.getpid()}-{os.urandom(4).hex()}",
                pid=os.getpid(),
                root=profile.root,
                started_at=time.time(),
                budget_bytes=profile.budget_bytes,
                slots=profile.slots,
                nice=profile.is_nice,
                processors=self._processors,
                levels=tuple(level.name for level in self._levels),
            )
            self._path = folder / f"{self._claim.run}{SUFFIX}"
            self._claim_fd = self._make_claim(mode)
            self._read_others()
            self.unreadable = sum(other.claim is None for other in self._others.values())
        except BaseException:
            self._leave()
            raise

    @property
    def others(self) -> int:
        """Number of other runs at the last reading."""
        return len(self._others)

    def try_start(self, need: FileNeed, held: HeldResources) -> Shortage | None:
        """Reserve the needs of one more file; return the resource it must wait for if it cannot start now."""
        with self._mutex, self._exclusively() as is_held:
            if not is_held:
                return self._published_shortage() or Shortage.MEMORY
            self._read_others()
            shortage = self._find_shortage(need, held)
            if shortage is None:
                self._asked_at_s = float("-inf")
                self._write(held.with_one_more(need))
            else:
                self.wait(need, held, shortage)
            return shortage

    def find_shortage(self, need: FileNeed, held: HeldResources) -> Shortage | None:
        """Return the resource that one more file would have to wait for, without reserving anything.

        Cheap: other claims are read ten times a second at most.
        """
        with self._mutex:
            self._refresh()
            return self._find_shortage(need, held)

    def wait(self, need: FileNeed, held: HeldResources, shortage: Shortage) -> None:
        """Publish that a file waits for a resource of other runs, since now or since its wait started."""
        with self._mutex:
            now_s, wall_s = self._clock(), time.time()
            since_s, since_at = self._claim.waiting_since_s, self._claim.waiting_since_at
            if not self._is_waiting():
                since_s, since_at = now_s, wall_s
            self._asked_at_s = now_s
            self._claim = structs.replace(
                self._claim,
                waits_for=str(shortage),
                wanted_bytes=max(1, need.memory_bytes),
                wanted_cpus=need.cpus,
                waiting_since_s=since_s,
                waiting_since_at=since_at,
            )
            self._write(held)

    def free_bytes(self, held: HeldResources) -> int:
        """Return the memory that the other runs leave for the next file."""
        with self._mutex:
            self._refresh()
            own = self._own(held)
            left = first_bytes if held.files == 0 else further_bytes
            return min(left(own, shared) for shared in self._shared_levels(held))

    def surplus_bytes(self, held: HeldResources) -> int:
        """Return the bytes that this run must free because the files of all runs use too much."""
        with self._mutex:
            self._refresh()
            own = self._own(held)
            return max(surplus_of(own, shared) for shared in self._shared_levels(held))

    def spare_bytes(self, held: HeldResources) -> int:
        """Return the shared memory that the files of all runs leave free, as last measured."""
        with self._mutex:
            self._refresh()
            return min(
                shared.memory_bytes - held.used_bytes - sum(other.used_bytes for other in shared.others)
                for shared in self._shared_levels(held)
            )

    def others_reserved_bytes(self) -> int:
        """Return the reservations of the other runs."""
        with self._mutex:
            self._refresh()
            return sum(claim.reserved_bytes for claim in self._claims())

    def machine_bytes(self, held: HeldResources) -> int:
        """Return the memory that the files of all runs together may use."""
        with self._mutex:
            self._refresh()
            return min(shared.memory_bytes for shared in self._shared_levels(held))

    def report(self, held: HeldResources) -> None:
        """Publish what this run holds now: after a file ended, and while files run."""
        with self._mutex:
            self._write(held)  # A single write of this run's own request needs no lock.

    def other_runs(self) -> OtherRuns | None:
        """Return the resource of other runs that this run waits for, or None if it does not wait."""
        with self._mutex:
            if not self._is_waiting():
                return None
            claim = self._claim
            return OtherRuns(
                what=claim.waits_for,
                seconds=max(0.0, self._clock() - claim.waiting_since_s),
                needed_bytes=claim.wanted_bytes,
                held_by=name_holders(self._claims(), claim.waits_for),
            )

    def add_peaks(self, peaks_bytes: Sequence[int]) -> None:
        """Store the peaks of this run's files for later runs."""
        add_peaks(self._folder, peaks_bytes)

    def close(self) -> None:
        """Leave the shared budget. Idempotent."""
        with self._mutex:
            self._leave()

    def _leave(self) -> None:
        if self._claim_fd >= 0:
            self._path.unlink(missing_ok=True)
            os.close(self._claim_fd)
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
        self._claim_fd = self._lock_fd = -1

    def _make_claim(self, mode: int) -> int:
        """Write the request, locked before it is visible; return its descriptor."""
        hidden = self._folder / f".{self._claim.run}"
        claim_fd = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        try:
            os.fchmod(claim_fd, mode)
            fcntl.flock(claim_fd, fcntl.LOCK_EX)
            os.pwrite(claim_fd, encode(self._claim), 0)
            hidden.rename(self._path)
        except BaseException:
            with suppress(OSError):
                hidden.unlink(missing_ok=True)
            os.close(claim_fd)
            raise
        return claim_fd

    def _find_shortage(self, need: FileNeed, held: HeldResources) -> Shortage | None:
        own = self._own(held)
        shortages = [find_shortage(own, need, shared) for shared in self._shared_levels(held)]
        return next((shortage for shortage in shortages if shortage is not None), None)

    def _own(self, held: HeldResources) -> RunClaim:
        """Return this run's claim with what it holds now; the fields of both have the same names."""
        waits_for = self._claim.waits_for if self._is_waiting() else ""
        return structs.replace(self._claim, waits_for=waits_for, **structs.asdict(held))

    def _is_waiting(self) -> bool:
        return self._clock() - self._asked_at_s <= ASKED_S

    def _published_shortage(self) -> Shortage | None:
        return Shortage(self._claim.waits_for) if self._is_waiting() and self._claim.waits_for else None

    def _claims(self) -> list[RunClaim]:
        """Return the claims of the other runs."""
        return [other.claim for other in self._others.values() if other.claim is not None]

    def _shared_levels(self, held: HeldResources) -> Iterator[SharedResources]:
        """Yield the machine, shared by all runs, and each control group, shared by those inside it."""
        for level in self._levels:
            claims = tuple(claim for claim in self._claims() if level.name in claim.levels)
            memory_bytes = 1 << 62
            if level.left_bytes is not None:
                used_bytes = held.used_bytes + sum(claim.used_bytes for claim in claims)
                memory_bytes = machine_bytes(
                    self._profile.machine_memory, can_give_bytes=level.left_bytes + used_bytes
                )
            yield SharedResources(others=claims, memory_bytes=memory_bytes, cpus=level.cpus)

    def _write(self, held: HeldResources) -> None:
        """Replace this run's request; a failure only leaves the other runs with older figures."""
        own = self._own(held)
        self._claim = structs.replace(
            own,
            beat=own.beat + 1,
            busy_since_s=own.busy_since_s if self._claim.files else self._clock(),
            cpus=round(own.cpus, 3),
            wanted_bytes=own.wanted_bytes if own.waits_for else 0,
        )
        if self._claim_fd >= 0:
            with suppress(OSError):
                os.pwrite(self._claim_fd, encode(self._claim), 0)

    @contextmanager
    def _exclusively(self) -> Iterator[bool]:
        """Hold the common lock; yield whether to decide: the lock is held, or its holder hangs."""
        is_held = _lock(self._lock_fd, wait_s=LOCK_PATIENCE_S)
        now_s = self._clock()
        if is_held:
            self._lock_missed_s = None
        elif self._lock_missed_s is None:
            self._lock_missed_s = now_s
        missed_s = self._lock_missed_s
        try:
            yield is_held or (missed_s is not None and now_s - missed_s >= LOCK_GIVE_UP_S)
        finally:
            if is_held:
                fcntl.flock(self._lock_fd, fcntl.LOCK_UN)

    def _refresh(self) -> None:
        """Read the requests again if the cached ones are too old."""
        now_s = self._clock()
        if now_s - self._read_at_s > READ_EVERY_S + READ_EVERY_S_FOR_EACH * len(self._others):
            self._read_others()
        if now_s - self._levels_read_at_s > READ_EVERY_S:
            self._refresh_levels()

    def _refresh_levels(self) -> None:
        self._levels_read_at_s = self._clock()
        with suppress(OSError):  # A control group was removed: what was read last counts.
            self._levels = tuple(self._read_levels())[:MAX_LEVELS]

    def _read_others(self) -> None:
        """Read the requests of live runs, and remove those of dead runs."""
        now_s = self._clock()
        self._read_at_s = now_s
        try:
            mtime_ns = self._folder.stat().st_mtime_ns
            if mtime_ns == self._seen_mtime_ns and not self._others:
                return  # No other run has joined since the last reading.
            paths = claim_paths(self._folder)
        except OSError:
            return  # The folder was removed: other runs cannot be seen, and this run does not wait for them.
        found: dict[str, _Other] = {}
        for path in paths:
            name = path.name.removesuffix(SUFFIX)
            if name == self._claim.run:
                continue
            other = self._others.get(name) or _Other()
            try:
                claim = read_claim(path)
                if claim is None:
                    continue
                other = other.after(claim, now_s=now_s, processors=self._processors)
            except FileNotFoundError:
                continue
            except (ClaimError, OSError):
                pass  # Another version's claim does not count; if it is torn, the last reading stays valid.
            found[name] = other
        self._others = found
        self._seen_mtime_ns = mtime_ns if time.time_ns() - mtime_ns > RACY_NS else -1


class _Other(Struct, frozen=True):
    """Another run: its claim as far as it counts, and when that last changed; None: it was never readable."""

    claim: RunClaim | None = None
    changed_at_s: float = 0.0

    def after(self, claim: RunClaim, *, now_s: float, processors: int) -> _Other:
        """Return what is known after a further reading."""
        is_same = self.claim is not None and self.claim.beat == claim.beat
        changed_at_s = self.changed_at_s if is_same else now_s
        if now_s - changed_at_s > FROZEN_S:
            used_bytes = claim.used_bytes
            claim = structs.replace(
                claim, reserved_bytes=used_bytes, firm_bytes=used_bytes, cpus=0.0, waits_for=""
            )
        elif claim.processors and claim.processors != processors:
            # The other run is bound to other CPUs: only the shared ones count.
            share = (claim.processors & processors).bit_count() / claim.processors.bit_count()
            claim = structs.replace(claim, cpus=claim.cpus * share)
        return _Other(claim, changed_at_s)


def open_host_budget(
    profile: RunProfile,
    *,
    levels: Callable[[], Sequence[Level]],
    environment: Mapping[str, str],
    folder: Path | None = None,
) -> tuple[HostBudget | None, str]:
    """Join the runs on this machine; return the budget, or None, and a notice for the user, or "".

    Args:
        folder: the folder of `machine-folder`, which other users may share; None: the user's own.
    """
    if INSIDE_A_TEST in environment:
        return None, ""
    place = default_folder(environment) if folder is None else folder
    try:
        (private_folder if folder is None else shared_folder)(place)
        pool = HostBudget(place, profile, levels=levels, is_shared=folder is not None)
    except OSError as error:
        problem = str(error)
        if error.errno is not None:
            problem = (
                f"{error.filename or place}: {error.strerror}; see to it that the folder {place} can be "
                "written, or name another one with --machine-folder"
            )
        return None, f"memory and processors are not shared with other runs on this machine: {problem}"
    notice = ""
    if pool.unreadable:
        notice = (
            f"{pool.unreadable} other run(s) on this machine are of another version of Passmuster; "
            f"memory and processors are not shared with them (see {place})"
        )
    return pool, notice


INSIDE_A_TEST = "PASSMUSTER_SLOT"
"""A variable of every test process, by which a run that a test starts recognizes that."""


def _open_lock(path: Path, mode: int) -> int:
    """Return a descriptor of the common lock; locking needs no more than a right to read."""
    # In a shared directory any user may have created it, for example as a pipe without a writer.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        # Without O_CREAT first: the kernel may refuse it for another user's file in a sticky folder.
        lock_fd = os.open(path, flags)
        if stat.S_ISREG(os.fstat(lock_fd).st_mode):
            return lock_fd
        os.close(lock_fd)
        raise PermissionError(f"{path} is not a file; remove it")
    except FileNotFoundError:
        with suppress(FileExistsError):
            lock_fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, mode)
            os.fchmod(lock_fd, mode)  # Despite the umask, all users of the folder must be able to open it.
            return lock_fd
        return os.open(path, flags)


def _lock(lock_fd: int, *, wait_s: float) -> bool:
    """Try for `wait_s` seconds to take a lock; return whether it is held."""
    deadline_s = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline_s:
                return False
            time.sleep(0.001)
        except OSError:
            return False
