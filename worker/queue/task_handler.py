"""Handles one message of the queue: verifies the task, admits it, claims its lease, runs it, returns its
result.

A message is only a hint: the run store on the broker decides whether a file may run
(`passmuster.wire.run_store`). Independent of Celery: `worker.queue.celery_app` calls `TaskHandler.take` for
each message, from one thread per slot.
"""

from __future__ import annotations

import contextlib
import os
import time
import traceback
from collections.abc import Callable, Collection
from typing import Protocol

from msgspec import structs

from passmuster.model.errors import InfrastructureError, PassmusterError
from passmuster.model.executor import Executor
from passmuster.model.result import TestResult
from passmuster.model.status import Status
from passmuster.model.task import TestTask
from passmuster.wire.broker_messages import TASK_KIND, ClaimReply, DamagedDataError, RenewReply, result_kind
from passmuster.wire.codec import decode_task, encode_result
from passmuster.wire.envelope import Envelope, EnvelopeError
from passmuster.wire.run_spec import RunSpec
from worker.process.command import why_not_executable
from worker.process.settings import WorkerSettings
from worker.queue.admission import Admission
from worker.queue.coverage import pack_coverage
from worker.queue.health import Health
from worker.queue.in_flight import AbortReason, InFlightFile, InFlightFiles
from worker.queue.log import LogLevel, Say
from worker.queue.run_subscriptions import forbidden_variables

PUT_BACK_S = 0.5
"""Seconds before a message is put back, so that it does not come again and again without a pause."""

CLAIM_S = 5.0
"""Seconds in which it must become known whether a claim succeeded: less than a lease holds."""

KEEP_RESULT_S = 120.0
"""Seconds for which a result is kept while the broker is unavailable or has lost the run's data."""

RETRY_S = 1.0


class LeaseStore(Protocol):
    """What is asked of the broker about a run; see `wire.run_store.RunStore`, which explains more."""

    def claim(self, path: str, attempt: int, worker: str) -> ClaimReply:
        """Ask for a file."""

    def renew(self, path: str, attempt: int, worker: str) -> RenewReply:
        """Keep a file."""

    def finish(self, path: str, attempt: int, worker: str, body: str) -> bool:
        """Give a file back with its result; False: it did not count."""

    def release(self, path: str, attempt: int, worker: str) -> None:
        """Return a file without a result: it is queued again."""

    def is_queued(self, path: str, attempt: int) -> bool:
        """Whether the run is active and this file is queued with this delivery number."""

    def epoch(self) -> str | None:
        """Return the epoch of the run's data, or None if the broker does not know the run."""


class TaskHandler:
    """Runs the files that the messages of a queue name.

    Args:
        executor: runs files.
        admission: waits until a file may start.
        health: whether this worker can run files.
        settings: of this worker.
        envelope: verifies tasks and signs results.
        record: returns the run store of a run.
        terms: returns the spec of a run that this worker serves; None: it does not serve this run ID.
        roster: the files that this worker holds.
        broken: the errors that mean that the broker is unavailable.
        say: writes a log line.
        fail: called with the reason when this worker can run no file any more.
        leave_alone: called with the ID of a run whose data is damaged, and the damage.
        allowed: names of variables that a task may set in addition to Passmuster's own.
        on_end: called when a file has ended, before its result is sent; must not raise.
        clock: monotonic seconds.
        pause: sleeps for some seconds.
    """

    def __init__(
        self,
        executor: Executor,
        admission: Admission,
        health: Health,
        settings: WorkerSettings,
        envelope: Envelope,
        record: Callable[[str], LeaseStore],
        terms: Callable[[str], RunSpec | None],
        roster: InFlightFiles,
        *,
        broken: tuple[type[Exception], ...],
        say: Say,
        fail: Callable[[str], None],
        leave_alone: Callable[[str, str], None],
        allowed: Collection[str] = (),
        on_end: Callable[[InFlightFile], None] = lambda held: None,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._executor, self._admission, self._health = executor, admission, health
        self._settings, self._envelope = settings, envelope
        self._record, self._terms, self._roster, self._broken = record, terms, roster, broken
        self._say, self._fail, self._allowed = say, fail, frozenset(allowed)
        self._leave_alone = leave_alone
        self._on_end = on_end
        self._clock, self._pause = clock, pause

    def handle_message(self, text: str) -> bool:
        """Handle a message; return False if it must be put back for another worker or a later time."""
        try:
            task, take = self._opened(text)
        except PassmusterError as error:
            self._say(f"a message was dropped: {error}", level=LogLevel.WARNING)
            return True
        terms = self._terms(task.run_id)
        held = InFlightFile(
            run_id=task.run_id,
            path=task.file_path,
            delivery=take,
            attempt_id=task.attempt_id,
            cancel_grace_s=0.0 if terms is None else terms.grace_s,
        )
        record = self._record(held.run_id)
        if terms is None or not self._roster.add(held):
            return self._put_back(record, held)
        try:
            return self._run_if_ours(task, held, record) or self._put_back(record, held)
        except DamagedDataError as error:
            self._leave_alone(held.run_id, str(error))
            return True
        finally:
            self._roster.remove(held.attempt_id)

    def _put_back(self, record: LeaseStore, held: InFlightFile) -> bool:
        """Pause, then return False to put the message back, or True to drop it if its delivery is obsolete.

        A message put back onto the queue of a finished run would stay there forever.
        """
        self._pause(PUT_BACK_S)
        try:
            return not record.is_queued(held.path, held.delivery)
        except DamagedDataError:
            return True
        except self._broken:
            return False

    def _opened(self, text: str) -> tuple[TestTask, int]:
        parts = self._envelope.verify(TASK_KIND, text)
        if len(parts) != 2 or not (parts[1].isascii() and parts[1].isdigit() and len(parts[1]) < 16):
            raise EnvelopeError(f"a {TASK_KIND} message has other parts than a task and its take")
        return decode_task(parts[0]), int(parts[1])

    def _run_if_ours(self, task: TestTask, held: InFlightFile, record: LeaseStore) -> bool:
        """Claim and run a task; return False if another worker may run it."""
        refusal = self._why_refused(task)
        if not refusal and (not self._is_well() or not self._admit(task, record, held)):
            return False
        answer = None
        try:
            answer = self._claim(record, held)
        finally:
            if answer is not ClaimReply.OK and not refusal:
                self._executor.release(task)
        if answer is ClaimReply.OK:
            self._roster.claim(held.attempt_id)
            result = _not_started(task, refusal) if refusal else self._run(task)
            self._on_end(held)
            self._deliver(record, held, result)
        return answer is not None

    def _why_refused(self, task: TestTask) -> str:
        """Return why this worker must not run a task, whatever the run store says, or "" if it may."""
        if wrong := forbidden_variables([name for name, _ in task.environment], self._allowed):
            return (
                f"worker {self._settings.name} lets no task set {', '.join(wrong)}: "
                "start it with --allow-env NAME for each of them"
            )
        return why_not_executable(task, self._settings)

    def _is_well(self) -> bool:
        """Whether this worker can start a file at all."""
        reason = self._health.problem()
        if reason and self._health.count_failure():
            self._roster.close()
            self._fail(reason)
        return not reason

    def _admit(self, task: TestTask, record: LeaseStore, held: InFlightFile) -> bool:
        """Reserve a place; False: there is none, or nothing is taken any more."""

        def is_wanted() -> bool:
            try:
                return record.is_queued(held.path, held.delivery)
            except DamagedDataError:
                return False
            except self._broken:
                return True

        try:
            return self._admission.admit(task, is_wanted)
        except InfrastructureError as error:
            self._roster.close()
            self._fail(str(error))
        return False

    def _claim(self, record: LeaseStore, held: InFlightFile) -> ClaimReply | None:
        """Claim the lease of a file; return None if the broker is unavailable, so the reply is unknown."""
        name = self._settings.name
        try:
            return record.claim(held.path, held.delivery, name)
        except self._broken:
            pass
        # The claim may have succeeded although no reply arrived: a renewal tells whether it did.
        until = self._clock() + CLAIM_S
        while self._clock() < until and not self._roster.is_closed:
            self._pause(RETRY_S)
            try:
                return (
                    ClaimReply.OK
                    if record.renew(held.path, held.delivery, name) is RenewReply.HELD
                    else ClaimReply.GONE
                )
            except self._broken:
                pass
        return None

    def _run(self, task: TestTask) -> TestResult:
        try:
            return self._executor.run_single_test(task)
        except Exception:  # The top of a thread: an internal error must not lose a file's result.
            return TestResult(
                file_path=task.file_path,
                status=Status.LOST,
                attempt=task.attempt,
                error="a fault in the worker lost its result; the trace is in its output",
                output=traceback.format_exc(),
            )

    def _deliver(self, record: LeaseStore, held: InFlightFile, result: TestResult) -> None:
        """Give a file back: with its result, or without one where it was not the file that ended."""
        fate = self._roster.abort_reason(held.attempt_id)
        is_ours = result.status.is_cancelled or result.is_worker_fault
        if fate is None and self._roster.is_stopping and is_ours:
            self._release(record, held)
            return
        if fate is None and result.is_worker_fault:
            self._own_up(record, held, result.error)
            return
        if result.status is not Status.START_ERROR:
            self._health.count_run()
        self._roster.count_finished()
        self._say(f"{result.status} after {result.duration:.2f} s", about=held)
        if fate is not AbortReason.LOST:
            self._finish(record, held, self._body(result, held.run_id))

    def _own_up(self, record: LeaseStore, held: InFlightFile, reason: str) -> None:
        """Give a file back that could not be started because of this worker, which may be the last straw."""
        is_last = self._health.count_failure()
        if is_last:
            self._roster.close()  # Before it waits again, or it could come here once more.
        self._say(f"gives a file back: {reason}", about=held, level=LogLevel.WARNING)
        self._release(record, held)
        if is_last:
            self._fail(reason)

    def _release(self, record: LeaseStore, held: InFlightFile) -> None:
        # First: a concurrent renewal could lease the file again. The heartbeat checks this after each
        # renewal.
        self._roster.unclaim(held.attempt_id)
        with contextlib.suppress(DamagedDataError, *self._broken):  # Its lease runs out by itself.
            record.release(held.path, held.delivery, self._settings.name)

    def _finish(self, record: LeaseStore, held: InFlightFile, body: str) -> None:
        until = self._clock() + KEEP_RESULT_S
        while self._roster.abort_reason(held.attempt_id) is not AbortReason.LOST:
            try:
                is_counted = record.finish(held.path, held.delivery, self._settings.name, body)
                if is_counted or record.epoch() is not None:
                    return
                if self._roster.abort_reason(held.attempt_id) is AbortReason.CANCELLED:
                    return  # The run has ended, and nobody will tell the broker of it again.
            except self._broken:
                pass
            if self._clock() >= until or self._roster.is_stopping:
                self._say(
                    "its result was given up: the broker does not take it", about=held, level=LogLevel.ERROR
                )
                return
            self._pause(RETRY_S)

    def _body(self, result: TestResult, run_id: str) -> str:
        """Return the message that carries a result; if it cannot be encoded, one that reports that error."""
        name = self._settings.name
        root = os.path.realpath(self._settings.root) if result.coverage_files else ""
        plain = structs.replace(result, worker=name, coverage_files=(), coverage_root=root)
        try:
            coverage = pack_coverage(result.coverage_files, self._settings)
            return self._envelope.sign(result_kind(run_id), encode_result(plain), coverage, run_id=run_id)
        except PassmusterError as error:
            lost = TestResult(
                file_path=result.file_path,
                status=Status.LOST,
                attempt=result.attempt,
                worker=name,
                error=f"it ended as {result.status}, but its result cannot be sent: {error}",
            )
            return self._envelope.sign(result_kind(run_id), encode_result(lost), "", run_id=run_id)


def _not_started(task: TestTask, refusal: str) -> TestResult:
    return TestResult(
        file_path=task.file_path, status=Status.START_ERROR, attempt=task.attempt, error=refusal
    )
