"""Builds what a queue worker needs to run files in one root: settings, fork servers, and an executor."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from msgspec import Struct

from passmuster.host.capacity import calculate_max_workers, resolve_budget, resolve_limit
from passmuster.host.host_budget import RunProfile, open_host_budget
from passmuster.host.host_resources import read_levels, read_machine
from passmuster.host.interpreter import find_interpreter
from passmuster.host.interpreter_probe import coverage_problem, probe_packages
from passmuster.host.state_directory import STATE_DIRECTORY
from passmuster.model.errors import ConfigurationError, InfrastructureError
from passmuster.model.executor import Limit, SlotRange, Usage
from passmuster.model.status import Isolation, StopReason
from passmuster.model.task import CoverageRequest, TestTask
from passmuster.model.units import format_bytes
from passmuster.wire.run_spec import RunSpec
from worker.executor.local import LocalExecutor
from worker.forkserver.coverage_pools import CoveragePools
from worker.process.command import prepare_child, why_not_executable
from worker.process.open_files import require_open_files
from worker.process.output_capture import OutputCapture
from worker.process.settings import NICE, WorkerSettings
from worker.queue.health import Health
from worker.queue.log import Say
from worker.queue.options import Options
from worker.queue.task_handler import TaskHandler

"""Directory in the root where a local run stores what it learns. Used if it exists, never created."""

MakeFiles = Callable[[LocalExecutor, Health, WorkerSettings], TaskHandler]


class WorkerCapacity(Struct, frozen=True, kw_only=True):
    """What a worker may use, whatever root it works in.

    Args:
        slots: files at once.
        budget_bytes: memory for all of them together.
        limits: both for people, each with its source.
        cpus: processors of the machine.
    """

    slots: int
    budget_bytes: int
    limits: tuple[Limit, ...]
    cpus: int | None = None


def read_capacity(options: Options) -> WorkerCapacity:
    """Return what this machine, and what the worker was started with, allow."""
    machine = read_machine()
    slots, slots_source = options.slots, "asked for"
    if slots is None:
        slots = calculate_max_workers(cpus=machine.cpus, total_bytes=machine.total_bytes)
        total = format_bytes(machine.total_bytes)
        slots_source = f"{machine.cpus} CPUs ({machine.cpus_source}), {total} ({machine.total_source})"
    budget_bytes, budget_source = resolve_budget(
        options.memory_budget, total_bytes=machine.total_bytes, available_bytes=machine.available_bytes
    )
    return WorkerCapacity(
        slots=slots,
        budget_bytes=budget_bytes,
        cpus=machine.cpus,
        limits=(
            Limit(name="slots", value=str(slots), source=slots_source),
            Limit(name="memory budget", value=format_bytes(budget_bytes), source=budget_source),
        ),
    )


class RootRunner:
    """Runs files in one root.

    Args:
        executor: runs them.
        files: handles the messages of this root.
        settings: of both.
    """

    def __init__(self, executor: LocalExecutor, files: TaskHandler, settings: WorkerSettings) -> None:
        self._executor, self._files, self._settings = executor, files, settings
        self.python = settings.interpreter_identity

    def run_problem(self, terms: RunSpec) -> str:
        """Return why a run cannot be served here, or "" if it can."""
        if not terms.has_coverage:
            return ""
        return coverage_problem(self._settings.interpreter, self._settings.environ) or ""

    def prefetch(self, terms: RunSpec, paths: Sequence[str]) -> None:
        """Look at what these files need, so that it is there when they come.

        Args:
            terms: of their run.
            paths: unsigned paths from the broker; those that are no files of the root are skipped.
        """
        coverage = CoverageRequest() if terms.has_coverage else None
        tasks = [TestTask(run_id=terms.run_id, file_path=path, coverage=coverage) for path in paths]
        self._executor.prefetch([task for task in tasks if not why_not_executable(task, self._settings)])

    def handle_message(self, text: str) -> bool:
        """Handle a message; return False if it must be put back."""
        return self._files.handle_message(text)

    def usage(self) -> Usage:
        """Return the use of the running files."""
        return self._executor.usage()

    def output(self, attempt_id: str) -> OutputCapture | None:
        """Return the capture of a running file's output, or None if it does not run."""
        return self._executor.output(attempt_id)

    def stop_all(self, reason: StopReason, *, grace_s: float) -> None:
        """End whatever runs."""
        self._executor.stop_all(reason, grace_s=grace_s)

    def stop_attempts(self, attempt_ids: Collection[str], reason: StopReason, *, grace_s: float) -> None:
        """End only these attempts."""
        self._executor.stop_attempts(attempt_ids, reason, grace_s=grace_s)

    def close(self) -> None:
        """Stop running files, fork servers and process supervisors, and remove temporary files."""
        self._executor.close()


class RootRunnerFactory:
    """Makes benches for one worker, one at a time.

    Args:
        options: the worker's options.
        share: the slots and the memory that it may use.
        environ: what tests start from.
        coverage_dir: where coverage data goes.
        make_files: makes the handler of messages.
        slots_of: returns the numbers of this worker's slots in a run.
        say: writes a log line.
    """

    def __init__(
        self,
        options: Options,
        share: WorkerCapacity,
        environ: Mapping[str, str],
        coverage_dir: Path,
        make_files: MakeFiles,
        slots_of: Callable[[str], SlotRange],
        say: Say,
    ) -> None:
        self._options, self._share, self._environ = options, share, environ
        self._coverage_dir, self._make_files, self._say = coverage_dir, make_files, say
        self._slots_of = slots_of

    def make(self, root: Path, workdir: str | None) -> RootRunner:
        """Return a bench.

        Args:
            root: nothing outside it is executed.
            workdir: working directory of tests, relative to the root; None: from the worker's options.

        Raises:
            ConfigurationError: the interpreter or the working directory cannot be used, or files cannot be
                forked as asked.
            InfrastructureError: there is no room for temporary files, or too few open files are allowed.
        """
        settings = self._settings(root, self._workdir(root, workdir))
        health = Health(settings.root, settings.tmp_parent)
        if why := health.problem():
            raise InfrastructureError(why)
        require_open_files()
        with ExitStack() as undo:
            fleet = undo.enter_context(closing(CoveragePools(settings)))
            fleet.warm_up(settings.slots)
            seat = RunProfile(
                root=str(root),
                budget_bytes=settings.budget_bytes,
                slots=settings.slots,
                is_nice=self._options.nice,
                machine_memory=self._options.machine_memory,
            )
            pool, notice = open_host_budget(
                seat,
                levels=read_levels,
                environment=settings.environ,
                folder=self._options.machine_folder,
            )
            if notice:
                self._say(notice)
            executor = undo.enter_context(closing(LocalExecutor(settings, fleet, pool, self._slots_of)))
            why = fleet.why_no_fork() if settings.isolation is Isolation.FORK else ""
            if why:
                raise ConfigurationError(
                    f"--isolation fork cannot be had: {why}; use --isolation auto or spawn"
                )
            undo.pop_all()
        return RootRunner(executor, self._make_files(executor, health, settings), settings)

    def _workdir(self, root: Path, workdir: str | None) -> Path:
        if workdir is None:
            return self._options.workdir or root
        path = (root / workdir).resolve()
        if not path.is_relative_to(root.resolve()) or not path.is_dir():
            raise ConfigurationError(
                f"the run's working directory {ascii(workdir)[:100]} is no folder of its tree:"
                " git must know a file in it"
            )
        return root / workdir

    def _settings(self, root: Path, workdir: Path) -> WorkerSettings:
        options, share = self._options, self._share
        interpreter = find_interpreter(options.python, root, self._environ)
        packages = probe_packages(interpreter.path, self._environ)
        prepare_child(interpreter.path, interpreter.build.cache_tag)
        state_dir = root / STATE_DIRECTORY
        return WorkerSettings(
            root=root,
            workdir=workdir,
            interpreter=interpreter.path,
            environ=self._environ,
            slots=share.slots,
            budget_bytes=share.budget_bytes,
            limit_bytes=resolve_limit(options.memory_limit, budget_bytes=share.budget_bytes),
            limits=share.limits,
            keep_tmp=options.keep_tmp,
            coverage_dir=self._coverage_dir,
            isolation=options.isolation,
            preload=options.preload,
            cpus=share.cpus,
            nice=NICE if options.nice else 0,
            state_dir=state_dir if os.access(state_dir, os.W_OK | os.X_OK) else None,
            name=options.name,
            interpreter_identity=interpreter.identity + (f", packages {packages}" if packages else ""),
        )
