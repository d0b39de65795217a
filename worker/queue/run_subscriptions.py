"""Joins a worker to runs: reads a run's spec, checks the worker against it, and serves or refuses the run.

Each run is joined in a thread of its own, because a check may take long and the heartbeat must not wait. A
worker consumes the queue of a run only after it has joined the run. A refusal is reported to the run's
dispatcher once.
"""

from __future__ import annotations

import contextlib
import threading
import traceback
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from passmuster.model.errors import PassmusterError
from passmuster.model.executor import SlotRange
from passmuster.model.version import VERSION
from passmuster.wire.broker_messages import DamagedDataError
from passmuster.wire.envelope import Envelope
from passmuster.wire.run_spec import REFUSED_KIND, SPEC_KIND, RunSpec, decode_run_spec
from worker.queue.log import LogLevel, Say

Check = Callable[[RunSpec], str]
"""Returns why a worker cannot serve a run, in one line with both values and what to do; "" if it can."""

OWN_NAMES = "PASSMUSTER_"
"""Prefix of the variables that a task may always set."""


class RunSpecStore(Protocol):
    """What is asked of the broker about a run; see `wire.run_store.RunStore`, which explains more."""

    def spec(self) -> str | None:
        """Return the signed spec, or None if the broker does not know the run."""

    def assign_slots(self, worker: str, count: int, known: SlotRange | None = None) -> SlotRange | None:
        """Return a worker's slot numbers in the run, or None if the broker does not know the run."""

    def refuse(self, worker: str, body: str) -> None:
        """Report that a worker does not serve the run."""


class Subscriptions(Protocol):
    """The queues that this worker consumes. Its methods only request changes. Thread-safe."""

    def follow(self, run_id: str) -> None:
        """Consume the queue of a run."""

    def leave(self, run_id: str) -> None:
        """Stop consuming the queue of a run."""

    def sync(self) -> None:
        """Repeat the requests for the wanted queues."""


class _Membership:
    """One run, from when it was first seen until it is gone. `terms`: it is served."""

    def __init__(self) -> None:
        self.terms: RunSpec | None = None


class RunSubscriptions:
    """The runs that this worker has seen. Thread-safe.

    Args:
        record: returns what the broker knows of a run.
        envelope: opens terms and seals refusals.
        checks: the checks that every run must pass.
        subscriptions: what messages are taken from.
        name: of this worker.
        slots: how many files this worker runs at once.
        broken: the errors that mean that the broker is away.
        say: writes a log line.
        leave: called for each run that has ended, after all its checks; possibly twice.
    """

    def __init__(
        self,
        record: Callable[[str], RunSpecStore],
        envelope: Envelope,
        checks: Sequence[Check],
        subscriptions: Subscriptions,
        *,
        name: str,
        slots: int,
        broken: tuple[type[Exception], ...],
        say: Say,
        leave: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._record, self._envelope, self._checks, self._leave = record, envelope, tuple(checks), leave
        self._subscriptions, self._name, self._broken, self._say = subscriptions, name, broken, say
        self._slots = slots
        self._ranges: dict[str, SlotRange] = {}
        self._lock = threading.Lock()
        self._seen: dict[str, _Membership] = {}
        self._told: set[tuple[str, str]] = set()
        self._damaged: set[str] = set()
        self._is_over = False

    def follow(self, runs: Collection[str]) -> None:
        """Start to join new runs, and leave those that have ended. Does not wait.

        Args:
            runs: all that are under way.
        """
        with self._lock:
            gone = self._seen.keys() - set(runs)
            for run_id in gone:
                if self._seen.pop(run_id).terms is not None:
                    self._subscriptions.leave(run_id)
            new = () if self._is_over else set(runs) - self._seen.keys()
            for run_id in new:
                self._seen[run_id] = _Membership()
        for run_id in gone:
            self._leave(run_id)
            self._envelope.forget_run(run_id)
        for run_id in new:
            thread = threading.Thread(target=self.join, args=(run_id,), name=f"join {run_id}", daemon=True)
            thread.start()
        self._subscriptions.sync()

    def spec_of(self, run_id: str) -> RunSpec | None:
        """Return the spec of a run, or None if this worker does not serve it."""
        membership = self._seen.get(run_id)
        return None if membership is None else membership.terms

    def slots_of(self, run_id: str) -> SlotRange:
        """Return the numbers of this worker's slots in a run that it has joined."""
        return self._ranges[run_id]

    def served_runs(self) -> tuple[str, ...]:
        """Return the ids of the runs that are served."""
        with self._lock:
            return tuple(sorted(run_id for run_id, one in self._seen.items() if one.terms is not None))

    def abandon(self, run_id: str, why: str) -> None:
        """Stop serving a run whose data on the broker is damaged, and log that once; other runs continue.

        Args:
            run_id: the run, served or not.
            why: what is damaged.
        """
        with self._lock:
            membership = self._seen.get(run_id)
            was_served = membership is not None and membership.terms is not None
            if membership is not None:
                membership.terms = None
            is_told = run_id in self._damaged
            self._damaged.add(run_id)
        if was_served:
            self._subscriptions.leave(run_id)
        self._leave(run_id)  # Its check may have made its files ready before.
        if not is_told:
            self._say(f"leaves run {ascii(run_id)[1:-1][:80]} alone: {why}", level=LogLevel.WARNING)

    def refuse_all(self, reason: str) -> None:
        """Stop serving all runs, and report the reason to each of them."""
        with self._lock:
            self._is_over = True
            served = [run_id for run_id, one in self._seen.items() if one.terms is not None]
            for run_id in served:
                self._seen[run_id].terms = None
                self._subscriptions.leave(run_id)
        for run_id in served:
            with contextlib.suppress(
                DamagedDataError, *self._broken
            ):  # A dispatcher sees too that the worker is gone.
                self._refuse(run_id, reason)

    def join(self, run_id: str) -> None:
        """Join a run passed to `follow`, or refuse it. If the broker is unavailable, `follow` retries
        later."""
        membership = self._seen.get(run_id)
        try:
            record = self._record(run_id)
            text = record.spec()
            if text is None:  # It has ended meanwhile.
                return
            terms, reason = self._judged(run_id, text)
            if reason:
                if self._seen.get(run_id) is membership:
                    self._refuse(run_id, reason)
                return
            numbers = record.assign_slots(self._name, self._slots, self._ranges.get(run_id))
            if numbers is None:  # It has ended meanwhile.
                return
        except DamagedDataError as error:
            self.abandon(run_id, str(error))
            return
        except self._broken:
            with self._lock:
                if self._seen.get(run_id) is membership:
                    del self._seen[run_id]
            return
        with self._lock:
            if membership is not None and self._seen.get(run_id) is membership and not self._is_over:
                membership.terms = terms
                self._ranges[run_id] = numbers
                self._subscriptions.follow(run_id)
            is_gone = run_id not in self._seen
        if is_gone:
            self._leave(run_id)

    def _judged(self, run_id: str, text: str) -> tuple[RunSpec | None, str]:
        """Return the spec of a run, and the reason why it cannot be served, or "" if it can."""
        try:
            if not text:
                return None, f"the run has no terms, worker {self._name} needs them: {_same_version()}"
            parts = self._envelope.verify(SPEC_KIND, text)
            if len(parts) != 1:
                return None, f"the run's terms have {len(parts)} parts, 1 was expected: {_same_version()}"
            self._envelope.answer_run(run_id, text)
            terms = decode_run_spec(parts[0])
            found = (check(terms) for check in (_same_run(run_id), same_version, *self._checks))
            return terms, next(filter(None, found), "")
        except DamagedDataError:
            raise
        except self._broken:
            raise
        except PassmusterError as error:
            return None, f"worker {self._name} cannot join the run: {error}"
        except Exception as error:  # The top of the thread: a bug in a check must not look like a slow check.
            self._say(f"a fault in joining a run: {traceback.format_exc()}", level=LogLevel.ERROR)
            return None, f"a fault in worker {self._name}: {type(error).__name__}: {error}"

    def _refuse(self, run_id: str, reason: str) -> None:
        line = " ".join(reason.split())
        if (run_id, line) not in self._told:
            self._told.add((run_id, line))
            self._say(f"does not serve run {run_id}: {line}", level=LogLevel.WARNING)
        self._record(run_id).refuse(self._name, self._envelope.sign(REFUSED_KIND, line, run_id=run_id))


def same_version(terms: RunSpec) -> str:
    """Refuse a dispatcher of another version: the two might understand a task differently."""
    if terms.version == VERSION:
        return ""
    return f"the dispatcher has version {terms.version[:20]}, the worker {VERSION}: {_same_version()}"


def check_variables(allowed: Collection[str]) -> Check:
    """Return a check that a run sets only Passmuster's own variables and those that this worker allows."""

    def check(terms: RunSpec) -> str:
        wrong = forbidden_variables(terms.environment_names, allowed)
        if not wrong:
            return ""
        known = ", ".join(sorted(allowed)) or "none"
        return (
            f"the run sets {', '.join(wrong)}, the worker allows {known}: start it with"
            f" {' '.join(f'--allow-env {name}' for name in wrong)}"
        )

    return check


def forbidden_variables(names: Collection[str], allowed: Collection[str]) -> list[str]:
    """Return the names that are neither allowed nor Passmuster's own."""
    return sorted(name for name in names if not name.startswith(OWN_NAMES) and name not in allowed)


def _same_run(run_id: str) -> Check:
    def check(terms: RunSpec) -> str:
        if terms.run_id == run_id:
            return ""
        return f"the terms are those of run {ascii(terms.run_id)[:40]}, not of {run_id}: start the run again"

    return check


def _same_version() -> str:
    return "install the same version of Passmuster on both sides"
