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
    """The data of a run on the broker is not in a form that Passmuster writes.

    Args:
        what: the damage.
    """

    def __init__(self, what: str) -> None:
        super().__init__(
            f"what the broker has is damaged, or somebody else writes there: {what}; start the run again"
        )


def read_number(text: str, *, what: str) -> int:
    """Return an unsigned number from the broker.

    Args:
        text: the text of the number.
        what: its meaning, for errors (`the take of 'a.py'`).

    Raises:
        DamagedRecordError: the text is no number, is negative, or has more than 15 digits.
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
    """The number of its delivery."""
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
    """The status that a worker publishes.

    Args:
        name: unique among all workers.
        host: its host name.
        slots: number of its slots.
        busy: number of running files.
        taken: number of accepted messages: of running files, and of those that wait for memory.
        python: its interpreter: implementation, version and a digest of the packages; empty: not known yet.
        budget_bytes: memory budget of all its files.
        version: of Passmuster.
        limits: its limits as text for the user.
        used_bytes: memory of its running files.
        runs: IDs of the runs that it serves.
        only_run: ID of the only run that it may serve; empty: all.
        files: its running files, oldest first; truncated if there are too many.
    """

    name: str
    host: str
    slots: int
    busy: int
    budget_bytes: int
    version: str
    limits: tuple[Limit, ...] = ()
    used_bytes: int = 0
    runs: tuple[str, ...] = ()
    only_run: str = ""
    files: tuple[RunningFileStatus, ...] = ()
    accepted: int = 0
    python: str = ""


class RunStatus(Struct, frozen=True, kw_only=True):
    """The status of a run, for observers.

    Args:
        run_id: its ID.
        begun_at: Unix time of its start, by the broker's clock.
        seconds: elapsed seconds since its start.
        silent_s: seconds since the last heartbeat of its dispatcher.
        waiting: number of queued files.
        running: number of files leased to workers.
        done: number of finished files that are not queued for a rerun.
        damage: why nothing else is known of it; empty: no damage.
    """

    run_id: str
    started_at: float = 0.0
    seconds: float = 0.0
    heartbeat_age_s: float = 0.0
    waiting: int = 0
    running: int = 0
    done: int = 0
    damage: str = ""


class FileStage(StrEnum):
    """The stage of a file, as stored on the broker."""

    WAITING = "Q"
    RUNNING = "R"
    DONE = "D"


class FileStatus(Struct, frozen=True, kw_only=True):
    """The status of a file of a run, for observers."""

    stage: FileStage
    delivery: int
    """The number of its last delivery."""
    worker: str = ""
    """Empty: no worker runs it."""
