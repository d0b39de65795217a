"""The answers of a broker, and what a worker says of itself.

`passmuster.wire.run_store` gives them, and needs redis; this is for those who only understand them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct

from passmuster.model.errors import InfrastructureError
from passmuster.model.executor import Limit

TASK_KIND = "task"
"""The kind of a message that asks for a file to be run. Its parts: the task, and its take."""


_MAX_DIGITS = 15
"""Digits of a number on the broker: times in milliseconds have 13."""


class DamagedRecordError(InfrastructureError):
    """What the broker has of a run is not what programs of ours write there.

    Args:
        what: what is wrong.
    """

    def __init__(self, what: str) -> None:
        super().__init__(
            f"what the broker has is damaged, or somebody else writes there: {what}; start the run again"
        )


def read_number(text: str, *, what: str) -> int:
    """Return a number that came from the broker, where anybody may have written it.

    Args:
        text: what came.
        what: what it should be, for errors (`the take of 'a.py'`).

    Raises:
        DamagedRecordError: it is none, is negative, or has more than 15 digits.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise DamagedRecordError(f"{what} is {ascii(text)[:40]}")
    return int(text)


def result_kind(run_id: str) -> str:
    """Return the kind of a message with a result: one of another run must not answer for a file of this one.

    Its parts: the result, and coverage data.
    """
    return f"result:{run_id}"


class ClaimReply(StrEnum):
    """The answer to who wants to run a file."""

    OK = "ok"
    GONE = "gone"
    """Cancelled, unknown, done, or another's: forget the message."""


class RenewReply(StrEnum):
    """The answer to who renews a lease."""

    HELD = "held"
    LOST = "lost"
    """It is another's by now, done or withdrawn: end it."""
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    """The broker knows no such run. It may have lost its memory: go on, the dispatcher will tell it again."""


class Lease(Struct, frozen=True, kw_only=True):
    """A worker's right to run a file.

    Args:
        path: the file.
        attempt: its take (`routing.TAKES`).
        worker: who has it.
    """

    path: str
    attempt: int
    worker: str


class StreamEntry(NamedTuple):
    """One line of the run's stream.

    Its `kind` is "started", "finished" (with a result in `body`), "released" (the file waits again with the
    same take), "refused" (a worker does not serve the run and says why in `body`; there is no path), or
    "damaged" (no program of ours wrote it; `body` says what is wrong).
    """

    entry_id: str
    kind: str
    path: str
    attempt: int
    worker: str
    body: str


MAX_CARD_FILES = 100
"""Files that a card names: more than any machine of ours runs at once."""

MAX_CARD_PATH_CHARS = 16 * 1024
"""Characters of all their paths together: each may become six on the wire, and a card has a bound."""


class RunningFileStatus(Struct, frozen=True, kw_only=True):
    """A file that a worker runs.

    Args:
        run_id: whose.
        path: the file.
        seconds: wall-clock seconds since its start.
        used_bytes: memory of its processes; 0: not measured yet.
    """

    run_id: str
    path: str
    seconds: float
    used_bytes: int


class WorkerStatus(Struct, frozen=True, kw_only=True):
    """What a worker says of itself.

    Args:
        name: unique among all workers.
        host: where it is.
        slots: files at once.
        busy: how many run.
        taken: messages that it has taken: of files that run, and of those that wait there for memory.
        python: its interpreter: implementation, version and a digest of the packages; empty: not known yet.
        budget_bytes: memory for all of them together.
        version: of Passmuster.
        limits: what it keeps, for people to read.
        used_bytes: memory that what runs uses.
        runs: the ids of the runs that it serves.
        only_run: the id of the one run that it is there for; empty: all.
        files: what it runs, the oldest first; not all of it where there is too much.
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
    taken: int = 0
    python: str = ""


class RunStatus(Struct, frozen=True, kw_only=True):
    """A run, as somebody sees it who takes no part.

    Args:
        run_id: which.
        begun_at: Unix time of its begin, by the broker's clock.
        seconds: since then.
        silent_s: seconds since its dispatcher's last sign of life.
        waiting: files that nobody has begun with.
        running: files that workers have.
        done: files that have ended, and are not to run again as far as the broker knows.
        damage: why nothing else is known of it; empty: nothing was found damaged.
    """

    run_id: str
    begun_at: float = 0.0
    seconds: float = 0.0
    silent_s: float = 0.0
    waiting: int = 0
    running: int = 0
    done: int = 0
    damage: str = ""


class FileStage(StrEnum):
    """How far a file is, as the broker writes it."""

    WAITING = "Q"
    RUNNING = "R"
    DONE = "D"


class FileStatus(Struct, frozen=True, kw_only=True):
    """A file of a run, as somebody sees it who takes no part.

    Args:
        stage: how far it is.
        take: the number under which it was handed out last.
        worker: who runs it; empty: nobody.
    """

    stage: FileStage
    take: int
    worker: str = ""
