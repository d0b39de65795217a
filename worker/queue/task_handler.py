"""Handles one message of the queue: verifies the task, admits it, claims its lease, runs it, returns its
result.

A message is only a hint: the run store on the broker decides whether a file may run
(`passmuster.wire.run_store`). Independent of Celery: `worker.queue.celery_app` calls
`TaskHandler.handle_message` for each message, from one thread per slot.
"""

from __future__ import annotations

import contextlib
import os
import time
import traceback
from collections.abc import Callable, Collection

from msgspec import structs

from passmuster.model.errors import InfrastructureError, PassmusterError
from passmuster.model.executor import Executor
from passmuster.model.result import TestResult
from passmuster.model.status import Status
from passmuster.model.task import TestTask
from passmuster.model.test_selection import local_only_argument
from passmuster.wire.access import BROKER_ERRORS, BROKER_OR_DATA_ERRORS
from passmuster.wire.broker_keys import OUTAGE_S
from passmuster.wire.broker_messages import TASK_KIND, ClaimReply, DamagedDataError, RenewReply, result_kind
from passmuster.wire.codec import RESULT_CODEC, TASK_CODEC
from passmuster.wire.envelope import Envelope, EnvelopeError
from passmuster.wire.run_spec import RunSpec
from passmuster.wire.run_store import RunStore
from worker.process.command import execution_problem
from worker.process.settings import WorkerSettings
from worker.queue.admission import Admission
from worker.queue.coverage import pack_coverage
from worker.queue.health import Health
from worker.queue.in_flight import AbortReason, InFlightFile, InFlightFiles
from worker.queue.log import LogLevel, Say
from worker.queue.run_subscriptions import forbidden_variables

PUT_BACK_S = 0.5
"""Seconds before a message is put back, so that it is not redelivered in a tight loop."""

CLAIM_S = 5.0
"""Seconds to find out whether a claim succeeded: less than `LEASE_S`."""

RETRY_S = 1.0


class TaskHandler:
    """Runs the files that the messages of a queue name.

    Args:
        spec_of: returns the spec of a run that this worker serves, or None if it does not serve the run.
        fail: called with the reason when this worker can run no file any more.
        abandon: called with the ID of a run whose data is damaged, and the damage.
        allowed: names of variables that a task may set in addition to Passmuster's own.
        on_end: called when a file has ended, before its result is sent; must not raise.
        on_result: receives the result of each attempt, also of one that could not start; must not raise.
    """

    def __init__(
        self,
        executor: Executor,
        admission: Admission,
        health: Health,
        settings: WorkerSettings,
        envelope: Envelope,
        open_store: Callable[[str], RunStore],
        spec_of: Callable[[str], RunSpec | None],
        in_flight: InFlightFiles,
        *,
        say: Say,
        fail: Callable[[str], None],
        abandon: Callable[[str, str], None],
        allowed: Collection[str] = (),
        on_end: Callable[[InFlightFile], None] = lambda file: None,
        on_result: Callable[[TestResult], None] = lambda result: None,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._executor, self._admission, self._health = executor, admission, health
        self._settings, self._envelope = settings, envelope
        self._open_store, self._spec_of, self._in_flight = open_store, spec_of, in_flight
        self._say, self._fail, self._abandon = say, fail, abandon
        self._on_end, self._on_result = on_end, on_result
        self._allowed = frozenset(allowed)
        self._clock, self._pause = clock, pause

    def handle_message(self, text: str) -> bool:
        """Handle a message; return False if it must be put back for another worker or a later time."""
        try:
            task, delivery = self._verify(text)
        except PassmusterError as error:
            self._say(f"a message was dropped: {error}", level=LogLevel.WARNING)
            return True
        spec = self._spec_of(task.run_id)
        file = InFlightFile(
            run_id=task.run_id,
            path=task.key,
            delivery=delivery,
            attempt_id=task.attempt_id,
            cancel_grace_s=0.0 if spec is None else spec.grace_s,
        )
        store = self._open_store(file.run_id)
        if spec is None or not self._in_flight.add(file):
            return self._put_back(store, file)
        try:
            return self._claim_and_run(task, file, store) or self._put_back(store, file)
        except DamagedDataError as error:
            self._abandon(file.run_id, str(error))
            return True
        finally:
            self._in_flight.remove(file.attempt_id)

    def _put_back(self, store: RunStore, file: InFlightFile) -> bool:
        """Pause, then return False to put the message back, or True to drop it if its delivery is obsolete.

        A message put back onto the queue of a finished run would stay there forever.
        """
        self._pause(PUT_BACK_S)
        try:
            return not store.is_queued(file.path, file.delivery)
        except DamagedDataError:
            return True
        except BROKER_ERRORS:
            return False

    def _verify(self, text: str) -> tuple[TestTask, int]:
        parts = self._envelope.verify(TASK_KIND, text)
        if len(parts) != 2 or not (parts[1].isascii() and parts[1].isdigit() and len(parts[1]) < 16):
            raise EnvelopeError(f"a {TASK_KIND} message has other parts than a task and its delivery number")
        return TASK_CODEC.decode(parts[0]), int(parts[1])

    def _claim_and_run(self, task: TestTask, file: InFlightFile, store: RunStore) -> bool:
        """Claim and run a task; return False if another worker may run it."""
        problem = self._task_problem(task)
        if problem is None and (not self._is_healthy() or not self._admit(task, store, file)):
            return False
        reply = None
        try:
            reply = self._claim(store, file)
        finally:
            if reply is not ClaimReply.OK and problem is None:
                self._executor.release(task)
        if reply is ClaimReply.OK:
            self._in_flight.claim(file.attempt_id)
            if problem is None:
                result = self._run(task)
            else:
                result = TestResult.without_run(task, Status.START_ERROR, problem)
            self._on_end(file)
            self._on_result(result)
            self._return(store, file, result)
        return reply is not None

    def _task_problem(self, task: TestTask) -> str | None:
        """Return why this worker must not run a task, whatever the run store says, or None if it may."""
        if forbidden := forbidden_variables([name for name, _ in task.environment], self._allowed):
            return (
                f"worker {self._settings.name} does not allow a task to set {', '.join(forbidden)}: "
                "start it with --allow-env NAME for each of them"
            )
        if argument := local_only_argument(task.selection.arguments):
            return (
                f"worker {self._settings.name} does not accept the pytest argument {argument!r} from a task, "
                "because it names code or a place: set it in the project's own pytest settings"
            )
        return execution_problem(task, self._settings)

    def _is_healthy(self) -> bool:
        """Whether this worker can start a file at all."""
        problem = self._health.problem()
        if problem is not None and self._health.count_failure():
            self._in_flight.close()
            self._fail(problem)
        return problem is None

    def _admit(self, task: TestTask, store: RunStore, file: InFlightFile) -> bool:
        """Reserve a slot; return False if none is free, or no file is accepted any more."""

        def is_wanted() -> bool:
            try:
                return store.is_queued(file.path, file.delivery)
            except DamagedDataError:
                return False
            except BROKER_ERRORS:
                return True

        try:
            return self._admission.admit(task, is_wanted)
        except InfrastructureError as error:
            self._in_flight.close()
            self._fail(str(error))
        return False

    def _claim(self, store: RunStore, file: InFlightFile) -> ClaimReply | None:
        """Claim the lease of a file; return None if the broker is unavailable, so the reply is unknown."""
        name = self._settings.name
        try:
            return store.claim(file.path, file.delivery, name)
        except BROKER_ERRORS:
            pass
        # The claim may have succeeded although no reply arrived: a renewal tells whether it did.
        until = self._clock() + CLAIM_S
        while self._clock() < until and not self._in_flight.is_closed:
            self._pause(RETRY_S)
            with contextlib.suppress(*BROKER_ERRORS):
                is_held = store.renew(file.path, file.delivery, name) is RenewReply.HELD
                return ClaimReply.OK if is_held else ClaimReply.GONE
        return None

    def _run(self, task: TestTask) -> TestResult:
        try:
            return self._executor.run_single_test(task)
        except Exception:  # The top of a thread: an internal error must not lose a file's result.
            text = "an internal error in the worker lost its result; the traceback is in its output"
            return TestResult.without_run(task, Status.LOST, text, output=traceback.format_exc())

    def _return(self, store: RunStore, file: InFlightFile, result: TestResult) -> None:
        """Submit a file's result, or return the file without one if this worker, not the file, failed."""
        reason = self._in_flight.abort_reason(file.attempt_id)
        is_by_worker = result.status.is_cancelled or result.is_worker_fault
        if reason is None and self._in_flight.is_stopping and is_by_worker:
            self._release(store, file)
            return
        if reason is None and result.is_worker_fault:
            self._return_unstarted(store, file, result.error)
            return
        if result.status is not Status.START_ERROR:
            self._health.count_run()
        self._in_flight.count_finished()
        self._say(f"{result.status} after {result.duration:.2f} s", about=file)
        if reason is not AbortReason.LOST:
            self._submit(store, file, self._result_message(result, file.run_id))

    def _return_unstarted(self, store: RunStore, file: InFlightFile, reason: str) -> None:
        """Return a file that this worker could not start; shut down if it cannot run files any more."""
        is_last = self._health.count_failure()
        if is_last:
            self._in_flight.close()  # Before the file is queued again, or this worker could accept it again.
        self._say(f"returns a file: {reason}", about=file, level=LogLevel.WARNING)
        self._release(store, file)
        if is_last:
            self._fail(reason)

    def _release(self, store: RunStore, file: InFlightFile) -> None:
        # First: a concurrent renewal could lease the file again. The heartbeat checks this after each
        # renewal.
        self._in_flight.unclaim(file.attempt_id)
        with contextlib.suppress(*BROKER_OR_DATA_ERRORS):  # Its lease expires by itself.
            store.release(file.path, file.delivery, self._settings.name)

    def _submit(self, store: RunStore, file: InFlightFile, body: str) -> None:
        until = self._clock() + OUTAGE_S
        problem = ""
        while self._in_flight.abort_reason(file.attempt_id) is not AbortReason.LOST:
            try:
                is_counted = store.finish(file.path, file.delivery, self._settings.name, body)
                if is_counted or store.epoch() is not None:
                    return
                if self._in_flight.abort_reason(file.attempt_id) is AbortReason.CANCELLED:
                    return  # The run has ended, so no dispatcher will restore it on the broker.
                problem = "the broker does not accept it"
            except BROKER_ERRORS:
                problem = "the broker is unavailable"
            if self._clock() >= until or self._in_flight.is_stopping:
                self._say(f"its result was discarded: {problem}", about=file, level=LogLevel.ERROR)
                return
            self._pause(RETRY_S)

    def _result_message(self, result: TestResult, run_id: str) -> str:
        """Return the message that carries a result; if it cannot be encoded, one that reports that error."""
        name, kind = self._settings.name, result_kind(run_id)
        root = os.path.realpath(self._settings.root) if result.coverage_files else ""
        plain = structs.replace(result, worker=name, coverage_files=(), coverage_root=root)
        try:
            coverage = pack_coverage(result.coverage_files, self._settings)
            return self._envelope.sign(
                result_kind(run_id), RESULT_CODEC.encode(plain), coverage, run_id=run_id
            )
        except PassmusterError as error:
            lost = TestResult(
                file_path=result.file_path,
                status=Status.LOST,
                attempt=result.attempt,
                worker=name,
                error=f"it ended as {result.status}, but its result cannot be sent: {error}",
                parts=result.parts,
            )
            return self._envelope.sign(kind, RESULT_CODEC.encode(lost), "", run_id=run_id)
