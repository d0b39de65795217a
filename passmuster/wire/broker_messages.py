"""Broker replies and the status that workers publish. Types only: importing this module does not load redis.

`passmuster.wire.run_store` returns them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct

from passmuster.model.errors import InfrastructureError
from passmuster.model.executor import Limit

TASK_KIND = "task"
"""The kind of a message that requests the run of a file. Its parts: the task and its delivery number."""

_MAX_DIGITS = 15
"""Digits of a number on the broker: times in milliseconds have 13."""


class DamagedDataError(InfrastructureError):
    """The data of a run on the broker is not in a form that Passmuster writes."""

    def __init__(self, damage: str) -> None:
        super().__init__(
            f"the data on the broker is damaged, or another program writes there: {damage}; start the run"
            " again"
        )


def read_number(text: str, *, what: str) -> int:
    """Return an unsigned number from the broker.

    Args:
        text: its decimal digits.
        what: its meaning, for errors (`the delivery of 'a.py'`).

    Raises:
        DamagedDataError: the text is no number, is negative, or has more than 15 digits.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise DamagedDataError(f"{what} is {ascii(text)[:40]}")
    return int(text)


def result_kind(run_id: str) -> str:
    """Return the kind of a result message; it names the run, so the result of another run is not accepted.

    Its parts: the result, and coverage data.
    """
    return f"result:{run_id}"


class ClaimReply(StrEnum):
    """The reply to a worker that claims a file."""

    OK = "ok"
    GONE = "gone"
    """The file is cancelled, unknown, done, or leased to another worker: drop the message."""


class RenewReply(StrEnum):
    """The reply to a worker that renews a lease."""

    HELD = "held"
    LOST = "lost"
    """The file is leased to another worker, done, or withdrawn: stop it."""
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    """The broker does not know the run. It may have lost its data: continue, the dispatcher will restore
    it."""


class Lease(Struct, frozen=True, kw_only=True):
    """A worker's right to run a file, which expires unless renewed."""

    path: str
    delivery: int
    worker: str


class StreamEntry(NamedTuple):
    """One entry of the run's result stream.

    Its `kind` is "started", "finished" (`body` is the result), "released" (the file is queued again with the
    same delivery number), "refused" (a worker does not serve the run, with the reason in `body`; there is no
    path), or "damaged" (Passmuster did not write the entry; `body` is the damage).
    """

    entry_id: str
    kind: str
    path: str
    delivery: int
    worker: str
    body: str


MAX_STATUS_FILES = 100
"""Maximum number of files in a worker status; more than any machine runs at once."""

MAX_STATUS_PATH_CHARS = 16 * 1024
"""Maximum characters of all paths together: each may take six on the wire, and a status has a size limit."""


class RunningFileStatus(Struct, frozen=True, kw_only=True):
    """A file that a worker runs."""

    run_id: str
    path: str
    seconds: float
    """Wall-clock seconds since its start."""
    used_bytes: int
    """0: not measured yet."""


class WorkerStatus(Struct, frozen=True, kw_only=True):
    """The status that a worker publishes."""

    name: str
    """Unique among all workers."""
    host: str
    slots: int
    busy: int
    """Number of running files."""
    budget_bytes: int
    """For all its files together."""
    version: str
    """Of Passmuster."""
    limits: tuple[Limit, ...] = ()
    used_bytes: int = 0
    runs: tuple[str, ...] = ()
    """IDs of the runs that it serves."""
    only_run: str = ""
    """ID of the only run that it may serve; empty: all."""
    files: tuple[RunningFileStatus, ...] = ()
    """Its running files, oldest first; truncated if there are too many."""
    accepted: int = 0
    """Number of accepted messages: of running files, and of those that wait for memory."""
    python: str = ""
    """Its interpreter: implementation, version and a digest of the packages; empty: not known yet."""


class RunStatus(Struct, frozen=True, kw_only=True):
    """The status of a run, for observers."""

    run_id: str
    started_at: float = 0.0
    """Unix time, by the broker's clock."""
    seconds: float = 0.0
    """Elapsed seconds since its start."""
    heartbeat_age_s: float = 0.0
    """Seconds since the last heartbeat of its dispatcher."""
    waiting: int = 0
    """Number of queued files."""
    running: int = 0
    """Number of files leased to workers."""
    done: int = 0
    """Number of finished files that are not queued for a rerun."""
    damage: str = ""
    """Why nothing else is known of it; empty: no damage."""


class FileStage(StrEnum):
    """The stage of a file, as stored on the broker."""

    WAITING = "Q"
    RUNNING = "R"
    DONE = "D"


class FileStatus(Struct, frozen=True, kw_only=True):
    """The status of a file of a run, for observers."""

    stage: FileStage
    delivery: int
    worker: str = ""
    """Empty: no worker runs it."""
