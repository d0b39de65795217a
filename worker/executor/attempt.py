"""One running attempt at a file, and the construction of its result."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from passmuster.model.executor import SlotRange
from passmuster.model.result import PartRun, TestResult
from passmuster.model.status import Isolation, RunnerKind, StopReason
from passmuster.model.task import TestTask
from worker.budget.inherited import Inherited
from worker.executor.classify import Evidence, classify
from worker.forkserver.server_pool import StartPlan
from worker.process.attempt_monitor import AttemptMonitor, Supervised
from worker.process.child_report import ChildReport
from worker.process.command import build_command
from worker.process.environment import ATTEMPT_VARIABLE, get_test_environment, printable_attempt
from worker.process.output_capture import OutputCapture
from worker.process.settings import WorkerSettings

if TYPE_CHECKING:
    from worker.executor.junit_report import JunitReport

JUNIT_NAME = "passmuster-junit.xml"
"""Name of the report in the private TMPDIR that a command of the project may write."""


class RunningAttempt:
    """A task with its process supervisor, its output, and its report so far."""

    def __init__(
        self, task: TestTask, slot: int, launch: StartPlan, settings: WorkerSettings, slots: SlotRange
    ) -> None:
        self.task = task
        self.slot = slot
        self._slots = slots
        self.launch = launch
        self.capture = OutputCapture(task.limits.output_bytes)
        self.report = ChildReport()
        self.program = settings.interpreter
        self.junit: JunitReport | None = None
        self._settings = settings
        self._monitor = AttemptMonitor(launch.supervisor, task.limits, self.capture, self.report)

    @property
    def supervisor_pid(self) -> int:
        """Process ID of the supervisor, the ancestor of all processes of this attempt."""
        return self.launch.supervisor.pid

    @property
    def marker(self) -> str:
        """The environment entry that only the processes of this attempt have."""
        return f"{ATTEMPT_VARIABLE}={printable_attempt(self.task)}"

    @property
    def inherited(self) -> Inherited | None:
        """Memory that its first process shares with a fork server; None: it is spawned."""
        if self.launch.server is None:
            return None
        answer = self.launch.server.answer
        return Inherited(rss_bytes=answer.rss_bytes, anon_bytes=answer.anon_bytes)

    def stop(self, reason: StopReason, detail: str, *, grace_s: float) -> None:
        """Stop the attempt; see `AttemptMonitor.stop`."""
        self._monitor.stop(reason, detail, grace_s=grace_s)

    def run(
        self,
        tmp_dir: Path,
        coverage_file: Path | None,
        on_started: Callable[[Inherited | None], None],
        forked_environment: Mapping[str, str],
        code_dir: Path | None,
    ) -> Supervised:
        """Run the file until its last process has ended.

        Args:
            tmp_dir: its private TMPDIR.
            coverage_file: destination of its coverage data; None: coverage is not measured.
            on_started: called once its first process exists, with the memory that it shares with a server.
            forked_environment: the environment of a forked process before any change.
            code_dir: where its processes keep compiled code that Python does not keep; None: nowhere.

        Raises:
            ConfigurationError: the file runs by a command that this machine does not have or cannot run.
        """
        environment = get_test_environment(
            self._settings.environ,
            task=self.task,
            slot=self.slot,
            slots=self._slots,
            tmp_dir=tmp_dir,
            coverage_file=coverage_file,
            memory_bytes=self.task.limits.memory_bytes
            or self._settings.limit_bytes
            or self._settings.budget_bytes,
        )
        is_command = self.task.runner is RunnerKind.COMMAND
        junit_file = tmp_dir / JUNIT_NAME
        if is_command:
            from worker.process.project_command import build_project_command  # Few projects need it.

            command = build_project_command(
                self.task, self._settings, environment=environment, junit_file=junit_file
            )
            self.program = command[0]
        else:
            command = build_command(self.task, self._settings, coverage_file, code_dir)
        supervisor, workdir = self.launch.supervisor, str(self._settings.workdir)
        changes = {} if self.launch.server is None else _changes(forked_environment, environment)
        if problem := _fork_problem(changes):
            self.launch = structs.replace(self.launch, server=None, note=problem)

        def start(output: int, report: int) -> None:
            if self.launch.server is None:
                supervisor.spawn(command, environment, workdir, output=output, report=report)
            else:
                folders = dict.fromkeys((str(self._settings.root), workdir))
                project = tuple(folders) if self.launch.is_learning else ()
                supervisor.fork(command[1:], changes, workdir, project, output=output, report=report)

        supervised = self._monitor.run(start, lambda: on_started(self.inherited))
        if is_command:
            from worker.executor.junit_report import read_junit  # Imported late: only these files need it.

            self.junit = read_junit(junit_file)
        return supervised


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str | None]:
    """Return the variables to set to turn `before` into `after`; None: unset."""
    changes: dict[str, str | None] = {name: None for name in before if name not in after}
    changes.update((name, value) for name, value in after.items() if before.get(name) != value)
    return changes


def _fork_problem(changes: Mapping[str, str | None]) -> str | None:
    """Return why a change of the environment needs a fresh interpreter, or None if none does."""
    for name, value in changes.items():
        if name.startswith("PYTHON"):
            return f"its environment changes {name}, which an interpreter reads when it starts"
        if "\0" in name or "\0" in (value or ""):
            return f"its environment holds a NUL byte in {name!r}"
    return None


def build_result(
    attempt: RunningAttempt,
    supervised: Supervised,
    *,
    settings: WorkerSettings,
    peak_bytes: int | None,
    kernel_killed: bool,
) -> TestResult:
    """Return the result of a finished attempt.

    `peak_bytes` is None if its process tree was not measured. `kernel_killed` is whether the kernel's
    out-of-memory killer acted while it ran.
    """
    report, junit, ended = attempt.report, attempt.junit, supervised.ended
    is_command = attempt.task.runner is RunnerKind.COMMAND
    # A command never writes a report of this form: other processes may have written to the descriptor.
    runner = RunnerKind.COMMAND if is_command else report.runner
    cases = (junit.cases if junit is not None else ()) if is_command else tuple(report.cases)
    code, number = _split_status(ended.wait_status) if ended is not None else (None, None)
    classification = classify(
        Evidence(
            exit_code=code,
            signal=number,
            stop_reason=supervised.stop_reason,
            stop_detail=supervised.stop_detail,
            start_error=_start_problem(supervised, attempt),
            supervisor_died=supervised.supervisor_died,
            kernel_killed=kernel_killed,
            runner=runner,
            cases=cases,
            defines=report.defines,
            defined_ran=report.defined_ran,
            collected=report.collected,
            deselected=report.deselected,
            quit_reason=report.quit_reason,
            last_line=attempt.capture.last_line(),
            was_running=report.is_running,
            collect_error=report.collect_error,
            has_report=junit is not None,
            report_failures=junit.failures if junit is not None else 0,
            report_problem=junit.problem if junit is not None else "",
        )
    )
    # The interpreter writes the requested stacks to the report's descriptor, between the records.
    written = (_without_own_frames(report.stray_text.strip("\n")), supervised.stacks)
    stacks = "\n".join(text for text in written if text)
    return TestResult(
        file_path=attempt.task.file_path,
        status=classification.status,
        output=attempt.capture.text(),
        duration=supervised.duration_s,
        error=classification.error,
        note=classification.note,
        attempt=attempt.task.attempt,
        runner=runner if runner is not RunnerKind.AUTO else attempt.task.runner,
        exit_code=code,
        signal=number,
        stop_reason=classification.stop_reason,
        cases=cases,
        peak_bytes=peak_bytes,
        cpu_s=ended.cpu_s if ended is not None else None,
        started_at=supervised.started_at,
        worker=settings.name,
        interpreter="" if is_command else settings.interpreter_identity,
        slot=attempt.slot,
        leaked=ended.leaked if ended is not None and supervised.stop_reason is None else (),
        stacks=stacks if classification.stop_reason is StopReason.TIMEOUT else "",
        output_dropped_bytes=attempt.capture.total_dropped_bytes(),
        isolation=Isolation.SPAWN if report.spawn_reason else attempt.launch.isolation,
        isolation_note=report.spawn_reason or attempt.launch.note,
        stale_quarantine=tuple(report.stale_quarantine),
        parts=_part_runs(attempt.task, report),
        inputs=report.inputs.inputs() if classification.status.is_pass and not is_command else None,
    )


def _part_runs(task: TestTask, report: ChildReport) -> tuple[PartRun, ...]:
    """Return which part of its file a process ran; empty: the task is for the whole file."""
    if task.selection.part is None:
        return ()
    run = PartRun(
        part=task.selection.part,
        collected=report.part_of,
        digest=report.part_digest,
        start=report.part_start,
        stop=report.part_stop,
        problem=report.part_problem,
    )
    return (run,)


def _without_own_frames(stacks: str) -> str:
    """Remove the frames of Passmuster's own start code, which are the same for every test."""
    return "\n".join(line for line in stacks.split("\n") if "/passmuster_child_" not in line)


def _split_status(wait_status: int) -> tuple[int | None, int | None]:
    """Return the exit code and the signal number; one of them is None."""
    code = os.waitstatus_to_exitcode(wait_status)
    return (code, None) if code >= 0 else (None, -code)


def _start_problem(supervised: Supervised, attempt: RunningAttempt) -> str:
    if supervised.failed is not None:
        return f"cannot execute {attempt.program}: {supervised.failed.text}"
    return attempt.report.start_error or attempt.report.part_problem
