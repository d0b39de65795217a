"""Stores the state of a run on the broker: which worker may run which file, and whose result counts.

The queue's messages may get lost or come twice; nothing depends on that. A message is only the hint to ask
here. A file is waiting (Q), running (R) with a lease that its worker renews, or done (D). Changes are single
steps of the broker (`run_lua`), so two workers never both get a file, and only the first result counts.

Imports redis: only runs with a queue may load this module. Every method may raise `redis.RedisError`, where
the broker is away, and `DamagedRecordError`, where what it has is not what we wrote; what either means is for
the caller to say. The attempt here is the take of `routing.TAKES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from passmuster.model.executor import SlotRange
from passmuster.wire import run_lua as run_scripts
from passmuster.wire.broker import parse_broker
from passmuster.wire.broker_client import BrokerClient
from passmuster.wire.broker_keys import (
    RUNS_KEY,
    WORKER_TTL_S,
    WORKERS_KEY,
    lease_key,
    meta_key,
    queue_keys,
    results_key,
    state_key,
    worker_key,
    worker_queue_keys,
)
from passmuster.wire.broker_messages import (
    ClaimReply,
    DamagedDataError,
    FileStage,
    Lease,
    RenewReply,
    StreamEntry,
    WorkerStatus,
    read_number,
)
from passmuster.wire.codec import CodecError, decode, encode
from passmuster.wire.tls import tls_options

_MAX_ENTRIES = 100
"""Maximum entries of one `read`: a result can have megabytes."""

_LONGEST_BLOCK_S = 1.0
"""Maximum seconds that one `read` blocks; well below any socket timeout."""

_MAX_CARD_CHARS = 256 * 1024


UNREADABLE_VERSION = "unreadable"
"""The version in a worker status that cannot be decoded: its worker has another version."""


def connect(url: str, *, timeout_s: float) -> redis.Redis:
    """Return a client for the broker. Nothing is sent yet.

    Args:
        url: the broker's address.
        timeout_s: seconds to connect, and to wait for an answer; more than a second.

    Raises:
        ConfigurationError: this is no address.
    """
    address = parse_broker(url, source="the broker's address")
    options: dict[str, Any] = {
        "protocol": 2,  # with 3, XREAD answers in another form
        "decode_responses": True,
        "encoding_errors": "surrogateescape",  # names of files need not be UTF-8
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),  # a repeated XADD would be a second entry
        "db": address.database,
        "username": address.user or None,
        "password": address.password or None,
    }
    if address.path:
        return BrokerClient(unix_socket_path=address.path, **options)
    if address.tls is not None:
        options |= {"ssl": True, **tls_options(address.tls)}
    return BrokerClient(host=address.host, port=address.port, **options)


class RunStore:
    """The state of one run on the broker.

    Args:
        client: from `connect`.
        run_id: random, so that no two runs share keys.
    """

    def __init__(self, client: redis.Redis, run_id: str) -> None:
        # Any: redis-py's types say "an answer, or an awaitable of one" for every command.
        self._client: Any = client
        self._run_id = run_id
        self._keys = (
            meta_key(run_id),
            state_key(run_id),
            lease_key(run_id),
            results_key(run_id),
            RUNS_KEY,
            *queue_keys(run_id),
        )
        self._meta, self._state, self._lease, self._results = self._keys[:4]

    # The dispatcher's side.

    def seed(self, attempts: Mapping[str, int], *, epoch: str, terms: str = "") -> None:
        """Start the run, or restart it: discard its state and queue these files. Read from "0" afterwards.

        Args:
            attempts: the take of each path.
            epoch: a fresh random word; when `epoch()` gives another or none, the broker has forgotten.
            terms: the sealed message that says what the run asks of workers (`run_spec`). None of them
                serves a run without.
        """
        with self._client.pipeline(transaction=True) as pipeline:
            self._forget(pipeline)
            if attempts:
                pipeline.hset(self._state, mapping={path: f"Q:{take}" for path, take in attempts.items()})
            pipeline.hset(self._meta, mapping={"state": "run", "epoch": epoch, "terms": terms})
            pipeline.sadd(RUNS_KEY, self._run_id)
            self._script(run_scripts.BEAT, "", 0, "", "0", client=pipeline)
            pipeline.execute()

    def load_states(self) -> tuple[str, dict[str, tuple[str, int]]] | None:
        """Return the epoch of an active run, and for each file its stage (Q, R, D) and delivery number.

        Returns:
            None: the broker knows no such run, or it was stopped.
        """
        state, epoch = self._client.hmget(self._meta, ["state", "epoch"])
        if state != "run" or epoch is None:
            return None
        return epoch, {path: _state(path, text) for path, text in self._client.hgetall(self._state).items()}

    def add(self, attempts: Mapping[str, int]) -> None:
        """Queue files with these delivery numbers, by path, except for running ones."""
        with self._client.pipeline(transaction=False) as pipeline:
            for path, take in attempts.items():
                pipeline.eval(run_scripts.ADD, len(self._keys), *self._keys, path, take, "")
            pipeline.execute()

    def withdraw(self, path: str, attempt: int) -> bool:
        """Withdraw a queued file; return False if it is no longer queued with this delivery number."""
        return bool(self._script(run_scripts.WITHDRAW, path, attempt))

    def epoch(self) -> str | None:
        """Return the epoch of the last `seed`, or None if the broker does not know the run."""
        found = self._client.hget(self._meta, "epoch")
        return None if found is None else str(found)

    def heartbeat(self, kept: int = 0) -> None:
        """Send the dispatcher's heartbeat. Without it, all keys of the run expire in a day.

        Args:
            kept: files that wait at the dispatcher, and not on the queue yet.
        """
        self._script(run_scripts.BEAT, "", 0, "", str(kept))

    def expired(self) -> list[Lease]:
        """Return the expired leases."""
        return [_lease(member) for member in self._script(run_scripts.EXPIRED)]

    def expire(self, lease: Lease) -> bool:
        """End an expired lease and remove its file; `add` queues it again.

        Returns:
            False: it was renewed meanwhile, or the file is done or another's.
        """
        return bool(self._script(run_scripts.EXPIRE, lease.path, lease.delivery, lease.worker))

    def states(self, paths: Sequence[str]) -> dict[str, tuple[str, int]]:
        """Return the stage (Q, R, D) and delivery number of each of these files that the broker knows."""
        texts = self._client.hmget(self._state, list(paths)) if paths else []
        return {path: _state(path, text) for path, text in zip(paths, texts, strict=True) if text is not None}

    def queue_length(self) -> int:
        """Return the number of messages in the run's queue. Fewer than queued files means that some were
        lost."""
        return sum(int(self._client.llen(key)) for key in queue_keys(self._run_id))

    def cancel(self) -> None:
        """Cancel the run: no file starts any more, and running ones are stopped. Results are still
        accepted."""
        self._script(run_scripts.CANCEL, "", 0, "", self._run_id)

    def is_settled(self) -> bool:
        """Whether no worker holds a lease."""
        return int(self._client.zcard(self._lease)) == 0

    def end(self) -> None:
        """Remove everything of the run."""
        with self._client.pipeline(transaction=True) as pipeline:
            self._forget(pipeline)
            pipeline.execute()

    def read(self, last_id: str, *, block_s: float) -> list[StreamEntry]:
        """Return the entries after `last_id`, oldest first; perhaps not all of them at once.

        An entry that Passmuster did not write has the kind "damaged".

        Args:
            last_id: of the last entry that was read; "0" at first.
            block_s: seconds to wait when there is none, at most one.
        """
        # 0 would mean for ever to the broker.
        block_ms = int(min(block_s, _LONGEST_BLOCK_S) * 1000) or None
        answer = self._client.xread({self._results: last_id}, count=_MAX_ENTRIES, block=block_ms)
        return [_entry(entry_id, fields) for _, entries in answer or () for entry_id, fields in entries]

    def trim(self, last_id: str) -> None:
        """Remove the entries up to and with `last_id`."""
        time_ms, _, number = last_id.partition("-")
        following = read_number(number or "0", what="the last entry's number") + 1
        self._client.xtrim(self._results, minid=f"{time_ms}-{following}", approximate=False)

    # The worker's side.

    def sample_paths(self, most: int) -> list[str]:
        """Return up to so many of the run's files, in any stage and order."""
        return list(self._client.hrandfield(self._state, most))

    def claim(self, path: str, attempt: int, worker: str) -> ClaimReply:
        """Claim a file; `OK` grants a lease that must be renewed. Writes a "started" entry."""
        return ClaimReply(self._script(run_scripts.CLAIM, path, attempt, worker))

    def renew(self, path: str, attempt: int, worker: str) -> RenewReply:
        """Renew a lease. A file that is queued again because the lease had expired is leased again."""
        return RenewReply(self._script(run_scripts.RENEW, path, attempt, worker))

    def finish(self, path: str, attempt: int, worker: str, body: str) -> bool:
        """Submit the result of a file and end its lease. Safe to repeat.

        Returns:
            Whether it counted and was written to the stream. False: another one did, the file was withdrawn,
            or the broker knows no such run; `epoch()` is None then, and a later call may succeed.
        """
        return bool(self._script(run_scripts.FINISH, path, attempt, worker, body))

    def release(self, path: str, attempt: int, worker: str) -> None:
        """Return a file without a result: it is queued with the same delivery number. Writes a "released"
        entry."""
        self._script(run_scripts.RELEASE, path, attempt, worker)

    def is_queued(self, path: str, attempt: int) -> bool:
        """Whether the run is active and this file is queued with this delivery number."""
        return bool(self._script(run_scripts.WAITS, path, attempt))

    def spec(self) -> str | None:
        """Return the signed spec of the run, or None if the broker does not know the run."""
        found = self._client.hget(self._meta, "terms")
        return None if found is None else str(found)

    def assign_slots(self, worker: str, count: int, known: SlotRange | None = None) -> SlotRange | None:
        """Return the numbers of this worker's slots in the run. Safe to repeat.

        Args:
            worker: its name.
            count: how many slots it has.
            known: what it was given before. A broker that has lost its memory gives the same again, unless
                another worker has got it meanwhile.

        Returns:
            None: the broker knows no such run.
        """
        found = self._script(run_scripts.SLOTS, "", 0, worker, str(count), str(known.first if known else -1))
        if found is None:
            return None
        first, total = (read_number(str(one), what="the number of a slot") for one in found)
        return SlotRange(first=first, total=total)

    def refuse(self, worker: str, body: str) -> None:
        """Report that a worker does not serve the run; `body` is the signed reason. Writes a "refused"
        entry."""
        self._script(run_scripts.REFUSE, "", 0, worker, body)

    @staticmethod
    def active_runs(client: redis.Redis, on_damaged: Callable[[str], None] = lambda _: None) -> set[str]:
        """Return the IDs of the runs whose dispatcher sent a heartbeat within `DISPATCHER_TIMEOUT_S`.

        Args:
            client: from `connect`.
            on_damaged: called with the ID of each run whose data is damaged, so its heartbeat is unknown.
        """
        commands: Any = client
        meta = meta_key("\0").split("\0")
        first, rest = queue_keys("")
        last = rest.removeprefix(first)
        active, damaged = commands.eval(run_scripts.ACTIVE, 1, RUNS_KEY, *meta, first, last)
        for run_id in damaged:
            on_damaged(run_id)
        return set(active)

    def _script(
        self, script: str, path: str = "", attempt: int = 0, worker: str = "", *more: str, client: Any = None
    ) -> Any:
        # EVAL, not EVALSHA: a broker that came back empty knows no scripts, and these are short.
        where = self._client if client is None else client
        return where.eval(script, len(self._keys), *self._keys, path, attempt, worker, *more)

    def _forget(self, pipeline: Any) -> None:
        pipeline.delete(*(key for key in self._keys if key != RUNS_KEY))
        with suppress(DamagedDataError):  # It is removed all the same; what only workers read expires.
            for field in self._client.hkeys(self._meta):
                kind, _, worker = field.partition(":")
                if kind == "slots":
                    pipeline.delete(*worker_queue_keys(self._run_id, worker))
        pipeline.srem(RUNS_KEY, self._run_id)


class WorkerDirectory:
    """The directory of the statuses that workers publish."""

    def __init__(self, client: redis.Redis) -> None:
        self._client: Any = client

    def publish(self, card: WorkerStatus) -> None:
        """Publish a worker's status for `WORKER_TTL_S` seconds."""
        text = encode(card, what="the worker's card", max_chars=_MAX_CARD_CHARS)
        with self._client.pipeline(transaction=True) as pipeline:
            pipeline.set(worker_key(card.name), text, ex=WORKER_TTL_S)
            pipeline.sadd(WORKERS_KEY, card.name)
            pipeline.expire(WORKERS_KEY, WORKER_TTL_S)
            pipeline.execute()

    def remove(self, name: str) -> None:
        """Remove a worker's status."""
        with self._client.pipeline(transaction=True) as pipeline:
            pipeline.delete(worker_key(name))
            pipeline.srem(WORKERS_KEY, name)
            pipeline.execute()

    def statuses(self) -> list[WorkerStatus]:
        """Return the valid worker statuses by name. One that cannot be decoded has `UNREADABLE_VERSION`."""
        names = sorted(self._client.smembers(WORKERS_KEY))
        texts = self._client.mget([worker_key(name) for name in names]) if names else []
        found = []
        for name, text in zip(names, texts, strict=True):
            if text is None:
                # Expired. If it is put up at this moment, the next announcement names it again.
                self._client.srem(WORKERS_KEY, name)
            else:
                found.append(_card(name, text))
        return found


def _card(name: str, text: str) -> WorkerStatus:
    try:
        return decode(WorkerStatus, text, what=f"the card of worker {name!r}", max_chars=_MAX_CARD_CHARS)
    except CodecError:
        return WorkerStatus(name=name, host="", slots=0, busy=0, budget_bytes=0, version=UNREADABLE_VERSION)


def _state(path: str, text: str) -> tuple[str, int]:
    letter, _, rest = text.partition(":")
    if letter not in tuple(FileStage):
        raise DamagedDataError(f"the state of {path!a} is {ascii(text)[:40]}")
    return letter, read_number(rest.partition(":")[0], what=f"the take of {path!a}")


def _lease(member: str) -> Lease:
    attempt, _, rest = member.partition("\0")
    worker, separator, path = rest.partition("\0")
    if not separator:
        raise DamagedDataError(f"a lease is {ascii(member)[:40]}")
    return Lease(path=path, delivery=read_number(attempt, what=f"the lease of {path!a}"), worker=worker)


def _entry(entry_id: str, fields: Mapping[str, str]) -> StreamEntry:
    kind, path, attempt, worker, body = map(fields.get, ("kind", "path", "attempt", "worker", "body"))
    try:
        if kind is None or path is None or attempt is None or worker is None or body is None:
            raise DamagedDataError(f"entry {entry_id} of the run's results lacks a field")
        number = read_number(attempt, what=f"the take in entry {entry_id} of the run's results")
    except DamagedDataError as error:
        return StreamEntry(entry_id, "damaged", "", 0, "", str(error))
    return StreamEntry(entry_id, kind, path, number, worker, body)
