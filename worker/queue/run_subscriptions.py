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
from typing import TYPE_CHECKING

from msgspec import Struct

from passmuster.model.errors import PassmusterError
from passmuster.model.executor import SlotRange
from passmuster.model.version import VERSION
from passmuster.wire.access import BROKER_ERRORS, BROKER_OR_DATA_ERRORS
from passmuster.wire.broker_messages import DamagedDataError
from passmuster.wire.envelope import Envelope
from passmuster.wire.run_spec import REFUSED_KIND, SPEC_CODEC, SPEC_KIND, RunSpec
from passmuster.wire.run_store import RunStore
from worker.queue.log import LogLevel, Say

if TYPE_CHECKING:
    from worker.queue.celery_app import RunQueues  # Imports Celery.

Check = Callable[[RunSpec], str | None]
"""Returns why a worker cannot serve a run, in one line with both values and what to do, or None if it can."""

OWN_PREFIX = "PASSMUSTER_"
"""Prefix of the variables that a task may always set."""

MAX_FORMER_RUNS = 100
"""Runs that have left whose slot numbers are remembered: a broker that lost its data may bring them back."""

_SAME_VERSION = "install the same version of Passmuster on both sides"


class _Membership(Struct):
    """One run, from when it is first seen until it is gone."""

    spec: RunSpec | None = None
    """None unless it is served."""
    refusal: str = ""
    """The last reason for which it was refused; empty: it was not."""


class RunSubscriptions:
    """The runs that this worker has seen. Thread-safe.

    Args:
        checks: what every run must pass, in this order.
        leave: called for each run that has ended, after all its checks; possibly twice.
    """

    def __init__(
        self,
        open_store: Callable[[str], RunStore],
        envelope: Envelope,
        checks: Sequence[Check],
        queues: RunQueues,
        *,
        name: str,
        slots: int,
        say: Say,
        leave: Callable[[str], None] = lambda run_id: None,
    ) -> None:
        self._open_store, self._envelope, self._checks, self._leave = open_store, envelope, checks, leave
        self._queues, self._name, self._slots, self._say = queues, name, slots, say
        self._ranges: dict[str, SlotRange] = {}
        self._lock = threading.Lock()
        self._seen: dict[str, _Membership] = {}
        self._damaged: set[str] = set()
        self._is_over = False

    def follow(self, runs: Collection[str]) -> None:
        """Start to join new runs, and leave those that are no longer active. Does not wait."""
        with self._lock:
            gone = self._seen.keys() - set(runs)
            for run_id in gone:
                if self._seen.pop(run_id).spec is not None:
                    self._queues.leave(run_id)
            new = () if self._is_over else set(runs) - self._seen.keys()
            for run_id in new:
                self._seen[run_id] = _Membership()
            former = [run_id for run_id in self._ranges if run_id not in self._seen]
            for run_id in former[:-MAX_FORMER_RUNS]:
                del self._ranges[run_id]
        for run_id in gone:
            self._leave(run_id)
        for run_id in new:
            thread = threading.Thread(target=self.join, args=(run_id,), name=f"join {run_id}", daemon=True)
            thread.start()
        self._queues.sync()

    def spec_of(self, run_id: str) -> RunSpec | None:
        """Return the spec of a run, or None if this worker does not serve it."""
        membership = self._seen.get(run_id)
        return None if membership is None else membership.spec

    def slots_of(self, run_id: str) -> SlotRange:
        """Return the numbers of this worker's slots in a run that it has joined."""
        return self._ranges[run_id]

    def served_runs(self) -> tuple[str, ...]:
        """Return the IDs of the runs that this worker serves."""
        with self._lock:
            return tuple(sorted(run_id for run_id, one in self._seen.items() if one.spec is not None))

    def abandon(self, run_id: str, damage: str) -> None:
        """Stop serving a run whose data on the broker is damaged, and log that once; other runs continue."""
        with self._lock:
            membership = self._seen.get(run_id)
            was_served = membership is not None and membership.spec is not None
            if membership is not None:
                membership.spec = None
            is_logged = run_id in self._damaged
            self._damaged.add(run_id)
        if was_served:
            self._queues.leave(run_id)
        self._leave(run_id)  # A check may have prepared its files before.
        if not is_logged:
            self._say(f"ignores run {ascii(run_id)[1:-1][:80]}: {damage}", level=LogLevel.WARNING)

    def refuse_all(self, reason: str) -> None:
        """Stop serving all runs, and report the reason to each of them."""
        with self._lock:
            self._is_over = True
            served = {run_id: one for run_id, one in self._seen.items() if one.spec is not None}
            for run_id, membership in served.items():
                membership.spec = None
                self._queues.leave(run_id)
        for run_id, membership in served.items():
            # A dispatcher also sees that the worker is gone.
            with contextlib.suppress(*BROKER_OR_DATA_ERRORS):
                self._refuse(run_id, membership, reason)

    def join(self, run_id: str) -> None:
        """Join a run passed to `follow`, or refuse it. If the broker is unavailable, `follow` retries
        later."""
        membership = self._seen.get(run_id)
        try:
            store = self._open_store(run_id)
            text = store.spec()
            if text is None:  # It has ended meanwhile.
                return
            spec, problem = self._check(run_id, text)
            if problem is not None:
                if membership is not None and self._seen.get(run_id) is membership:
                    self._refuse(run_id, membership, problem)
                return
            numbers = store.assign_slots(self._name, self._slots, self._ranges.get(run_id))
            if numbers is None:  # It has ended meanwhile.
                return
        except DamagedDataError as error:
            self.abandon(run_id, str(error))
            return
        except BROKER_ERRORS:
            with self._lock:
                if self._seen.get(run_id) is membership:
                    del self._seen[run_id]
            return
        with self._lock:
            if membership is not None and self._seen.get(run_id) is membership and not self._is_over:
                membership.spec = spec
                self._ranges[run_id] = numbers
                self._queues.follow(run_id)
            is_gone = run_id not in self._seen
        if is_gone:
            self._leave(run_id)

    def _check(self, run_id: str, text: str) -> tuple[RunSpec | None, str | None]:
        """Return the spec of a run, and the reason why it cannot be served, or None if it can."""
        try:
            if not text:
                return None, f"the run has no spec, worker {self._name} needs one: {_SAME_VERSION}"
            parts = self._envelope.verify(SPEC_KIND, text)
            if len(parts) != 1:
                return None, f"the run's spec has {len(parts)} parts, 1 was expected: {_SAME_VERSION}"
            self._envelope.answer_run(run_id, text)
            spec = SPEC_CODEC.decode(parts[0])
            problems = (check(spec) for check in (_same_run(run_id), same_version, *self._checks))
            return spec, next(filter(None, problems), None)
        except BROKER_OR_DATA_ERRORS:
            raise
        except PassmusterError as error:
            return None, f"worker {self._name} cannot join the run: {error}"
        except Exception as error:  # The top of the thread: a bug in a check must not look like a slow check.
            self._say(f"an internal error in joining a run: {traceback.format_exc()}", level=LogLevel.ERROR)
            return None, f"an internal error in worker {self._name}: {type(error).__name__}: {error}"

    def _refuse(self, run_id: str, membership: _Membership, reason: str) -> None:
        line = " ".join(reason.split())
        if membership.refusal != line:
            membership.refusal = line
            self._say(f"refuses run {run_id}: {line}", level=LogLevel.WARNING)
        self._open_store(run_id).refuse(self._name, self._envelope.sign(REFUSED_KIND, line, run_id=run_id))


def same_version(spec: RunSpec) -> str | None:
    """Refuse a dispatcher of another version: the two might interpret a task differently."""
    if spec.version == VERSION:
        return None
    return f"the dispatcher has version {spec.version[:20]}, the worker {VERSION}: {_SAME_VERSION}"


def check_variables(allowed: Collection[str]) -> Check:
    """Return a check that a run sets only Passmuster's own variables and those that this worker allows."""

    def check(spec: RunSpec) -> str | None:
        forbidden = forbidden_variables(spec.environment_names, allowed)
        if not forbidden:
            return None
        known = ", ".join(sorted(allowed)) or "none"
        return (
            f"the run sets {', '.join(forbidden)}, the worker allows {known}: start it with"
            f" {' '.join(f'--allow-env {name}' for name in forbidden)}"
        )

    return check


def forbidden_variables(names: Collection[str], allowed: Collection[str]) -> list[str]:
    """Return the names that are neither allowed nor Passmuster's own."""
    return sorted(name for name in names if not name.startswith(OWN_PREFIX) and name not in allowed)


def _same_run(run_id: str) -> Check:
    def check(spec: RunSpec) -> str | None:
        if spec.run_id == run_id:
            return None
        return f"the spec is of run {ascii(spec.run_id)[:40]}, not of {run_id}: start the run again"

    return check
