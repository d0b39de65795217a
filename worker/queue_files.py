"""One file's way through a worker of a queue: opened, admitted, claimed, run, and its result given back.

A message is only a hint: whether a file may run, the broker's record says (`passmuster.run_record`). Knows no
Celery: `worker.tasks` calls `QueueFiles.take` for each message, from as many threads as there are slots.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
import traceback
from collections.abc import Callable, Collection
from typing import Protocol

from passmuster.codec import decode_task, encode_result
from passmuster.envelope import Envelope, EnvelopeError
from passmuster.errors import InfrastructureError, PassmusterError
from passmuster.executor import Executor
from passmuster.queue_words import TASK_KIND, Claim, Hold, result_kind
from passmuster.result import TestResult
from passmuster.status import Status
from passmuster.task import TestTask
from worker.command import why_not_executable
from worker.coverage_parcel import pack_coverage
from worker.roster import Fate, Held, Roster
from worker.settings import WorkerSettings

ADMIT_S = 2.0
"""Seconds a file waits here for room before others may try it."""

ADMIT_LOOK_S = 0.05

PUT_BACK_S = 0.5
"""Seconds before a message is put back, so that it does not come again and again without a pause."""

CLAIM_S = 5.0
"""Seconds in which it must become known whether a claim succeeded: less than a lease holds."""

KEEP_RESULT_S = 120.0
"""Seconds a result is kept for a broker that is away, or has forgotten the run and will be told again."""

RETRY_S = 1.0

OWN_NAMES = "PASSMUSTER_"
"""Variables that begin like this may be set by a task in any case."""


class Record(Protocol):
    """What is asked of the broker about a run; see `passmuster.run_record.RunRecord`, which explains more."""

    def claim(self, path: str, attempt: int, worker: str) -> Claim:
        """Ask for a file."""

    def renew(self, path: str, attempt: int, worker: str) -> Hold:
        """Keep a file."""

    def finish(self, path: str, attempt: int, worker: str, body: str) -> bool:
        """Give a file back with its result; False: it did not count."""

    def release(self, path: str, attempt: int, worker: str) -> None:
        """Give a file back without a result."""

    def epoch(self) -> str | None:
        """Return a word; None: the broker knows no such run."""


class QueueFiles:
    """Runs the files of a queue's messages.

    Args:
        executor: runs them.
        settings: of this worker.
        envelope: opens tasks and seals results.
        record: returns what the broker knows of a run.
        roster: what this worker has.
        broken: the errors that mean that the broker is away.
        say: prints a line.
        fail: is told why this worker can run nothing any more.
        allowed: names of variables that a task may set, besides our own.
        clock: seconds that never go back.
        pause: waits so many seconds.
    """

    def __init__(
        self,
        executor: Executor,
        settings: WorkerSettings,
        envelope: Envelope,
        record: Callable[[str], Record],
        roster: Roster,
        *,
        broken: tuple[type[Exception], ...],
        say: Callable[[str], None],
        fail: Callable[[str], None],
        allowed: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._executor, self._settings, self._envelope = executor, settings, envelope
        self._record, self._roster, self._broken = record, roster, broken
        self._say, self._fail, self._allowed = say, fail, frozenset(allowed)
        self._clock, self._pause = clock, pause

    def take(self, text: str) -> bool:
        """Do what a message asks for; False: it is to be put back for others, or for later."""
        try:
            task, take = self._opened(text)
        except PassmusterError as error:
            self._say(f"a message was dropped: {error}")
            return True
        held = Held(run_id=task.run_id, path=task.file_path, take=take, attempt_id=task.attempt_id)
        if not self._roster.enter(held):
            self._pause(PUT_BACK_S)
            return False
        try:
            return self._run_if_ours(task, held)
        finally:
            self._roster.leave(held.attempt_id)

    def _opened(self, text: str) -> tuple[TestTask, int]:
        parts = self._envelope.open(TASK_KIND, text)
        if len(parts) != 2 or not (parts[1].isascii() and parts[1].isdigit() and len(parts[1]) < 16):
            raise EnvelopeError(f"a {TASK_KIND} message has other parts than a task and its take")
        return decode_task(parts[0]), int(parts[1])

    def _run_if_ours(self, task: TestTask, held: Held) -> bool:
        record = self._record(held.run_id)
        refusal = self._why_refused(task)
        if not refusal and not self._admit(task):
            return False
        answer = None
        try:
            answer = self._claim(record, held)
        finally:
            if answer is not Claim.OK and not refusal:
                self._executor.dismiss(task)
        match answer:
            case Claim.OK:
                self._roster.claim(held.attempt_id)
                self._deliver(record, held, _not_started(task, refusal) if refusal else self._run(task))
                return True
            case Claim.GONE:
                return True
            case Claim.SUSPECT | None:
                self._pause(PUT_BACK_S)
                return False

    def _why_refused(self, task: TestTask) -> str:
        """Return why a task is not to be run here, whatever the broker says; empty: it is."""
        wrong = [
            name
            for name, _ in task.environment
            if not name.startswith(OWN_NAMES) and name not in self._allowed
        ]
        if wrong:
            return (
                f"worker {self._settings.name} lets no task set {', '.join(wrong)}: "
                "start it with --allow-env NAME for each of them"
            )
        if task.coverage is not None and self._settings.coverage_dir is None:
            return f"worker {self._settings.name} measures no coverage: start it with --coverage"
        return why_not_executable(task, self._settings)

    def _admit(self, task: TestTask) -> bool:
        """Reserve a place, waiting a little for it; False: there is none, or nothing is taken any more."""
        until = self._clock() + ADMIT_S
        try:
            while not self._roster.is_closed:
                if self._executor.admit(task):
                    return True
                if self._clock() >= until:
                    return False
                self._pause(ADMIT_LOOK_S)
        except InfrastructureError as error:
            self._fail(str(error))
        return False

    def _claim(self, record: Record, held: Held) -> Claim | None:
        """Ask for a file; None: the broker is away, and it is not known what it would say."""
        name = self._settings.name
        try:
            return record.claim(held.path, held.take, name)
        except self._broken:
            pass
        # It may have been asked although no answer came: whether the file is ours, its renewal says.
        until = self._clock() + CLAIM_S
        while self._clock() < until and not self._roster.is_closed:
            self._pause(RETRY_S)
            try:
                return Claim.OK if record.renew(held.path, held.take, name) is Hold.HELD else Claim.GONE
            except self._broken:
                pass
        return None

    def _run(self, task: TestTask) -> TestResult:
        try:
            return self._executor.run_single_test(task)
        except Exception:  # The border of a thread: a bug of ours must not lose a file's result.
            return TestResult(
                file_path=task.file_path,
                status=Status.LOST,
                attempt=task.attempt,
                error="a fault in the worker lost its result; the trace is in its output",
                output=traceback.format_exc(),
            )

    def _deliver(self, record: Record, held: Held, result: TestResult) -> None:
        """Give a file back: with its result, or without one where it was not the file that ended."""
        fate = self._roster.fate(held.attempt_id)
        if fate is None and self._roster.has_given_up and result.status.is_cancelled:
            self._release(record, held)
            return
        self._roster.note_run()
        if fate is not Fate.LOST:
            self._finish(record, held, self._body(result, held.run_id))

    def _release(self, record: Record, held: Held) -> None:
        with contextlib.suppress(*self._broken):  # Its lease runs out by itself.
            record.release(held.path, held.take, self._settings.name)

    def _finish(self, record: Record, held: Held, body: str) -> None:
        until = self._clock() + KEEP_RESULT_S
        while self._roster.fate(held.attempt_id) is not Fate.LOST:
            try:
                is_counted = record.finish(held.path, held.take, self._settings.name, body)
                if is_counted or record.epoch() is not None:
                    return
                if self._roster.fate(held.attempt_id) is Fate.CANCELLED:
                    return  # The run has ended, and nobody will tell the broker of it again.
            except self._broken:
                pass
            if self._clock() >= until or self._roster.has_given_up:
                self._say(f"the result of {held.path} was given up: the broker does not take it")
                return
            self._pause(RETRY_S)

    def _body(self, result: TestResult, run_id: str) -> str:
        """Return the message that carries a result; where that cannot be made, one that says so."""
        name = self._settings.name
        plain = dataclasses.replace(result, worker=name, coverage_files=())
        try:
            coverage = pack_coverage(result.coverage_files, self._settings)
            return self._envelope.seal(result_kind(run_id), encode_result(plain), coverage)
        except PassmusterError as error:
            lost = TestResult(
                file_path=result.file_path,
                status=Status.LOST,
                attempt=result.attempt,
                worker=name,
                error=f"it ended as {result.status}, but its result cannot be sent: {error}",
            )
            return self._envelope.seal(result_kind(run_id), encode_result(lost), "")


def _not_started(task: TestTask, refusal: str) -> TestResult:
    return TestResult(
        file_path=task.file_path, status=Status.START_ERROR, attempt=task.attempt, error=refusal
    )
