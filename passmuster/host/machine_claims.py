"""Exchanges budget requests between the runs on one machine: each run has a file in a common directory.

A run holds the lock of its file (`flock`) as long as it lives. A file whose lock is free belongs to a dead
run, and any run with the permission removes it. `passmuster.host.host_budget` writes the requests and decides
by those of the other runs; `run-tests status` shows them.

A file may come from another version or, in a directory that several users share, from another user: every
figure is checked and bounded, and text must be escaped before it is shown.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct, ValidationError, convert, structs

from passmuster.model.units import format_bytes

VERSION = 2
"""Incremented when a field changes its meaning or is removed. Requests of other versions are not read."""

CLAIM_SIZE_BYTES = 4096
"""Size to which every request is padded, so that one write replaces it completely."""

MAX_ROOT_CHARS = 1000
MAX_LEVELS = 16

MAX_BYTES = 1 << 50
MAX_COUNT = 1 << 20
"""Upper bound of valid figures."""

MAX_UNIX_S = 4e9
"""The year 2096: later times are invalid, and some platforms cannot format them."""

NAMED_HOLDERS = 3
"""Maximum number of runs that are named as holders of a resource."""

SUFFIX = ".claim"
FOLDER_NAME = "passmuster-pool"


_Count = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
_Bytes = Annotated[int, Meta(ge=0, le=MAX_BYTES)]
_Processors = Annotated[float, Meta(ge=0, le=MAX_COUNT)]
_Seconds = Annotated[float, Meta(ge=0, le=1e12)]
_UnixTime = Annotated[float, Meta(ge=0, le=MAX_UNIX_S)]


class RunClaim(Struct, frozen=True, kw_only=True):
    """What one run holds, may hold, and waits for, as stored in its file.

    Fields `_since_s` are on the machine's monotonic clock, fields `_at` in Unix seconds.

    Args:
        run: the unique name of its file; it breaks ties.
        pid: its process ID in its own container.
        beat: incremented with each write; it stops if the run is frozen.
        nice: whether it yields to the waiting files of other runs.
        busy_since_s: since when it has had a file running; only the order counts.
        firm_bytes: the part of the reservations that is certainly needed.
        processors: the numbers of the CPUs that it may use, as a bit mask.
        waits_for: `memory` or `processors`; empty: it does not wait for other runs.
        waiting_since_at: the same in Unix seconds.
    """

    run: str
    pid: Annotated[int, Meta(ge=0, le=1 << 31)]
    root: str = ""
    started_at: _UnixTime = 0.0
    beat: _Bytes = 0
    budget_bytes: _Bytes = MAX_BYTES
    slots: _Count = 1
    nice: bool = False
    files: _Count = 0
    busy_since_s: _Seconds = 0.0
    reserved_bytes: _Bytes = 0
    firm_bytes: _Bytes = 0
    used_bytes: _Bytes = 0
    cpus: _Processors = 0.0
    processors: int = 0
    levels: Annotated[tuple[str, ...], Meta(max_length=MAX_LEVELS)] = ()
    waits_for: str = ""
    wanted_bytes: _Bytes = 0
    wanted_cpus: _Processors = 0.0
    waiting_since_s: _Seconds = 0.0
    waiting_since_at: _UnixTime = 0.0

    @property
    def waits_for_first_file(self) -> bool:
        """Whether it waits and has nothing running."""
        return self.waits_for != "" and self.files == 0


class ClaimError(ValueError):
    """A request is damaged or was written by another version."""


def encode(claim: RunClaim) -> bytes:
    """Return a request in the form of its file, `CLAIM_SIZE_BYTES` long."""
    fields = structs.asdict(claim)
    del fields["run"]
    fields["processors"] = hex(claim.processors)
    fields["root"] = claim.root[-MAX_ROOT_CHARS:]
    text = json.dumps({"version": VERSION, **fields}).encode()
    if len(text) > CLAIM_SIZE_BYTES:  # A root of characters that JSON escapes.
        text = json.dumps({"version": VERSION, **fields, "root": "..."}).encode()
    return text.ljust(CLAIM_SIZE_BYTES)


def decode(run: str, data: bytes) -> RunClaim:
    """Return the claim that a file holds.

    Args:
        run: the name of the file, without its suffix.

    Raises:
        ClaimError: it is damaged, or was written by another version.
    """
    try:
        record = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ClaimError("it is not JSON") from error
    if not isinstance(record, dict) or record.get("version") != VERSION:
        raise ClaimError("another version of Passmuster wrote it")
    try:
        processors = int(record["processors"], 16)
    except (KeyError, TypeError, ValueError) as error:
        raise ClaimError("processors is wrong: expected hexadecimal digits") from error
    try:
        return convert({**record, "run": run, "processors": processors}, RunClaim)
    except UnicodeEncodeError as error:  # Text with a lone surrogate where a figure belongs.
        raise ClaimError("a figure is wrong: it is text") from error
    except ValidationError as error:
        # Says which field and what is expected; of what was found no more than its type.
        problem, _, place = str(error).partition(" - at `$.")
        raise ClaimError(
            f"{place.rstrip('`') or 'it'} is wrong: {problem[:1].lower()}{problem[1:]}"
        ) from error


def read_claim(path: Path) -> RunClaim | None:
    """Return the claim of a live run; if its run is dead, remove the file if permitted, and return None.

    Raises:
        ClaimError: the run lives, and its claim is damaged or was written by another version.
        OSError: the file cannot be read.
    """
    claim_fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(claim_fd).st_mode):
            raise ClaimError("it is not a file")
        try:
            fcntl.flock(claim_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return decode(path.name.removesuffix(SUFFIX), os.read(claim_fd, CLAIM_SIZE_BYTES))
        with suppress(OSError):  # In a shared folder, another user's cannot be removed.
            path.unlink(missing_ok=True)
        return None
    finally:
        os.close(claim_fd)


class UnreadableClaim(Struct, frozen=True, kw_only=True):
    """The claim of a live run that cannot be read."""

    path: str
    problem: str


class LivingClaims(Struct, frozen=True, kw_only=True):
    """The claims of all live runs, the oldest first, and those that cannot be read."""

    runs: tuple[RunClaim, ...] = ()
    unreadable: tuple[UnreadableClaim, ...] = ()


def read_living_claims(folder: Path) -> LivingClaims:
    """Return the claims of all live runs.

    Raises:
        OSError: the folder cannot be read.
    """
    runs, unreadable = [], []
    for path in sorted(claim_paths(folder)):
        try:
            claim = read_claim(path)
        except FileNotFoundError:
            continue  # Its run has just ended.
        except (OSError, ClaimError) as error:
            problem = getattr(error, "strerror", None) or error
            unreadable.append(UnreadableClaim(path=str(path), problem=str(problem)))
        else:
            if claim is not None:
                runs.append(claim)
    runs.sort(key=lambda claim: (claim.started_at, claim.run))
    return LivingClaims(runs=tuple(runs), unreadable=tuple(unreadable))


def name_holders(claims: Iterable[RunClaim], what: str) -> str:
    """Return the runs that hold most of the resource that another run waits for, as one unescaped text.

    Args:
        what: `memory` or `processors`.
    """
    is_memory = what == "memory"
    holders = [claim for claim in claims if claim.files]
    holders.sort(key=lambda holder: -holder.reserved_bytes if is_memory else -holder.cpus)
    named = []
    for claim in holders[:NAMED_HOLDERS]:
        since = time.strftime("%H:%M:%S", time.localtime(claim.started_at))
        holds = format_bytes(claim.reserved_bytes) if is_memory else f"{claim.files} file(s)"
        named.append(f"{claim.root} (process {claim.pid}, since {since}): {holds}")
    if len(holders) > NAMED_HOLDERS:
        named.append(f"{len(holders) - NAMED_HOLDERS} more runs")
    return ", ".join(named)


def claim_paths(folder: Path) -> list[Path]:
    """Return the files with claims in a folder.

    Raises:
        OSError: it cannot be read.
    """
    with os.scandir(folder) as found:
        return [Path(entry.path) for entry in found if entry.name.endswith(SUFFIX)]


def default_folder(environ: Mapping[str, str]) -> Path:
    """Return the user's folder: below the runtime directory, which only this user can enter, or /tmp.

    $TMPDIR is ignored if /tmp exists: it may differ between runs, which then would not find each other.
    """
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    # After `sudo` the variable may still name another user's directory.
    with suppress(OSError, ValueError):
        if runtime and os.access(runtime, os.W_OK) and Path(runtime).stat().st_uid == os.getuid():
            return Path(runtime, FOLDER_NAME)
    base = Path("/tmp")
    if not os.access(base, os.W_OK):
        # Imported only here: it takes as long as everything else in this module together.
        import tempfile

        base = Path(tempfile.gettempdir())
    return base / f"{FOLDER_NAME}-{os.getuid()}"


def private_folder(folder: Path) -> Path:
    """Create the user's own folder, or check that the existing one is no link and closed to other users.

    Raises:
        OSError: it cannot be made, or another user could have put it there.
    """
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=False)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise PermissionError(f"{folder} is not a directory; remove it")
    if found.st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to user {found.st_uid}, not to {os.getuid()}; remove it")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise PermissionError(f"{folder} is open to other users; remove it")
    return folder


def shared_folder(folder: Path) -> Path:
    """Return a folder that several users or containers share, after checking that none can replace the claim
    of another.

    Raises:
        OSError: it is missing, not a directory, not writable, belongs to another ordinary user, or is
            writable for others without the sticky bit.
    """
    found = folder.stat()
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISDIR(found.st_mode):
        raise PermissionError(f"{folder} is not a directory; name one with machine-folder")
    if found.st_uid not in (0, os.getuid()):
        raise PermissionError(
            f"{folder} belongs to user {found.st_uid}; it must belong to user 0 or to {os.getuid()}"
        )
    if mode & 0o022 and not mode & stat.S_ISVTX:
        raise PermissionError(
            f"other users may write to {folder} and remove what is not theirs; "
            f"set its sticky bit (chmod +t {folder})"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder} cannot be written; give its group or all users write access")
    return folder
