"""The loop of one run: submits the plan to a backend, decides on reruns and on stopping, and emits events.

The only thread of a run that decides anything. It waits only in `Backend.poll`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeGuard

from msgspec import structs

from dispatcher.config.choices import Oversubscription
from dispatcher.config.model import TestConfig
from dispatcher.engine.backend import Backend, BackendNotice, TaskFinished, TaskStarted
from dispatcher.engine.retry import (
    MAX_EXCLUSIVE_RERUNS,
    NextAttempt,
    RetryPolicy,
    is_inconclusive,
    needs_verification,
    next_attempt,
)
from dispatcher.engine.signals import Interrupts, watch_interrupts
from dispatcher.engine.state import RunState
from dispatcher.history.regressions import find_regressions
from dispatcher.model.event_bus import EventBus
from dispatcher.model.events import (
    AttemptFinished,
    AttemptStarted,
    FileSlow,
    Notice,
    Reporter,
    RunFinished,
    RunStarted,
    RunStopping,
    StopCause,
    UsageSampled,
    VerdictSettled,
)
from dispatcher.model.plan import RunPlan
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.model.results import FileAttempts, MeasuredInputs, TestResults
from passmuster.model.errors import InfrastructureError
from passmuster.model.result import HOLDS_NO_TESTS, LOCAL_WORKER, TestResult
from passmuster.model.status import Status, StopReason
from passmuster.model.task import TestTask

SAMPLE_S = 0.25
"""Seconds between two usage samples while a reporter wants them: the refresh interval of a footer."""

IDLE_POLL_S = 1.0
"""The longest wait for an event; bounds how late a slow file is reported."""


InputMeasurement = Callable[[Sequence[FileAttempts]], tuple[MeasuredInputs, ...]]


class RunLoop:
    """The state of one run while it lasts.

    Args:
        backend: executes the tasks; the caller closes it.
        samples_usage: whether reporters want usage samples.
        keepers: also receive the events; the run counts as complete even if one of them fails.
        notices: lines that every reporter receives at the start.
        clock: monotonic seconds.
        wall_clock: Unix time in seconds.
        cpu_clock: CPU seconds of this process and of everything that it started; None: unknown.
        measure_inputs: returns the state of what passed files have read, given the results.
    """

    def __init__(
        self,
        plan: RunPlan,
        backend: Backend,
        reporters: Sequence[Reporter],
        config: TestConfig,
        *,
        samples_usage: bool = False,
        keepers: Sequence[Reporter] = (),
        notices: Sequence[str] = (),
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        cpu_clock: Callable[[], float | None] = lambda: None,
        measure_inputs: InputMeasurement = lambda _: (),
    ) -> None:
        self._plan, self._backend, self._config = plan, backend, config
        self._policy = RetryPolicy(retries=config.retries, verifies_forks=config.verify_isolation)
        self._samples_usage, self._notices = samples_usage, tuple(notices)
        self._clock, self._wall_clock, self._cpu_clock = clock, wall_clock, cpu_clock
        self._state = RunState(plan.files, retries=config.retries)
        self._emit = EventBus(reporters, keepers)
        self._measure_inputs = measure_inputs
        self._start_s = clock()
        self._sampled_s = 0.0
        self._cause: StopCause | None = None
        self._is_hurried = False
        self._is_over = False
        self._waiting = 0
        self._exclusive_reruns = 0
        self.breakdown = ""
        """Why the backend could not run all files; empty: it could."""

    @property
    def lost_reports(self) -> tuple[str, ...]:
        """Why reports are incomplete, a line each."""
        return self._emit.failures

    def execute(self) -> TestResults:
        """Run every file of the plan, or as many as the policy and the user allow."""
        with watch_interrupts(self._backend.wake) as interrupts:
            self._emit(
                RunStarted(
                    at_s=0.0,
                    started_at=self._wall_clock(),
                    plan=self._plan,
                    limits=self._backend.limits(),
                )
            )
            for text in (*self._notices, *self._backend.notices):
                self._emit(Notice(at_s=0.0, text=text))
            tasks = [planned.task for planned in self._plan.files]
            self._waiting = len(tasks)
            self._backend.submit(tasks)
            while self._state.open_files:
                self._listen()
                self._check_limits(interrupts)
                self._end_best_effort()
            results = self._results()
            self._emit(RunFinished(at_s=self._now(), results=results))
        return results

    def _results(self) -> TestResults:
        config, records = self._config, self._state.records()
        results = TestResults(
            records=records,
            duration_s=self._now(),
            peak_bytes=self._backend.usage().peak_bytes,
            interrupted=self._cause is StopCause.INTERRUPT,
            is_verified=config.verify_isolation,
            regressions=find_regressions(self._plan.files, records, factor=config.regression_factor),
            fails_on_regression=config.fail_on_regression,
            # Other shards may have all the tests.
            allows_no_tests=config.allow_no_tests or config.shard is not None,
            inputs=self._measure_inputs(records),
        )
        return structs.replace(results, own_cpu_s=self._own_cpu_s(results))

    def _own_cpu_s(self, results: TestResults) -> float | None:
        """Return the CPU seconds that were not the tests'; None: unknown, or other machines ran some."""
        workers = {attempt.worker for record in results.records for attempt in record.attempts}
        all_s = self._cpu_clock()
        if all_s is None or workers - {"", LOCAL_WORKER}:
            return None
        return max(0.0, all_s - results.tests_cpu_s)

    def _listen(self) -> None:
        """Wait for events of the backend."""
        try:
            events = self._backend.poll(self._poll_s())
        except InfrastructureError as error:
            self.breakdown = str(error)
            self._emit(Notice(at_s=self._now(), text=str(error)))
            self._stop(StopCause.BROKEN, StopReason.CANCELLED, self._config.grace_period_s)
            return
        for event in events:
            match event:
                case TaskStarted():
                    self._on_started(event.task, event.worker)
                case TaskFinished():
                    self._on_finished(event.task, event.result)
                case BackendNotice():
                    self._emit(Notice(at_s=self._now(), text=event.text))

    def _now(self) -> float:
        return self._clock() - self._start_s

    def _poll_s(self) -> float:
        wait_s = SAMPLE_S if self._samples_usage else IDLE_POLL_S
        limit_s = self._config.run_timeout_s
        if self._is_timed(limit_s):
            wait_s = min(wait_s, max(0.0, limit_s - self._now()))
        return wait_s

    def _is_timed(self, limit_s: float | None) -> TypeGuard[float]:
        """Whether the timeout of the run still applies; it does while the last files finish."""
        return limit_s is not None and self._cause in (None, StopCause.MAX_FAIL)

    def _submit(self, following: NextAttempt) -> None:
        if following.is_best_effort:
            self._backend.submit([following.task], best_effort=True)
            return
        self._waiting += 1
        self._exclusive_reruns += following.reason is RerunReason.EXCLUSIVE
        self._backend.submit([following.task], urgent=following.is_urgent)

    def _on_started(self, task: TestTask, worker: str) -> None:
        state, now = self._state[task.file_path], self._now()
        if not self._state.start(task.file_path, now):
            return
        self._waiting -= not state.is_best_effort
        self._emit(
            AttemptStarted(
                at_s=now,
                file=state.file,
                attempt=task.attempt,
                attempt_reason=state.reason,
                worker=worker,
            )
        )

    def _on_finished(self, task: TestTask, result: TestResult) -> None:
        path, policy = task.file_path, self._policy
        if not self._state.is_expected(path, result.attempt):
            return
        context = self._state[path].context(exclusive_allowed=self._is_exclusive_allowed())
        result = self._apply_policy(task, result, context.reason)
        if is_inconclusive(result, context=context, policy=policy) and self._settle(path):
            return
        following = None
        if self._cause is None and not self._is_over:
            needs_room = result.is_evicted or result.status is Status.MEMORY
            budget_bytes = self._backend.usage().budget_bytes if needs_room else None
            following = next_attempt(task, result, context=context, policy=policy, budget_bytes=budget_bytes)
        self._state.end_attempt(path, result, following)
        rerun_reason = following.reason if following is not None else None
        record = self._state[path].record()
        is_overruled = following is None and record.status.is_pass is not result.status.is_pass
        self._emit(
            AttemptFinished(
                at_s=self._now(),
                file=record.file,
                result=result,
                rerun_reason=RerunReason.SETTLED if is_overruled else rerun_reason,
                attempt_reason=context.reason,
                finding=record.finding if following is None and not is_overruled else None,
            )
        )
        if is_overruled:
            self._emit_settled(record, context.reason)
        if following is not None:
            self._submit(following)

    def _is_exclusive_allowed(self) -> bool:
        """Whether a file that fails now may rerun exclusively; a failure that ends the run may not."""
        is_off = self._config.oversubscription is Oversubscription.OFF
        if is_off or self._exclusive_reruns >= MAX_EXCLUSIVE_RERUNS:
            return False
        max_fail = self._config.max_fail
        return max_fail is None or self._state.failed_files + 1 < max_fail

    def _settle(self, path: str) -> bool:
        """Make the provisional verdict of a file final; False: it has none."""
        record = self._state.settle(path)
        if record is None:
            return False
        self._emit_settled(record, self._state[path].reason)
        return True

    def _emit_settled(self, record: FileAttempts, reason: RerunReason | None) -> None:
        assert reason is not None  # The first attempt always counts: there is none before it.
        self._emit(
            VerdictSettled(
                at_s=self._now(),
                file=record.file,
                result=record.final,
                attempt_reason=reason,
                finding=record.finding,
            )
        )

    def _withdraw(self, reason: str) -> None:
        """Withdraw what has not started: provisional verdicts become final, other files are cancelled."""
        for task in self._backend.withdraw():
            self._waiting -= not self._state[task.file_path].is_best_effort
            if not self._settle(task.file_path):
                self._state.cancel(task.file_path, reason)

    def _end_best_effort(self) -> None:
        """End the run when only best-effort attempts are left."""
        if self._is_over or not self._state.open_files == self._state.best_effort_files > 0:
            return
        self._is_over = True
        self._withdraw("not needed")
        if self._state.open_files:
            self._backend.stop(StopReason.CANCELLED, grace_s=0.0)

    def _apply_policy(self, task: TestTask, result: TestResult, reason: RerunReason | None) -> TestResult:
        """Return a result with the status that the policy gives it."""
        if result.status is Status.NO_TESTS and self._may_hold_no_tests(result):
            note = result.note or result.error
            return structs.replace(result, status=Status.PASS, error="", note=note)
        if result.is_evicted and self._cause is not None:
            # It was evicted and would run again if the run continued.
            return structs.replace(result, status=Status.CANCELLED)
        is_doubtful = result.status.is_failure and needs_verification(task, result, self._policy)
        if is_doubtful and reason is not RerunReason.REFORK and self._cause is not None:
            # Only a spawned attempt could prove a failure, and nothing further starts.
            error = f"{result.status} when forked, and not verified: {self._cause.value}"
            return structs.replace(result, status=Status.CANCELLED, error=error)
        if task.parts and result.status.is_failure and reason is None and self._cause is not None:
            error = f"{result.status} in parts, and not decided by the whole file: {self._cause.value}"
            return structs.replace(result, status=Status.CANCELLED, error=error)
        return result

    def _may_hold_no_tests(self, result: TestResult) -> bool:
        """Whether a file in which no test ran counts as passed.

        A module of helpers may be named like a test file; but a file that the user named must run tests.
        """
        is_helper = result.note == HOLDS_NO_TESTS and not self._state[result.file_path].planned.is_named
        return is_helper or self._config.allow_no_tests

    def _check_limits(self, interrupts: Interrupts) -> None:
        """Apply timeouts, signals and failure limits."""
        now = self._now()
        for file, seconds in self._state.newly_slow(now, self._config.slow_timeout_s):
            self._emit(FileSlow(at_s=now, file=file, seconds=seconds))
        if self._samples_usage and now - self._sampled_s >= SAMPLE_S:
            self._sampled_s = now
            usage = self._backend.usage()
            self._emit(UsageSampled(at_s=now, usage=usage, waiting=self._waiting))
        if interrupts.count and self._cause is not StopCause.INTERRUPT:
            self._stop(StopCause.INTERRUPT, StopReason.CANCELLED, self._config.grace_period_s)
        elif interrupts.count > 1 and not self._is_hurried:
            self._is_hurried = True
            self._backend.stop(StopReason.CANCELLED, grace_s=0.0)
        limit_s, max_fail = self._config.run_timeout_s, self._config.max_fail
        if self._is_timed(limit_s) and now >= limit_s:
            self._stop(StopCause.RUN_TIMEOUT, StopReason.RUN_TIMEOUT, self._config.grace_period_s)
        if self._cause is None and max_fail is not None and self._state.failed_files >= max_fail:
            self._stop(StopCause.MAX_FAIL, None, 0.0)

    def _stop(self, cause: StopCause, reason: StopReason | None, grace_s: float) -> None:
        """Start nothing further. Stop running files if a reason is given, else let them finish."""
        self._cause = cause
        self._withdraw(f"not run: {cause.value}")
        self._emit(RunStopping(at_s=self._now(), cause=cause))
        if reason is not None:
            self._backend.stop(reason, grace_s=grace_s)
