"""Two or more runs on one machine share its memory instead of each taking all of it.

Every run keeps a file with its claim in one private directory of the user, and holds it locked (`flock`) as
long as it lives. A claim whose lock is free belongs to a dead run and is removed by whoever sees it: nothing
is left behind by a kill. Claims change under one common lock, by the rule of `worker.pool_rule`. A run alone
pays for a lock and a small write.

`worker.memory_governor` asks for every file it starts. A run inside a test of another run must not take part:
its memory is already counted there, and waiting for it would wait for itself.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from worker.capacity import DEFAULT_BUDGET_BYTES, ceiling_bytes
from worker.pool_rule import Claim, left_bytes, may_reserve

CLAIM_SIZE_BYTES = 512
"""Every claim is padded to this size, so that one write replaces it whole."""

LOCK_PATIENCE_S = 0.05
"""Seconds to wait for the common lock. It is held for microseconds; who holds it longer has been stopped."""

FRESH_S = 3.0
"""Seconds for which a wait counts after its run last asked. A run that hangs must not hold up the others."""

READ_EVERY_S = 0.1
"""Seconds for which the machine's memory, and where nothing is decided on them the claims, are believed."""

RACY_NS = 1_000_000_000
"""A directory changed less than this ago may change again without its time showing it: it ticks coarsely."""

DIRECTORY_NAME = "passmuster-pool"

INSIDE_A_TEST = "PASSMUSTER_SLOT"
"""Set in the environment of every test process, so that a run started by a test can tell."""


class MachinePool:
    """One run's seat in the pool. Thread-safe."""

    def __init__(
        self,
        directory: Path,
        *,
        is_default: bool,
        available_bytes: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take a seat.

        Args:
            directory: where the claims lie; it must exist and be ours alone (`open_pool` sees to it).
            is_default: whether this run's budget is the default one, which all such runs share.
            available_bytes: asks the machine what could be used now.
            clock: seconds on a clock that all processes share and that only goes forward.

        Raises:
            OSError: the directory cannot be written.
        """
        self._directory = directory
        self._available_bytes = available_bytes
        self._clock = clock
        self._mutex = threading.Lock()
        self._others: tuple[Claim, ...] = ()
        self._read_at_s = float("-inf")
        self._asked_at_s = float("-inf")
        self._machine_bytes, self._machine_read_at_s = 0, float("-inf")
        self._seen_mtime_ns = -1
        self._lock_fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            self._claim = Claim(run=f"{os.getpid()}-{os.urandom(4).hex()}", is_default=is_default)
            self._path = directory / f"{self._claim.run}.claim"
            # Under the common lock, because a claim that is not locked yet looks like a dead run's.
            with self._exclusively(wait_s=5.0) as is_held:
                if not is_held:
                    raise OSError(
                        "the lock of the shared memory pool is held by a process that does not move"
                    )
                self._claim_fd = os.open(
                    self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600
                )
                fcntl.flock(self._claim_fd, fcntl.LOCK_EX)
                os.pwrite(self._claim_fd, self._encode(self._claim), 0)
                self._read_others()
        except BaseException:
            os.close(self._lock_fd)
            raise

    @property
    def others(self) -> int:
        """How many other runs there were when last looked."""
        return len(self._others)

    def try_reserve(self, need_bytes: int, *, reserved_bytes: int, used_bytes: int) -> bool:
        """Reserve memory for one more file; False: not now, ask again within a second or so.

        Args:
            need_bytes: what the file needs.
            reserved_bytes: what this run's running files have reserved.
            used_bytes: what they use.
        """
        with self._mutex, self._exclusively() as is_held:
            if not is_held:
                return False
            self._read_others()
            own = replace(self._claim, reserved_bytes=reserved_bytes, used_bytes=used_bytes)
            is_granted = may_reserve(
                own,
                self._others,
                need_bytes=need_bytes,
                ceiling_bytes=self._ceiling_bytes(own),
                default_pool_bytes=DEFAULT_BUDGET_BYTES,
            )
            if is_granted:
                own = replace(own, reserved_bytes=reserved_bytes + need_bytes, wanted_bytes=0)
                self._write(own)
            else:
                self._write(self._waiting(own, need_bytes))
            return is_granted

    def report(self, *, reserved_bytes: int, used_bytes: int) -> None:
        """Tell the others what this run holds now: after a file ended, and while files grow."""
        with self._mutex, self._exclusively():
            # Without the common lock this is still one write of a claim that is ours alone.
            self._write(replace(self._claim, reserved_bytes=reserved_bytes, used_bytes=used_bytes))

    def want(self, need_bytes: int) -> None:
        """Say that a file waits for memory the other runs hold, without asking for it now."""
        with self._mutex, self._exclusively():
            self._write(self._waiting(self._claim, need_bytes))

    def allowance_bytes(self) -> int:
        """Return what all files of this run together may use now: the pool without the others' share.

        Cheap: the others' claims are read ten times a second at most.
        """
        with self._mutex:
            if self._clock() - self._read_at_s > READ_EVERY_S:
                with self._exclusively() as is_held:
                    if is_held:
                        self._read_others()
            return left_bytes(
                self._claim,
                self._others,
                ceiling_bytes=self._ceiling_bytes(self._claim),
                default_pool_bytes=DEFAULT_BUDGET_BYTES,
            )

    def close(self) -> None:
        """Leave the pool. Harmless when called again."""
        with self._mutex:
            if self._claim_fd < 0:
                return
            self._path.unlink(missing_ok=True)
            os.close(self._claim_fd)
            os.close(self._lock_fd)
            self._claim_fd = self._lock_fd = -1

    def _waiting(self, own: Claim, need_bytes: int) -> Claim:
        """Return `own` waiting for `need_bytes`, since now or since it began to wait."""
        now_s = self._clock()
        is_waiting = own.is_hungry and now_s - self._asked_at_s <= FRESH_S
        since_s = own.waiting_since_s if is_waiting else now_s
        self._asked_at_s = now_s
        return replace(own, wanted_bytes=max(1, need_bytes), waiting_since_s=since_s)

    def _ceiling_bytes(self, own: Claim) -> int:
        """Return the most that all runs may reserve: what they use now would be available without them."""
        now_s = self._clock()
        if now_s - self._machine_read_at_s > READ_EVERY_S:
            self._machine_bytes, self._machine_read_at_s = self._available_bytes(), now_s
        used_bytes = own.used_bytes + sum(other.used_bytes for other in self._others)
        return ceiling_bytes(available_bytes=self._machine_bytes + used_bytes)

    @contextmanager
    def _exclusively(self, *, wait_s: float = LOCK_PATIENCE_S) -> Iterator[bool]:
        """Hold the common lock, if it can be had in time; yield whether it is held."""
        is_held = _lock(self._lock_fd, wait_s=wait_s)
        try:
            yield is_held
        finally:
            if is_held:
                fcntl.flock(self._lock_fd, fcntl.LOCK_UN)

    def _write(self, claim: Claim) -> None:
        """Replace our claim, if it can be: the others then only know less, and nothing stops for that."""
        self._claim = claim
        if self._claim_fd >= 0:
            with suppress(OSError):
                os.pwrite(self._claim_fd, self._encode(claim), 0)

    def _encode(self, claim: Claim) -> bytes:
        """Return our claim as its file holds it."""
        record = {
            "pid": os.getpid(),
            "reserved_bytes": claim.reserved_bytes,
            "used_bytes": claim.used_bytes,
            "default_budget": claim.is_default,
            "wanted_bytes": claim.wanted_bytes,
            "waiting_since_s": claim.waiting_since_s,
            "asked_at_s": self._asked_at_s if claim.is_hungry else 0.0,
        }
        return json.dumps(record).encode().ljust(CLAIM_SIZE_BYTES)

    def _read_others(self) -> None:
        """Read the claims of the living, and remove those of the dead."""
        now_s = self._clock()
        mtime_ns = self._directory.stat().st_mtime_ns
        if mtime_ns == self._seen_mtime_ns and not self._others:
            # Nobody came since we last saw that we are alone.
            self._read_at_s = now_s
            return
        claims: list[Claim] = []
        for path in self._directory.glob("*.claim"):
            if path != self._path:
                claim = _read_claim(path, now_s=now_s)
                if claim is not None:
                    claims.append(claim)
        self._others, self._read_at_s = tuple(claims), now_s
        self._seen_mtime_ns = mtime_ns if time.time_ns() - mtime_ns > RACY_NS else -1


def open_pool(
    *,
    is_default: bool,
    available_bytes: Callable[[], int],
    environment: Mapping[str, str],
    directory: Path | None = None,
) -> tuple[MachinePool | None, str]:
    """Take a seat in the user's pool; return it, or None, and a notice for the user that may be empty.

    Args:
        is_default: whether this run's budget is the default one.
        available_bytes: asks the machine what could be used now.
        environment: the runner's environment.
        directory: where the claims lie; None: the user's own place for such things.
    """
    if INSIDE_A_TEST in environment:
        return None, ""
    try:
        place = _private_directory(directory or _default_directory(environment))
        return MachinePool(place, is_default=is_default, available_bytes=available_bytes), ""
    except OSError as error:
        return None, f"memory is not shared with other runs on this machine: {error}"


def _default_directory(environment: Mapping[str, str]) -> Path:
    """Return the user's directory: below the runtime directory, which nobody else can enter, or /tmp.

    $TMPDIR is not asked where there is a /tmp: it may be another for each run, and then nobody would meet.
    """
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    # After `sudo` the variable may still name another user's directory.
    if runtime and os.access(runtime, os.W_OK) and Path(runtime).stat().st_uid == os.getuid():
        return Path(runtime, DIRECTORY_NAME)
    base = Path("/tmp")
    if not os.access(base, os.W_OK):
        # Imported only here: it takes as long as everything else in this module together.
        import tempfile

        base = Path(tempfile.gettempdir())
    return base / f"{DIRECTORY_NAME}-{os.getuid()}"


def _private_directory(directory: Path) -> Path:
    """Make the directory, or see that the one there is ours: no link, our own, closed to others.

    Raises:
        OSError: it cannot be made, or somebody else could have put it there.
    """
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700, parents=False)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise PermissionError(f"{directory} is not a directory; remove it")
    if found.st_uid != os.getuid():
        raise PermissionError(f"{directory} belongs to user {found.st_uid}, not to {os.getuid()}; remove it")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise PermissionError(f"{directory} is open to other users; remove it")
    return directory


def _lock(lock_fd: int, *, wait_s: float) -> bool:
    """Take a lock, trying for `wait_s` seconds; return whether it was had."""
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


def _read_claim(path: Path, *, now_s: float) -> Claim | None:
    """Return the claim of a living run; None, and the file removed, when its run is dead."""
    try:
        claim_fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        if _lock(claim_fd, wait_s=0):
            path.unlink(missing_ok=True)
            return None
        record = json.loads(os.read(claim_fd, CLAIM_SIZE_BYTES))
        # Whoever waits asks again and again; one that stopped asking waits no more, or hangs.
        is_fresh = now_s - float(record["asked_at_s"]) <= FRESH_S
        return Claim(
            run=path.stem,
            reserved_bytes=int(record["reserved_bytes"]),
            used_bytes=int(record["used_bytes"]),
            is_default=bool(record["default_budget"]),
            wanted_bytes=int(record["wanted_bytes"]) if is_fresh else 0,
            waiting_since_s=float(record["waiting_since_s"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        # A living run whose claim cannot be read: better to ignore it than to stop.
        return None
    finally:
        os.close(claim_fd)
