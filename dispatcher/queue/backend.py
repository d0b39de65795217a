"""Runs files on workers of a broker: keeps the run store there and the delivery tracker here consistent.

Correctness never depends on the arrival of a message. A message that is lost in transit, with its worker, or
by the broker is detected here and delivered again; the run store counts only one result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

from dispatcher.engine.backend import BackendEvent, BackendNotice
from dispatcher.queue.delivery_tracker import DeliveryTracker, Message
from dispatcher.queue.worker_registry import WorkerRegistry
from passmuster.model.errors import InfrastructureError, PassmusterError
from passmuster.model.executor import Limit, Usage
from passmuster.model.result import TestResult
from passmuster.model.status import StopReason
from passmuster.model.task import TestTask
from passmuster.wire.broker_keys import HEARTBEAT_S, LEASE_S
from passmuster.wire.broker_messages import DamagedDataError, Lease, StreamEntry, WorkerStatus


class DispatcherRunStore(Protocol):
    """The dispatcher's operations on the run store; `passmuster.wire.run_store.RunStore` explains them."""

    def seed(self, attempts: Mapping[str, int], *, epoch: str, terms: str) -> None:
        """Create or recreate the run with these files waiting."""

    def load_states(self) -> tuple[str, Mapping[str, tuple[str, int]]] | None:
        """Return the epoch of an existing run, with the state letter and delivery of its files; None: there
        is none.
        """

    def add(self, attempts: Mapping[str, int]) -> None:
        """Add waiting files, except those that run."""

    def withdraw(self, path: str, attempt: int) -> bool:
        """Withdraw a waiting file; False: it no longer waits."""

    def epoch(self) -> str | None:
        """Return the word of the last `seed`; None: the broker does not know the run."""

    def heartbeat(self, kept: int) -> None:
        """Send a heartbeat, with the number of files that are not on the queue yet."""

    def expired(self) -> Sequence[Lease]:
        """Return the expired leases."""

    def expire(self, lease: Lease) -> bool:
        """Remove an expired lease and its file's state; False: it was renewed, or the file is done."""

    def states(self, paths: Sequence[str]) -> Mapping[str, tuple[str, int]]:
        """Return the state letter (Q, R, D) and delivery of those of these files that the broker knows."""

    def queue_length(self) -> int:
        """Return how many messages the queue holds."""

    def cancel(self) -> None:
        """Forbid further starts and have running files stopped."""

    def is_settled(self) -> bool:
        """Whether no worker holds a lease."""

    def end(self) -> None:
        """Remove the run from the broker."""

    def read(self, last_id: str, *, block_s: float) -> Sequence[StreamEntry]:
        """Return the entries after `last_id`."""

    def trim(self, last_id: str) -> None:
        """Remove the entries up to and including `last_id`."""


class ResultSource(Protocol):
    """Decodes messages of workers; see `dispatcher.queue.results`."""

    def result(self, entry: StreamEntry, task: TestTask) -> TestResult:
        """Return the result of this task in an entry; an error result if it contains none."""

    def refusal(self, entry: StreamEntry) -> str:
        """Return why a worker refuses the run."""


TICK_S = 1.0
"""Seconds between two checks of the leases and of the run's existence on the broker."""

LOOK_S = 0.2
"""Maximum seconds of one blocking read from the broker; `wake` may have to wait as long."""

SWALLOWED_S = 5.0
"""Seconds for which the queue may be empty while files wait, until they are republished: workers take a
moment.
"""

AWAY_S = 120.0
"""Seconds for which the broker may be unavailable before the run fails: as long as workers keep a result."""

LAST_RESULTS_S = 5.0
"""Seconds beyond the grace period in which a stopped file's result must arrive."""

_SETTLE_LOOK_S = 0.1


class QueueBackend:
    """A `Backend` over a broker.

    Args:
        record: the run store; seeded and removed here.
        publish: puts messages on the run's queue, in their order.
        mail: decodes the messages of workers.
        cards: reads the worker statuses from the broker.
        terms: the signed message with the run's requirements for workers.
        new_epoch: returns a fresh random word.
        broken: the errors that mean that the broker is unavailable.
        limits: the limits in force, for people.
        groups: how many files of each group may run at once.
        is_resumed: whether a dispatcher that is gone may have left the run on the broker.
        release: frees the backend's resources; called when it is closed.
        clock: monotonic seconds.
        pause: waits for a number of seconds.

    Raises:
        InfrastructureError: the broker is unavailable from the start.
    """

    def __init__(
        self,
        record: DispatcherRunStore,
        publish: Callable[[Sequence[Message]], None],
        mail: ResultSource,
        crew: WorkerRegistry,
        cards: Callable[[], Sequence[WorkerStatus]],
        *,
        terms: str,
        new_epoch: Callable[[], str],
        broken: tuple[type[Exception], ...],
        limits: Sequence[Limit] = (),
        groups: Mapping[str, int] | None = None,
        is_resumed: bool = False,
        release: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.notices: tuple[str, ...] = ()
        self._record, self._publish_all, self._mail = record, publish, mail
        self._crew, self._cards = crew, cards
        self._terms, self._new_epoch, self._broken = terms, new_epoch, broken
        self._limits, self._release = tuple(limits), release
        self._clock, self._pause = clock, pause
        self._book = DeliveryTracker(groups)
        self._outbox: list[Message] = []
        self._events: list[BackendEvent] = []
        self._last_id = "0"
        self._is_woken = False
        self._stopped: StopReason | None = None
        self._abandon_at: float | None = None
        self._next_tick = self._judge_from = clock()
        self._empty_since: float | None = None
        self._away_since: float | None = None
        self._is_away_told, self._away_reason = False, ""
        self._damage, self._is_damage_told = "", False
        self._is_unsure = False
        self._peak_bytes = 0
        self._is_catching_up = self._is_read = False
        try:
            self._epoch = self._attached() if is_resumed else ""
            if not self._epoch:
                self._epoch = new_epoch()
                record.seed({}, epoch=self._epoch, terms=terms)
        except broken as error:
            raise InfrastructureError(
                f"the broker cannot be used: {error}; check that it is running"
            ) from error

    def _attached(self) -> str:
        """Attach to the run on the broker and return its epoch; empty: the broker has none."""
        found = self._record.load_states()
        if found is None:
            return ""
        epoch, states = found
        self._book.recall(states)
        self._is_catching_up = True
        self._judge_from = self._clock() + LEASE_S + HEARTBEAT_S
        return epoch

    def limits(self) -> tuple[Limit, ...]:
        """Return the limits in force where the files run."""
        return self._limits

    def submit(self, tasks: Sequence[TestTask], *, first: bool = False, spare: bool = False) -> None:
        """Queue tasks in order and publish those that may run."""
        self._book.submit(tasks, first=first, spare=spare)
        for task in tasks:
            self._notice(self._crew.oversized_warning(task.file_path, task.predicted_bytes))
        self._with_broker(self._publish)

    def poll(self, timeout_s: float) -> tuple[BackendEvent, ...]:
        """Return what happened; see `Backend.poll`."""
        deadline = self._clock() + timeout_s
        while True:
            left_s = max(0.0, deadline - self._clock())
            block_s = 0.0 if self._events or self._is_woken else min(left_s, LOOK_S)
            if not self._with_broker(partial(self._look, block_s)):
                self._pause(block_s)
            self._abandon()
            is_news = self._damage and not self._is_damage_told
            if self._events or self._is_woken or is_news or self._clock() >= deadline:
                self._is_woken = False
                found, self._events = tuple(self._events), []
                if not found:
                    self._check_damage()
                    self._check_availability()
                    self._check_workers()
                return found

    def wake(self) -> None:
        """Make `poll` return within `LOOK_S` seconds; it only sets a flag: safe in a signal handler."""
        self._is_woken = True

    def withdraw(self) -> tuple[TestTask, ...]:
        """Withdraw tasks that have not started. Those for which the broker does not answer stay."""
        found: list[TestTask] = []
        self._with_broker(lambda: self._withdraw_published(found))
        return (*found, *self._book.withdraw_backlog())

    def stop(self, reason: StopReason, *, grace_s: float) -> None:
        """Stop running files and forbid further starts. Workers have their own grace period."""
        self._stopped = self._stopped or reason
        self._abandon_at = self._clock() + grace_s + LAST_RESULTS_S
        self._with_broker(self._record.cancel)

    def usage(self) -> Usage:
        """Return the last reported usage of running files; a file that just started uses nothing yet."""
        workers = self._crew.usage()
        used_bytes = sum(worker.used_bytes for worker in workers)
        self._peak_bytes = max(self._peak_bytes, used_bytes)
        return Usage(
            slots=self._crew.slots,
            budget_bytes=self._crew.budget_bytes,
            used_bytes=used_bytes,
            peak_bytes=self._peak_bytes,
            files=self._crew.file_usage(self._book.running()),
            workers=workers,
        )

    def close(self) -> None:
        """Stop running files, wait briefly for them, and remove the run from the broker."""
        try:
            self._with_broker(self._settle)
            self._with_broker(self._record.end)
        finally:
            self._release()

    def _with_broker(self, step: Callable[[], object]) -> bool:
        """Call the broker; False: it is unavailable, and everything is to be retried later."""
        try:
            step()
        except DamagedDataError as error:
            self._damage = self._damage or str(error)
            return False
        except self._broken as error:
            now = self._clock()
            if self._away_since is None:
                self._away_since = now
                self._notice(f"the broker is of no use now: {error}; waiting up to {AWAY_S:.0f} s for it")
            self._away_reason = str(error)
            # Workers could not renew their leases either, so an expired lease proves nothing.
            self._judge_from = now + LEASE_S + HEARTBEAT_S
            return False
        return True

    def _check_damage(self) -> None:
        """Raise once when data on the broker was not written by this run or its workers."""
        if self._damage and not self._is_damage_told:
            self._is_damage_told = True
            raise InfrastructureError(self._damage)

    def _check_availability(self) -> None:
        """Raise once when the broker has been unavailable, or has refused to serve, for too long."""
        since = self._away_since
        if since is None or self._is_away_told or self._clock() - since < AWAY_S:
            return
        self._is_away_told = True
        raise InfrastructureError(
            f"the broker has been of no use for {self._clock() - since:.0f} s, so nothing further can start: "
            f"{self._away_reason}; look whether it runs and can be reached"
        )

    def _check_workers(self) -> None:
        """Raise once when no worker serves the run for too long, or when those that do must not be mixed."""
        if self._away_since is None and self._stopped is None:
            reason = self._crew.no_worker_problem(now_s=self._clock()) or self._crew.why_mixed()
            if reason:
                raise InfrastructureError(reason)

    def _notice(self, *texts: str) -> None:
        self._events += [BackendNotice(text=text) for text in texts if text]

    def _look(self, block_s: float) -> None:
        """Read the result stream, and once in `TICK_S` check what the stream does not report."""
        if self._is_read:
            # Only now: the run has recorded what the last call returned.
            self._record.trim(self._last_id)
            self._is_read = False
        entries = self._record.read(self._last_id, block_s=0.0 if self._is_catching_up else block_s)
        for entry in entries:
            self._events += self._meaning(entry)
            self._last_id = entry.entry_id
        self._is_read = bool(entries)
        if self._is_catching_up and not entries:
            self._is_catching_up = False
            self._book.republish_missing()
        if self._clock() >= self._next_tick:
            self._tick()  # If it fails, it is retried first.
            self._next_tick = self._clock() + TICK_S
        self._publish()
        if self._away_since is not None:
            self._notice("the broker is of use again")
            self._away_since, self._is_away_told = None, False

    def _meaning(self, entry: StreamEntry) -> Sequence[BackendEvent]:
        """Return what an entry of the stream means for the run."""
        match entry.kind:
            case "started":
                return self._book.started(entry.path, entry.delivery, entry.worker)
            case "released":
                self._book.released(entry.path, entry.delivery)
            case "refused":
                reason = self._mail.refusal(entry)
                return [BackendNotice(text=text) for text in self._crew.refused(entry.worker, reason)]
            case "finished":
                return self._finished(entry)
            case "damaged":
                # The entries behind it may be results.
                self._damage = self._damage or entry.body
        return ()

    def _finished(self, entry: StreamEntry) -> Sequence[BackendEvent]:
        task = self._book.task(entry.path, entry.delivery)
        if task is None:
            return ()
        try:
            result = self._mail.result(entry, task)
        except PassmusterError as error:
            return self._book.forged(entry.path, entry.delivery, entry.worker, str(error))
        return self._book.finished(entry.path, entry.delivery, result)

    def _tick(self) -> None:
        if self._is_unsure or self._record.epoch() != self._epoch:
            self._seed_again()
            return
        self._record.heartbeat(self._book.kept)
        now_s = self._clock()
        names = self._crew.names
        self._notice(
            *self._crew.update(self._cards(), now_s=now_s, has_waiting=self._record.queue_length() > 0)
        )
        self._outbox += self._book.unbind(self._crew.names, now_s=now_s)
        if names - self._crew.names:
            self._outbox += self._book.waiting_alone()
        if self._stopped is not None or now_s < self._judge_from:
            return
        for lease in self._record.expired():
            # If the reply is lost, the broker may have dropped a file that no worker runs.
            self._is_unsure = True
            is_lost = self._record.expire(lease)
            self._is_unsure = False
            if is_lost:
                self._events += self._book.lost(lease.path, lease.delivery, lease.worker)
        self._republish_lost()

    def _seed_again(self) -> None:
        """Recreate the run, with everything unfinished, on a broker that restarted empty."""
        self._book.forgotten()
        epoch = self._new_epoch()
        self._record.seed(self._book.takes(), epoch=epoch, terms=self._terms)
        self._epoch, self._last_id, self._outbox, self._is_unsure = epoch, "0", [], False
        self._is_catching_up = self._is_read = False
        self._judge_from = self._clock() + LEASE_S + HEARTBEAT_S
        if self._stopped is not None:
            self._record.cancel()

    def _republish_lost(self) -> None:
        """Republish what no worker runs although the queue is empty: a message or a reply was lost."""
        paths = [] if self._record.queue_length() else list(self._book.takes())
        states = self._record.states(paths)
        if all(states.get(path, ("", 0))[0] == "R" for path in paths):
            self._empty_since = None
        elif self._empty_since is None:
            self._empty_since = self._clock()
        elif self._clock() - self._empty_since >= SWALLOWED_S:
            self._empty_since = None
            self._outbox += self._book.swallowed(states)

    def _publish(self) -> None:
        """Publish the next messages. Unconfirmed ones stay in the outbox; a duplicate is dropped when it is
        claimed.
        """
        if self._stopped is not None:
            return
        self._outbox += self._book.next_messages(slots=self._crew.slots)
        messages = [message for message in self._outbox if self._book.is_current(message)]
        self._outbox = messages
        if messages:
            self._record.add({message.task.file_path: message.take for message in messages})
            self._publish_all(messages)
            self._outbox = []

    def _withdraw_published(self, found: list[TestTask]) -> None:
        unsent = {(message.task.file_path, message.take) for message in self._outbox}
        for path, take in self._book.published():
            if not self._record.withdraw(path, take) and (path, take) not in unsent:
                continue
            task = self._book.withdrawn(path)
            if task is None:
                self._events += self._book.abandoned(path, self._stopped or StopReason.CANCELLED)
            else:
                found.append(task)

    def _abandon(self) -> None:
        """Make the results that did not arrive in time after a stop."""
        if self._stopped is None or self._abandon_at is None or self._clock() < self._abandon_at:
            return
        self._abandon_at = None
        for path in self._book.takes():
            self._events += self._book.abandoned(path, self._stopped)

    def _settle(self) -> None:
        """Let workers stop what they run; they would continue if the broker no longer knew the run."""
        self._record.cancel()
        until = self._clock() + LAST_RESULTS_S
        while not self._record.is_settled() and self._clock() < until:
            self._pause(_SETTLE_LOOK_S)
