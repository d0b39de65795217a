"""The keys and timeouts on the broker that dispatcher and workers share.

Every key expires: the keys of killed programs within a day, and `holder` within a week.

pm:runs               SET    active runs; workers subscribe to their queues
pm:{run}:meta         HASH   state (run, cancelled), epoch, begun and dispatcher_beat (ms), kept (files that
                             are queued at the dispatcher), terms (`run_spec`)
pm:{run}:state        HASH   path -> Q:take | R:take:worker | D:take:worker
pm:{run}:lease        ZSET   take, worker, path -> deadline in ms, by the broker's clock alone
pm:{run}:results      STREAM an entry for each claim, counted result, returned file and refusal
pm:pm.RUN             LIST   the queue: urgent tasks
pm:pm.RUN 0x06 0x16 5 LIST   the queue: all other tasks
pm:pm.RUN@WORKER      LIST   tasks for one worker only, with a second list like the run's; expires
pm:{run}:tail:PATH    STRING a subscription to the output of a running file; expires (PATH: its SHA-256)
pm:{run}:out:PATH     STREAM the output since the subscription; expires
pm:w:NAME             STRING the status of a worker
pm:workers            SET    names of workers that may have a status
pm:blob:SHA256        STRING a file of an uploaded tree, compressed

Keys of a joined run (`join_store`); `join_key` derives {join} from its name:

pm:{join}:terms       STRING the spec that all members must share, signed
pm:{join}:claim       STRING the token of the leader; short-lived
pm:{join}:holder      STRING the token of the last leader, until it gives up the lease
pm:{join}:round       HASH   number, state (run, done), attempt, leader (its name)
pm:{join}:members     HASH   name of a member -> time of its last heartbeat, in ms by the broker's clock
pm:{join}:seen        HASH   ROUND:IDENTITY -> the CI's attempt, for all machines that were ever members
pm:{join}:journal     STREAM results of finished attempts, and starts of rounds, signed
pm:{join}:outcome:N   STRING the outcome of round N, signed
pm:{join}:record:N:FILE:I  STRING a chunk of that round's record, signed
"""

from __future__ import annotations

import hashlib
import re

PREFIX = "pm:"
"""Prefix of every key; Celery's `global_keyprefix` must be the same."""

QUEUE_PREFIX = "pm."
TASK_NAME = "pm.run_file"

PRIORITY_NORMAL = 5
PRIORITY_URGENT = 0
PRIORITY_STEPS = (PRIORITY_URGENT, PRIORITY_NORMAL)
"""Both sides need the same steps: each is a list of its own."""

_PRIORITY_SEPARATOR = "\x06\x16"
"""Between a queue's name and its priority, where that is not 0 (kombu/transport/redis.py, 5.7.0)."""

_WORKER_SEPARATOR = "@"
"""Neither the id of a run nor the name of a worker holds it."""

HEARTBEAT_S = 2
"""Seconds between two renewals by a worker."""

LEASE_S = 10
"""Seconds a claim holds without renewal: four missed heartbeats and a little."""

WORKER_TTL_S = 10
"""Seconds a worker's card holds without being announced again."""

DISPATCHER_TIMEOUT_S = 600
"""Seconds without the dispatcher's sign of life after which workers leave a run, until there is one again."""

RUN_TTL_S = 86400
"""Seconds after the dispatcher's last sign of life until what is left of a run expires."""

BLOB_TTL_S = 86400
"""Seconds that the broker keeps a file of a tree after it was last sent."""

DELIVERIES_PER_ATTEMPT = 100
"""The wire counts takes: the task's attempt times this, plus how often it was handed out (1, 2, …).

Only takes of the same attempt stand in for each other: what is left of an earlier attempt must neither take a
later one over nor answer for it.
"""

WORKER_QUEUE_TTL_S = 120
"""Seconds that messages for one worker are kept after the last one was put there: longer than the dispatcher
waits for that worker."""

OUTPUT_SUBSCRIPTION_S = 10
"""Seconds a wish to see what a file prints holds without renewal."""

OUTPUT_TTL_S = 60
"""Seconds that what a file printed is kept for those who wanted to see it."""

MAX_PIECE_BYTES = 256 * 1024
"""Bytes of output in one entry, and of one file in one heartbeat: of more the oldest is left out."""

MAX_PIECES = 16
"""Entries kept of one file: 4 MiB of output."""

LEADER_LEASE_MS = 15_000
"""Milliseconds that the claim to lead holds without renewal: three missed pulses and a little."""

MEMBER_HEARTBEAT_S = 4.0
"""Seconds between two signs of life of a machine that joined a run."""

JOIN_TTL_S = 86400
"""Seconds after the last sign of life, or after the end of a round, until what is left of it expires."""

RUNS_KEY = f"{PREFIX}runs"
WORKERS_KEY = f"{PREFIX}workers"


def queue_name(run_id: str) -> str:
    """Return the name of a run's queue, as Celery knows it."""
    return f"{QUEUE_PREFIX}{run_id}"


def worker_queue_name(run_id: str, worker: str) -> str:
    """Return the name of the queue of a run from which only one worker takes files, as Celery knows it."""
    return f"{queue_name(run_id)}{_WORKER_SEPARATOR}{worker}"


def is_worker_queue(name: str) -> bool:
    """Whether that is the name of one worker's queue."""
    return _WORKER_SEPARATOR in name


def run_of_queue(name: str) -> str:
    """Return the run of a queue, also of one worker's."""
    return name.removeprefix(QUEUE_PREFIX).partition(_WORKER_SEPARATOR)[0]


def queue_keys(run_id: str) -> tuple[str, str]:
    """Return the two lists of a run's queue, as the broker has them: what goes first, and the rest."""
    return _lists(queue_name(run_id))


def worker_queue_keys(run_id: str, worker: str) -> tuple[str, str]:
    """Return the two lists of one worker's queue."""
    return _lists(worker_queue_name(run_id, worker))


def _lists(queue: str) -> tuple[str, str]:
    first = f"{PREFIX}{queue}"
    return first, f"{first}{_PRIORITY_SEPARATOR}{PRIORITY_NORMAL}"


def meta_key(run_id: str) -> str:
    """Return the key of what holds for the whole run."""
    return f"{PREFIX}{{{run_id}}}:meta"


def state_key(run_id: str) -> str:
    """Return the key of the files' states."""
    return f"{PREFIX}{{{run_id}}}:state"


def lease_key(run_id: str) -> str:
    """Return the key of the deadlines of what runs."""
    return f"{PREFIX}{{{run_id}}}:lease"


def results_key(run_id: str) -> str:
    """Return the key of the stream."""
    return f"{PREFIX}{{{run_id}}}:results"


def subscription_key(run_id: str, path: str) -> str:
    """Return the key of the subscription to the output of a file."""
    return f"{PREFIX}{{{run_id}}}:tail:{_digest(path)}"


def output_key(run_id: str, path: str) -> str:
    """Return the key of the stream of what a file prints."""
    return f"{PREFIX}{{{run_id}}}:out:{_digest(path)}"


def worker_key(name: str) -> str:
    """Return the key of a worker's card."""
    return f"{PREFIX}w:{name}"


def blob_key(digest: str) -> str:
    """Return the key of a content."""
    return f"{PREFIX}blob:{digest}"


def join_key(name: str, what: str) -> str:
    """Return a key of the run of this name that machines join."""
    return f"{PREFIX}{{join-{_digest(name)[:24]}}}:{what}"


def join_run_id(name: str, number: int) -> str:
    """Return the id of a round of such a run: readable, and unlike that of any other name."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:40] or "run"
    return f"join-{readable}-{_digest(name)[:8]}-{number}"


def _digest(path: str) -> str:
    return hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()
