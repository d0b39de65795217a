"""Stores the state of a run on the broker: which worker may run which file, and whose result counts.

The queue's messages may be lost or delivered twice; nothing depends on them. A message is only a hint to ask
the run store. A file is queued (Q), running (R) with a lease that its worker renews, or done (D). Every
change is one atomic step of the broker (`run_store.lua`), so two workers never both get a file, and only the
first result counts.

Imports redis: only runs with a broker may load this module. Every method may raise `redis.RedisError` if the
broker is unavailable, and `DamagedDataError` if its data is not in the form that Passmuster writes; the
caller handles both. `delivery` is the number of a file's delivery (`DELIVERIES_PER_ATTEMPT`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from passmuster.model.executor import SlotRange
from passmuster.wire.broker import parse_broker
from passmuster.wire.broker_client import BrokerClient
from passmuster.wire.broker_keys import (
    DEMAND_KEY,
    DEMAND_REPORTS_KEY,
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
from passmuster.wire.codec import CodecError, TextCodec
from passmuster.wire.lua_script import load_script
from passmuster.wire.sentinel import connect_by_sentinel
from passmuster.wire.tls import tls_options

_MAX_ENTRIES = 100
"""Maximum entries of one `read`: a result can have megabytes."""

_MAX_ADDED = 1000
"""Maximum files of one step, during which the broker serves no other client."""

_MAX_BLOCK_S = 1.0
"""Maximum seconds that one `read` blocks; well below any socket timeout."""

_STATUS_CODEC = TextCodec(WorkerStatus, "the worker's status", 256 * 1024)

UNREADABLE_VERSION = "unreadable"
"""The version in a worker status that cannot be decoded: its worker has another version."""


def connect(url: str, *, timeout_s: float) -> redis.Redis:
    """Return a client for the broker. Nothing is sent yet.

    Args:
        timeout_s: seconds to connect, and to wait for a reply; more than a second.

    Raises:
        ConfigurationError: the address is invalid.
    """
    address = parse_broker(url, source="the broker's address")
    options: dict[str, Any] = {
        "protocol": 2,  # The replies of XREAD have another form in version 3.
        "decode_responses": True,
        "encoding_errors": "surrogateescape",  # File names need not be UTF-8.
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),  # A repeated XADD would add a second entry.
        "db": address.database,
        "username": address.user or None,
        "password": address.password or None,
    }
    if address.path:
        return BrokerClient(unix_socket_path=address.path, **options)
    if address.tls is not None:
        options |= {"ssl": True, **tls_options(address.tls)}
    if address.sentinel is not None:
        return connect_by_sentinel(address.sentinel, address.tls, options)
    return BrokerClient(host=address.host, port=address.port, **options)


class RunStore:
    """The state of one run on the broker.

    Args:
        client: from `connect`.
        run_id: random, so that no two runs share keys.
        transaction: opens the transactions of all changes; None: ordinary ones of `client`.
    """

    def __init__(
        self,
        client: redis.Redis,
        run_id: str,
        transaction: Callable[[], AbstractContextManager[Any]] | None = None,
    ) -> None:
        # Any: redis-py's types say "a reply, or an awaitable of one" for every command.
        self._client: Any = client
        self._run_id, self._is_guarded = run_id, transaction is not None
        usual = partial(client.pipeline, transaction=True)
        self._transaction: Callable[[], AbstractContextManager[Any]] = transaction or usual
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

    def seed(
        self,
        deliveries: Mapping[str, int],
        *,
        epoch: str,
        spec: str = "",
        running: Sequence[Lease] = (),
        after: str | None = None,
    ) -> list[StreamEntry]:
        """Start the run, or restart it: discard its state and queue these files. Read from "0" afterwards.

        Args:
            deliveries: the delivery number of each path.
            epoch: a new random word; if `epoch()` returns another one or None, the broker lost the run.
            spec: the signed spec (`run_spec`); no worker serves a run without one.
            running: files that are leased to their workers again, instead of being queued.
            after: the last entry that was read.

        Returns:
            The entries after that one, which are discarded with the rest; none if `after` is None.
        """
        with self._transaction() as pipeline:
            if after is not None:
                pipeline.xread({self._results: after})
            self._delete(pipeline)
            if deliveries:
                states = {path: f"Q:{delivery}" for path, delivery in deliveries.items()}
                pipeline.hset(self._state, mapping=states)
            pipeline.hset(self._meta, mapping={"state": "run", "epoch": epoch, "spec": spec})
            pipeline.sadd(RUNS_KEY, self._run_id)
            for lease in running:
                self._add(pipeline, "lease", lease.path, lease.delivery, lease.worker)
            self._add(pipeline, "heartbeat", 0)
            replies = pipeline.execute()
        return [] if after is None else _entries(replies[0])

    def load_states(self) -> tuple[str, dict[str, tuple[str, int]]] | None:
        """Return the epoch of the run, and for each file its stage (Q, R, D) and delivery number.

        Returns:
            None: the broker does not know the run, or the run was cancelled.
        """
        state, epoch = self._client.hmget(self._meta, ["state", "epoch"])
        if state != "run" or epoch is None:
            return None
        return epoch, {path: _state(path, text) for path, text in self._client.hgetall(self._state).items()}

    def add(self, deliveries: Mapping[str, int]) -> None:
        """Queue files with these delivery numbers, by path, except for running ones."""
        items = list(deliveries.items())
        for start in range(0, len(items), _MAX_ADDED):
            self._run("add", *(str(part) for item in items[start : start + _MAX_ADDED] for part in item))

    def withdraw(self, path: str, delivery: int) -> bool:
        """Withdraw a queued file; return False if it is no longer queued with this delivery number."""
        return bool(self._run("withdraw", path, delivery))

    def epoch(self) -> str | None:
        """Return the epoch of the last `seed`, or None if the broker does not know the run."""
        found = self._client.hget(self._meta, "epoch")
        return None if found is None else str(found)

    def replication_id(self) -> str:
        """Return the identity of the server's data: the same one means that none was lost in a failover.

        A replica gets a new identity when it becomes the master. It may lack the last writes to the old one.
        A master also gets a new one without any loss, for example when its first replica connects.
        """
        return str(self._client.info("replication").get("master_replid", ""))

    def heartbeat(self, backlog: int = 0) -> None:
        """Send the dispatcher's heartbeat. Without it, all keys of the run expire in a day.

        `backlog` is the number of files that wait at the dispatcher and are not in the queue yet.
        """
        self._run("heartbeat", backlog)

    def expired(self) -> list[Lease]:
        """Return the expired leases."""
        return [_lease(member) for member in self._run("expired")]

    def expire(self, lease: Lease) -> bool:
        """End an expired lease and remove its file; `add` queues it again.

        Returns:
            False: it was renewed meanwhile, or the file is done or leased to another worker.
        """
        return bool(self._run("expire", lease.path, lease.delivery, lease.worker))

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
        self._run("cancel", self._run_id)

    def is_settled(self) -> bool:
        """Whether no worker holds a lease."""
        return int(self._client.zcard(self._lease)) == 0

    def end(self) -> None:
        """Remove everything of the run."""
        with self._transaction() as pipeline:
            self._delete(pipeline)
            pipeline.execute()

    def read(self, last_id: str, *, block_s: float) -> list[StreamEntry]:
        """Return entries after `last_id` ("0" at first), oldest first; perhaps not all of them at once.

        An entry that Passmuster did not write has the kind "damaged". If there is none, the call waits
        `block_s` seconds, at most one.
        """
        # The broker would wait without limit for 0.
        block_ms = int(min(block_s, _MAX_BLOCK_S) * 1000) or None
        reply = self._client.xread({self._results: last_id}, count=_MAX_ENTRIES, block=block_ms)
        return _entries(reply)

    def discard(self, entry_ids: Sequence[str]) -> None:
        """Remove these entries, at least one.

        Not all up to the last one: another master, whose clock is behind, may have given a later entry a
        smaller ID.
        """
        with self._transaction() as pipeline:
            pipeline.xdel(self._results, *entry_ids)
            pipeline.execute()

    # The worker's side.

    def sample_paths(self, limit: int) -> list[str]:
        """Return at most `limit` of the run's files, in any stage and order."""
        return list(self._client.hrandfield(self._state, limit))

    def claim(self, path: str, delivery: int, worker: str) -> ClaimReply:
        """Claim a file; `OK` grants a lease that must be renewed. Writes a "started" entry."""
        return ClaimReply(self._run("claim", path, delivery, worker))

    def renew(self, path: str, delivery: int, worker: str) -> RenewReply:
        """Renew a lease. A file that is queued again because the lease had expired is leased again."""
        return RenewReply(self._run("renew", path, delivery, worker))

    def finish(self, path: str, delivery: int, worker: str, body: str) -> bool:
        """Submit the result of a file and end its lease. Safe to repeat.

        Returns:
            Whether it counted and was written to the stream. False: another result counted, the file was
            withdrawn, or the broker does not know the run; then `epoch()` is None, and a later call may
            succeed.
        """
        return bool(self._run("finish", path, delivery, worker, body))

    def release(self, path: str, delivery: int, worker: str) -> None:
        """Return a file without a result: it is queued with the same delivery number. Writes a "released"
        entry."""
        self._run("release", path, delivery, worker)

    def is_queued(self, path: str, delivery: int) -> bool:
        """Whether the run is active and this file is queued with this delivery number."""
        return bool(self._run("is_queued", path, delivery))

    def spec(self) -> str | None:
        """Return the signed spec of the run, or None if the broker does not know the run."""
        found = self._client.hget(self._meta, "spec")
        return None if found is None else str(found)

    def assign_slots(self, worker: str, count: int, known: SlotRange | None = None) -> SlotRange | None:
        """Return the numbers of this worker's slots in the run. Safe to repeat.

        Args:
            known: the numbers that it had before. A broker that lost its data assigns the same again, unless
                another worker got them meanwhile.

        Returns:
            None: the broker does not know the run.
        """
        found = self._run("assign_slots", worker, count, known.first if known else -1)
        if found is None:
            return None
        first, total = (read_number(str(one), what="the number of a slot") for one in found)
        return SlotRange(first=first, total=total)

    def refuse(self, worker: str, body: str) -> None:
        """Report that a worker does not serve the run; `body` is the signed reason. Writes a "refused"
        entry."""
        self._run("refuse", worker, body)

    @staticmethod
    def active_runs(client: redis.Redis, on_damaged: Callable[[str], None] = lambda _: None) -> set[str]:
        """Return the IDs of the runs whose dispatcher sent a heartbeat within `DISPATCHER_TIMEOUT_S`.

        `on_damaged` is called with the ID of each run whose data is damaged, so its heartbeat is unknown.
        """
        commands: Any = client
        before, after = meta_key("\0").split("\0")
        first, second = queue_keys("")
        around = (before, after, first, second.removeprefix(first))
        active, damaged = commands.eval(load_script("run_store.lua"), 1, RUNS_KEY, "active", *around)
        for run_id in damaged:
            on_damaged(run_id)
        return set(active)

    def _run(self, operation: str, *arguments: str | int) -> Any:
        if not self._is_guarded:
            return self._add(self._client, operation, *arguments)
        with self._transaction() as pipeline:
            self._add(pipeline, operation, *arguments)
            return pipeline.execute()[0]

    def _add(self, commands: Any, operation: str, *arguments: str | int) -> Any:
        # EVAL instead of EVALSHA: a broker that lost its data has lost the scripts too.
        script = load_script("run_store.lua")
        return commands.eval(script, len(self._keys), *self._keys, operation, *arguments)

    def _delete(self, pipeline: Any) -> None:
        pipeline.delete(*(key for key in self._keys if key != RUNS_KEY))
        with suppress(DamagedDataError):  # It is deleted anyway; the keys that only workers read expire.
            for field in self._client.hkeys(self._meta):
                kind, _, worker = field.partition(":")
                if kind == "slots":
                    pipeline.delete(*worker_queue_keys(self._run_id, worker))
        pipeline.srem(RUNS_KEY, self._run_id)


class WorkerDirectory:
    """The directory of the statuses that workers publish."""

    def __init__(self, client: redis.Redis) -> None:
        self._client: Any = client

    def publish(self, status: WorkerStatus) -> None:
        """Publish a worker's status for `WORKER_TTL_S` seconds."""
        text = _STATUS_CODEC.encode(status)
        with self._client.pipeline(transaction=True) as pipeline:
            pipeline.set(worker_key(status.name), text, ex=WORKER_TTL_S)
            pipeline.sadd(WORKERS_KEY, status.name)
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
                # Expired. If it is published at this moment, the next heartbeat adds the name again.
                self._client.srem(WORKERS_KEY, name)
            else:
                found.append(_decode_status(name, text))
        return found


def report_demand(client: redis.Redis, dispatcher: str, files: int) -> None:
    """Report how many files a dispatcher has that wait or run; due at least every `DEMAND_TTL_S` seconds.

    The length of the list `DEMAND_KEY` is the sum over all dispatchers, for autoscalers, which can only watch
    a list of a fixed name. Running files count: otherwise an autoscaler would remove workers as soon as they
    had taken all files.

    Args:
        client: from `connect`.
        dispatcher: unique, such as the ID of its run.
        files: 0 forgets the dispatcher.
    """
    commands: Any = client
    commands.eval(load_script("demand.lua"), 2, DEMAND_KEY, DEMAND_REPORTS_KEY, dispatcher, files)


def _decode_status(name: str, text: str) -> WorkerStatus:
    try:
        return _STATUS_CODEC.decode(text)
    except CodecError:
        return WorkerStatus(name=name, host="", slots=0, busy=0, budget_bytes=0, version=UNREADABLE_VERSION)


def _state(path: str, text: str) -> tuple[str, int]:
    letter, _, rest = text.partition(":")
    if letter not in tuple(FileStage):
        raise DamagedDataError(f"the state of {path!a} is {ascii(text)[:40]}")
    return letter, read_number(rest.partition(":")[0], what=f"the delivery of {path!a}")


def _lease(member: str) -> Lease:
    delivery, _, rest = member.partition("\0")
    worker, separator, path = rest.partition("\0")
    if not separator:
        raise DamagedDataError(f"a lease is {ascii(member)[:40]}")
    return Lease(path=path, delivery=read_number(delivery, what=f"the lease of {path!a}"), worker=worker)


def _entries(reply: Any) -> list[StreamEntry]:
    return [_entry(entry_id, fields) for _, entries in reply or () for entry_id, fields in entries]


def _entry(entry_id: str, fields: Mapping[str, str]) -> StreamEntry:
    kind, path, delivery, worker, body = map(fields.get, ("kind", "path", "delivery", "worker", "body"))
    try:
        if kind is None or path is None or delivery is None or worker is None or body is None:
            raise DamagedDataError(f"entry {entry_id} of the run's results lacks a field")
        number = read_number(delivery, what=f"the delivery in entry {entry_id} of the run's results")
    except DamagedDataError as error:
        return StreamEntry(entry_id, "damaged", "", 0, "", str(error))
    return StreamEntry(entry_id, kind, path, number, worker, body)
