"""Runs files on workers of a broker: keeps the run store there and the delivery tracker here consistent.

Correctness never depends on the arrival of a message. A message that is lost in transit, with its worker, or
by the broker is detected here and delivered again; the run store counts only one result.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from dispatcher.engine.backend import BackendEvent, BackendNotice
from dispatcher.queue.delivery_tracker import DeliveryTracker, Message
from dispatcher.queue.results import ResultDecoder
from dispatcher.queue.worker_registry import WorkerRegistry
from passmuster.model.errors import InfrastructureError, PassmusterError
from passmuster.model.executor import Limit, Usage
from passmuster.model.status import StopReason
from passmuster.model.task import TestTask
from passmuster.wire.broker_keys import HEARTBEAT_S, LEASE_S, OUTAGE_S
from passmuster.wire.broker_messages import DamagedDataError, StreamEntry, WorkerStatus
from passmuster.wire.run_store import RunStore

TICK_S = 1.0
"""Seconds between two checks of the leases and of the run's existence on the broker."""

MAX_BLOCK_S = 0.2
"""Maximum seconds of one blocking read from the broker; `wake` may have to wait as long."""

LOST_MESSAGE_S = 5.0
"""Seconds for which the queue may be empty while files wait, until they are republished: workers take a
moment.
"""

LAST_RESULTS_S = 5.0
"""Seconds beyond the grace period in which a stopped file's result must arrive."""

_SETTLE_PAUSE_S = 0.1


class QueueBackend:
    """A `Backend` over a broker.

    Args:
        store: the run store; the run is created and removed there.
        publish: puts messages on the run's queue, in their order.
        report_demand: reports to the broker how many files of the run wait or run.
        spec: the signed message with the run's requirements for workers.
        groups: how many files of each group may run at once.
        is_resumed: whether a dispatcher that is gone may have left the run on the broker.
        release: frees the backend's resources; called when it is closed.
        clock: monotonic seconds.

    Raises:
        InfrastructureError: the broker is unavailable from the start.
    """

    def __init__(
        self,
        store: RunStore,
        publish: Callable[[Sequence[Message]], None],
        decoder: ResultDecoder,
        registry: WorkerRegistry,
        read_statuses: Callable[[], Sequence[WorkerStatus]],
        report_demand: Callable[[int], None],
        *,
        spec: str,
        unavailable: tuple[type[Exception], ...],
        limits: Sequence[Limit] = (),
        groups: Mapping[str, int] | None = None,
        is_resumed: bool = False,
        release: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.notices: tuple[str, ...] = ()
        self._store, self._publish_all, self._decoder = store, publish, decoder
        self._registry, self._read_statuses = registry, read_statuses
        self._report_demand = report_demand
        self._spec, self._unavailable = spec, unavailable
        self._limits, self._release = tuple(limits), release
        self._clock, self._pause = clock, pause
        self._tracker = DeliveryTracker(groups)
        self._outbox: list[Message] = []
        self._events: list[BackendEvent] = []
        self._last_id = "0"
        self._is_woken = False
        self._stopped: StopReason | None = None
        self._abandon_at: float | None = None
        self._next_tick = self._leases_count_from = clock()
        self._empty_since: float | None = None
        self._away_since: float | None = None
        self._away_reason, self._has_given_up = "", False
        self._is_damaged, self._new_damage = False, ""
        self._is_store_unsure = False
        self._peak_bytes = 0
        self._is_catching_up = False
        self._read_ids: list[str] = []  # of the entries that were handled and are still on the broker
        try:
            self._replication_id = store.replication_id()
            self._epoch = self._attach() if is_resumed else ""
            if not self._epoch:
                self._epoch = _new_epoch()
                store.seed({}, epoch=self._epoch, spec=self._spec)
        except unavailable as error:
            raise unusable_broker(error) from error

    def _attach(self) -> str:
        """Attach to the run on the broker and return its epoch; empty: the broker has none."""
        found = self._store.load_states()
        if found is None:
            return ""
        epoch, states = found
        self._tracker.load_states(states)
        self._is_catching_up = True
        self._spare_leases()
        return epoch

    def limits(self) -> tuple[Limit, ...]:
        """Return the limits in force where the files run."""
        return self._limits

    def submit(self, tasks: Sequence[TestTask], *, urgent: bool = False, best_effort: bool = False) -> None:
        """Queue tasks in order and publish those that may run."""
        self._tracker.submit(tasks, urgent=urgent, best_effort=best_effort)
        for task in tasks:
            self._notice(self._registry.oversized_warning(task.file_path, task.predicted_bytes))
        self._with_broker(self._publish)

    def poll(self, timeout_s: float) -> tuple[BackendEvent, ...]:
        """Return what happened; see `Backend.poll`."""
        deadline = self._clock() + timeout_s
        while True:
            left_s = max(0.0, deadline - self._clock())
            block_s = 0.0 if self._events or self._is_woken else min(left_s, MAX_BLOCK_S)
            if not self._with_broker(partial(self._exchange, block_s)):
                self._pause(block_s)
            self._abandon()
            if self._events or self._is_woken or self._new_damage or self._clock() >= deadline:
                self._is_woken = False
                found, self._events = tuple(self._events), []
                if not found and (problem := self._take_problem()):
                    raise InfrastructureError(problem)
                return found

    def wake(self) -> None:
        """Make `poll` return within `MAX_BLOCK_S` seconds; it only sets a flag: safe in a signal handler."""
        self._is_woken = True

    def withdraw(self) -> tuple[TestTask, ...]:
        """Withdraw tasks that have not started. Those for which the broker does not answer stay."""
        found: list[TestTask] = []
        self._with_broker(lambda: self._withdraw_published(found))
        return (*found, *self._tracker.withdraw_backlog())

    def stop(self, reason: StopReason, *, grace_s: float) -> None:
        """Stop running files and forbid further starts. Workers have their own grace period."""
        self._stopped = self._stopped or reason
        self._abandon_at = self._clock() + grace_s + LAST_RESULTS_S
        self._with_broker(self._store.cancel)

    def usage(self) -> Usage:
        """Return the last reported usage of running files; a file that just started uses nothing yet."""
        workers = self._registry.usage()
        used_bytes = sum(worker.used_bytes for worker in workers)
        self._peak_bytes = max(self._peak_bytes, used_bytes)
        return Usage(
            slots=self._registry.slots,
            budget_bytes=self._registry.budget_bytes,
            used_bytes=used_bytes,
            peak_bytes=self._peak_bytes,
            files=self._registry.file_usage(self._tracker.running()),
            workers=workers,
            lost_workers=self._tracker.lost_workers,
        )

    def close(self) -> None:
        """Stop running files, wait briefly for them, and remove the run from the broker."""
        try:
            self._with_broker(self._settle)
            self._with_broker(self._store.end)
            self._with_broker(partial(self._report_demand, 0))
        finally:
            self._release()

    def _with_broker(self, step: Callable[[], object]) -> bool:
        """Call the broker; False: it is unavailable, and everything is to be retried later."""
        try:
            step()
        except DamagedDataError as error:
            self._note_damage(str(error))
            return False
        except self._unavailable as error:
            if self._away_since is None:
                self._away_since = self._clock()
                self._notice(f"broker unavailable: {error}; retrying for up to {OUTAGE_S:.0f} s")
            self._away_reason = str(error)
            self._spare_leases()
            return False
        return True

    def _take_problem(self) -> str | None:
        """Return, once each, that data on the broker is not this run's, that the broker has been unavailable
        for too long, or that no worker can serve the run.
        """
        damage, self._new_damage = self._new_damage, ""
        if damage:
            return damage
        if self._away_since is not None:
            away_s = self._clock() - self._away_since
            if away_s < OUTAGE_S or self._has_given_up:
                return None
            self._has_given_up = True
            return (
                f"the broker has been unavailable for {away_s:.0f} s, so no further file can start: "
                f"{self._away_reason}; check that it is running and can be reached"
            )
        if self._stopped is not None:
            return None
        return self._registry.no_worker_problem(now_s=self._clock()) or self._registry.mixture_problem()

    def _note_damage(self, damage: str) -> None:
        """Note, once, that data on the broker is not this run's."""
        if not self._is_damaged:
            self._is_damaged, self._new_damage = True, damage

    def _spare_leases(self) -> None:
        """Let leases count only once workers that could not reach the broker had time to renew theirs."""
        self._leases_count_from = self._clock() + LEASE_S + HEARTBEAT_S

    def _notice(self, *texts: str | None) -> None:
        self._events += [BackendNotice(text=text) for text in texts if text]

    def _exchange(self, block_s: float) -> None:
        """Read the result stream, publish, and once in `TICK_S` check what the stream does not report."""
        if self._read_ids:
            # Only now: the run has recorded what the last call returned.
            self._store.discard(self._read_ids)
            self._read_ids = []
        entries = self._store.read(self._last_id, block_s=0.0 if self._is_catching_up else block_s)
        self._handle_all(entries)
        if self._is_catching_up and not entries:
            self._is_catching_up = False
            self._tracker.republish_missing()
        if self._clock() >= self._next_tick:
            self._tick()  # If it fails, it is retried first.
            self._next_tick = self._clock() + TICK_S
        self._publish()
        if self._away_since is not None:
            self._notice("the broker is available again")
            self._away_since, self._has_given_up = None, False

    def _handle_all(self, entries: Sequence[StreamEntry]) -> None:
        for entry in entries:
            self._last_id = entry.entry_id
            if entry.entry_id not in self._read_ids:
                self._events += self._handle(entry)
        self._read_ids += [entry.entry_id for entry in entries]

    def _handle(self, entry: StreamEntry) -> Sequence[BackendEvent]:
        """Return what an entry of the stream means for the run."""
        match entry.kind:
            case "started":
                return self._tracker.started(entry.path, entry.delivery, entry.worker)
            case "released":
                self._tracker.returned(entry.path, entry.delivery)
            case "refused":
                reason = self._decoder.refusal(entry)
                return [BackendNotice(text=text) for text in self._registry.refused(entry.worker, reason)]
            case "finished":
                return self._handle_result(entry)
            case "damaged":
                # The entries behind it may be results.
                self._note_damage(entry.body)
        return ()

    def _handle_result(self, entry: StreamEntry) -> Sequence[BackendEvent]:
        task = self._tracker.task(entry.path, entry.delivery)
        if task is None:
            return ()
        try:
            result = self._decoder.result(entry, task)
        except PassmusterError as error:
            return self._tracker.result_rejected(entry.path, entry.delivery, entry.worker, str(error))
        return self._tracker.finished(entry.path, entry.delivery, result)

    def _tick(self) -> None:
        replication_id = self._store.replication_id()
        if (
            self._is_store_unsure
            or replication_id != self._replication_id
            or self._store.epoch() != self._epoch
        ):
            self._recreate_run(replication_id)
            return
        self._store.heartbeat(self._tracker.backlog)
        self._report_demand(0 if self._stopped is not None else self._tracker.unfinished)
        now_s = self._clock()
        names = self._registry.names
        has_waiting = self._store.queue_length() > 0
        self._notice(*self._registry.update(self._read_statuses(), now_s=now_s, has_waiting=has_waiting))
        self._outbox += self._tracker.unbind(self._registry.names, now_s=now_s)
        if names - self._registry.names:
            self._outbox += self._tracker.exclusive_messages()
        if self._stopped is not None or now_s < self._leases_count_from:
            return
        for lease in self._store.expired():
            # If the reply is lost, the broker may have dropped a file that no worker runs.
            self._is_store_unsure = True
            has_expired = self._store.expire(lease)
            self._is_store_unsure = False
            if has_expired:
                self._events += self._tracker.lease_expired(lease.path, lease.delivery, lease.worker)
        self._republish_lost()

    def _recreate_run(self, replication_id: str) -> None:
        """Recreate the run, with everything unfinished, on a broker that may have lost data.

        It restarted empty, or it is a replica that became the master and may lack the last writes to the old.
        What it did not lose is read first.
        """
        self._last_id = "0"
        while entries := self._store.read(self._last_id, block_s=0.0):
            self._handle_all(entries)
        running = self._tracker.restore()
        epoch = _new_epoch()
        waiting = dict(self._tracker.waiting_deliveries())
        last_entries = self._store.seed(
            waiting, epoch=epoch, spec=self._spec, running=running, after=self._last_id
        )
        self._handle_all(last_entries)
        self._epoch, self._replication_id = epoch, replication_id
        self._last_id, self._outbox, self._read_ids = "0", [], []
        self._is_store_unsure = self._is_catching_up = False
        self._spare_leases()
        if self._stopped is not None:
            self._store.cancel()

    def _republish_lost(self) -> None:
        """Republish what no worker runs although the queue is empty: a message or a reply was lost."""
        paths = [] if self._store.queue_length() else list(self._tracker.deliveries())
        states = self._store.states(paths)
        if all(states.get(path, ("", 0))[0] == "R" for path in paths):
            self._empty_since = None
        elif self._empty_since is None:
            self._empty_since = self._clock()
        elif self._clock() - self._empty_since >= LOST_MESSAGE_S:
            self._empty_since = None
            self._outbox += self._tracker.lost_messages(states)

    def _publish(self) -> None:
        """Publish the next messages. Unconfirmed ones stay in the outbox; a duplicate is dropped when it is
        claimed.
        """
        if self._stopped is not None:
            return
        messages = [*self._outbox, *self._tracker.next_messages(slots=self._registry.slots)]
        self._outbox = [message for message in messages if self._tracker.is_current(message)]
        if self._outbox:
            self._store.add({message.task.key: message.delivery for message in self._outbox})
            self._publish_all(self._outbox)
            self._outbox = []

    def _withdraw_published(self, found: list[TestTask]) -> None:
        unsent = {(message.task.key, message.delivery) for message in self._outbox}
        for path, delivery in self._tracker.waiting_deliveries():
            if not self._store.withdraw(path, delivery) and (path, delivery) not in unsent:
                continue
            task = self._tracker.withdraw(path)
            if task is None:
                self._events += self._tracker.abandon(path, self._stopped or StopReason.CANCELLED)
            else:
                found.append(task)

    def _abandon(self) -> None:
        """Make the results that did not arrive in time after a stop."""
        if self._stopped is None or self._abandon_at is None or self._clock() < self._abandon_at:
            return
        self._abandon_at = None
        for path in self._tracker.deliveries():
            self._events += self._tracker.abandon(path, self._stopped)

    def _settle(self) -> None:
        """Let workers stop what they run; they would continue if the broker no longer knew the run."""
        self._store.cancel()
        until = self._clock() + LAST_RESULTS_S
        while not self._store.is_settled() and self._clock() < until:
            self._pause(_SETTLE_PAUSE_S)


def _new_epoch() -> str:
    return secrets.token_hex(8)


def unusable_broker(error: Exception) -> InfrastructureError:
    """Return the error for a broker that cannot be used from the start."""
    return InfrastructureError(f"the broker cannot be used: {error}; check that it is running")
