"""The keys and timeouts on the broker that dispatcher and workers share.

Every key expires: the keys of killed programs within a day, and `holder` within a week.

pm:runs               SET    active runs; workers subscribe to their queues
pm:{run}:meta         HASH   state (run, cancelled), epoch, started and heartbeat (ms), backlog (files that
                             are queued at the dispatcher), spec (`run_spec`), slots:WORKER
pm:{run}:state        HASH   path -> Q:delivery | R:delivery:worker | D:delivery:worker
pm:{run}:lease        ZSET   delivery, worker, path -> deadline in ms, by the broker's clock alone
pm:{run}:results      STREAM an entry for each claim, counted result, returned file and refusal
pm:pm.RUN             LIST   the queue: urgent tasks
pm:pm.RUN 0x06 0x16 5 LIST   the queue: all other tasks
pm:pm.RUN@WORKER      LIST   tasks for one worker only, with a second list like the run's; expires
pm:{run}:tail:PATH    STRING a subscription to the output of a running file; expires (PATH: its SHA-256)
pm:{run}:out:PATH     STREAM the output since the subscription; expires
pm:w:NAME             STRING the status of a worker
pm:workers            SET    names of workers that may have a status
pm:blob:SHA256        STRING a file of an uploaded tree, compressed
pm:demand             LIST   as long as the number of files of all runs that wait or run; its name is
                             documented for autoscalers (docs/how-to/workers.md)
pm:demand:reports     HASH   dispatcher -> deadline in ms by the broker's clock, and its share of pm:demand

Keys of a joined run (`join_store`); `join_key` derives {join} from its name:

pm:{join}:spec        STRING the spec that all members must share, signed
pm:{join}:lease       STRING the token of the leader; short-lived
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
"""Each is a list of its own on the broker, so dispatcher and workers need the same steps."""

_PRIORITY_SEPARATOR = "\x06\x16"
"""Between a queue's name and its priority, unless that is 0 (kombu/transport/redis.py, 5.7.0)."""

_WORKER_SEPARATOR = "@"
"""Neither the ID of a run nor the name of a worker can contain it."""

HEARTBEAT_S = 2
"""Seconds between two heartbeats of a worker."""

LEASE_S = 10
"""Seconds until a lease expires: four missed heartbeats and a little."""

WORKER_TTL_S = 10
"""Seconds until a worker's status expires."""

DISPATCHER_TIMEOUT_S = 600
"""Seconds without a heartbeat of the dispatcher after which workers leave a run, until the next heartbeat."""

OUTAGE_S = 120.0
"""Seconds for which the broker may be unavailable, or have lost a run: dispatchers and members of a joined
run wait for it as long, and workers keep their results."""

RUN_TTL_S = 86400
"""Seconds after the dispatcher's last heartbeat until a run's keys expire."""

BLOB_TTL_S = 86400
"""Seconds that the broker keeps a file of a tree after the last run that uploaded it started."""

DELIVERIES_PER_ATTEMPT = 100
"""A delivery's number is the task's attempt times this, plus its count within the attempt (1, 2, …).

Only deliveries of one attempt can replace each other: a delivery of an earlier attempt must neither take over
a later attempt nor submit its result.
"""

WORKER_QUEUE_TTL_S = 120
"""Seconds until the messages for one worker expire, after the last one was sent: longer than the dispatcher
waits for that worker."""

DEMAND_TTL_S = 30
"""Seconds until a dispatcher's report of its demand expires."""

OUTPUT_SUBSCRIPTION_S = 10
"""Seconds until a subscription to a file's output expires."""

OUTPUT_TTL_S = 60
"""Seconds until streamed output expires."""

MAX_PIECE_BYTES = 256 * 1024
"""Maximum bytes of output in one stream entry, and of one file in one heartbeat; the oldest are left out."""

MAX_PIECES = 16
"""Stream entries kept of one file: 4 MiB of output."""

LEADER_LEASE_MS = 15_000
"""Milliseconds until the leader's lease expires: three missed heartbeats and a little."""

MEMBER_HEARTBEAT_S = 4.0
"""Seconds between two heartbeats of a member of a joined run."""

JOIN_TTL_S = 86400
"""Seconds until the keys of a joined run expire, after the last heartbeat or the end of the round."""

RUNS_KEY = f"{PREFIX}runs"
WORKERS_KEY = f"{PREFIX}workers"
DEMAND_KEY = f"{PREFIX}demand"
DEMAND_REPORTS_KEY = f"{DEMAND_KEY}:reports"


def queue_name(run_id: str) -> str:
    """Return the name of a run's queue, as Celery knows it."""
    return f"{QUEUE_PREFIX}{run_id}"


def worker_queue_name(run_id: str, worker: str) -> str:
    """Return the name of a run's queue for one worker, as Celery knows it."""
    return f"{queue_name(run_id)}{_WORKER_SEPARATOR}{worker}"


def is_worker_queue(name: str) -> bool:
    """Whether this is the name of one worker's queue."""
    return _WORKER_SEPARATOR in name


def run_of_queue(name: str) -> str:
    """Return the ID of the run of a queue, or of one worker's queue."""
    return name.removeprefix(QUEUE_PREFIX).partition(_WORKER_SEPARATOR)[0]


def queue_keys(run_id: str) -> tuple[str, str]:
    """Return the keys of the two lists of a run's queue: urgent tasks, and all others."""
    return _list_keys(queue_name(run_id))


def worker_queue_keys(run_id: str, worker: str) -> tuple[str, str]:
    """Return the keys of the two lists of one worker's queue."""
    return _list_keys(worker_queue_name(run_id, worker))


def _list_keys(queue: str) -> tuple[str, str]:
    urgent = f"{PREFIX}{queue}"
    return urgent, f"{urgent}{_PRIORITY_SEPARATOR}{PRIORITY_NORMAL}"


def meta_key(run_id: str) -> str:
    """Return the key of the run's state and spec."""
    return f"{PREFIX}{{{run_id}}}:meta"


def state_key(run_id: str) -> str:
    """Return the key of the files' states."""
    return f"{PREFIX}{{{run_id}}}:state"


def lease_key(run_id: str) -> str:
    """Return the key of the leases."""
    return f"{PREFIX}{{{run_id}}}:lease"


def results_key(run_id: str) -> str:
    """Return the key of the result stream."""
    return f"{PREFIX}{{{run_id}}}:results"


def subscription_key(run_id: str, path: str) -> str:
    """Return the key of the subscription to a file's output."""
    return f"{PREFIX}{{{run_id}}}:tail:{_digest(path)}"


def output_key(run_id: str, path: str) -> str:
    """Return the key of the stream of a file's output."""
    return f"{PREFIX}{{{run_id}}}:out:{_digest(path)}"


def worker_key(name: str) -> str:
    """Return the key of a worker's status."""
    return f"{PREFIX}w:{name}"


def blob_key(digest: str) -> str:
    """Return the key of a file's content."""
    return f"{PREFIX}blob:{digest}"


def join_key(name: str, what: str) -> str:
    """Return a key of the joined run of this name."""
    return f"{PREFIX}{{join-{_digest(name)[:24]}}}:{what}"


def join_run_id(name: str, number: int) -> str:
    """Return the ID of a round of a joined run: readable, and different for every name."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:40] or "run"
    return f"join-{readable}-{_digest(name)[:8]}-{number}"


def _digest(path: str) -> str:
    return hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()
