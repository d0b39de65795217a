"""Builds what a queue worker needs to run files in one root: settings, fork servers, and an executor."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from passmuster.host.capacity import Capacity, resolve_limit
from passmuster.host.interpreter import find_interpreter
from passmuster.host.interpreter_probe import coverage_problem, probe_packages
from passmuster.host.state_directory import STATE_DIRECTORY
from passmuster.model.errors import ConfigurationError, InfrastructureError
from passmuster.model.executor import SlotRange
from passmuster.model.task import CoverageRequest, TestTask
from passmuster.wire.run_spec import RunSpec
from worker.executor.local import LocalExecutor, open_executor
from worker.forkserver.coverage_pools import CoveragePools
from worker.process.command import execution_problem, prepare_child
from worker.process.open_files import require_open_files
from worker.process.settings import NICE, WorkerSettings
from worker.queue.health import Health
from worker.queue.log import Say
from worker.queue.options import Options
from worker.queue.task_handler import TaskHandler

MakeHandler = Callable[[LocalExecutor, Health, WorkerSettings], TaskHandler]


class RootRunner:
    """Runs files in one root: `handler` handles its messages by running files in `executor`."""

    def __init__(self, executor: LocalExecutor, handler: TaskHandler, settings: WorkerSettings) -> None:
        self.executor, self.handler, self._settings = executor, handler, settings
        self.python = settings.interpreter_identity

    def run_problem(self, spec: RunSpec) -> str | None:
        """Return why a run cannot be served here, or None if it can."""
        if not spec.has_coverage:
            return None
        return coverage_problem(self._settings.interpreter, self._settings.environ)

    def prefetch(self, spec: RunSpec, paths: Sequence[str]) -> None:
        """Prepare the imports of these files before their tasks arrive.

        The paths are unsigned, so those that are not files of the root are skipped.
        """
        coverage = CoverageRequest() if spec.has_coverage else None
        tasks = [TestTask(run_id=spec.run_id, file_path=path, coverage=coverage) for path in paths]
        self.executor.prefetch([task for task in tasks if execution_problem(task, self._settings) is None])


class RootRunnerFactory:
    """Makes runners for one worker, one at a time.

    Tests start from `environ`. `slots_of` returns the numbers of this worker's slots in a run.
    """

    def __init__(
        self,
        options: Options,
        capacity: Capacity,
        environ: Mapping[str, str],
        coverage_dir: Path,
        make_handler: MakeHandler,
        slots_of: Callable[[str], SlotRange],
        say: Say,
    ) -> None:
        self._options, self._capacity, self._environ = options, capacity, environ
        self._coverage_dir, self._make_handler, self._say = coverage_dir, make_handler, say
        self._slots_of = slots_of

    def make(self, root: Path, workdir: str | None) -> RootRunner:
        """Return a runner.

        Args:
            root: no file outside it is executed.
            workdir: working directory of tests, relative to the root; None: from the worker's options.

        Raises:
            ConfigurationError: the interpreter or the working directory cannot be used, or files cannot be
                forked although the options require it.
            InfrastructureError: there is no space for temporary files, or the limit of open files is too low.
        """
        arguments = self._options.arguments
        settings = self._settings(root, self._workdir(root, workdir))
        health = Health(settings.root, settings.tmp_parent)
        if problem := health.problem():
            raise InfrastructureError(problem)
        require_open_files()
        with ExitStack() as undo:
            pools = undo.enter_context(closing(CoveragePools(settings)))
            pools.warm_up(settings.slots)
            executor, notice = open_executor(
                settings,
                pools,
                machine_memory=arguments.machine_memory,
                machine_folder=arguments.machine_folder,
                slots_of=self._slots_of,
            )
            undo.pop_all()
        if notice:
            self._say(notice)
        return RootRunner(executor, self._make_handler(executor, health, settings), settings)

    def _workdir(self, root: Path, workdir: str | None) -> Path:
        if workdir is None:
            return self._options.workdir or root
        path = (root / workdir).resolve()
        if not path.is_relative_to(root.resolve()) or not path.is_dir():
            raise ConfigurationError(
                f"the run's working directory {ascii(workdir)[:100]} is not a directory of its tree:"
                " git must know a file in it"
            )
        return root / workdir

    def _settings(self, root: Path, workdir: Path) -> WorkerSettings:
        arguments, capacity = self._options.arguments, self._capacity
        interpreter = find_interpreter(arguments.python, root, self._environ)
        packages = probe_packages(interpreter.path, self._environ)
        prepare_child(interpreter.path, interpreter.build.cache_tag)
        state_dir = root / STATE_DIRECTORY
        return WorkerSettings(
            is_sole=False,
            root=root,
            workdir=workdir,
            interpreter=interpreter.path,
            environ=self._environ,
            slots=capacity.slots,
            budget_bytes=capacity.budget_bytes,
            limit_bytes=resolve_limit(arguments.memory_limit, budget_bytes=capacity.budget_bytes),
            limits=capacity.limits,
            keep_tmp=arguments.keep_tmp,
            coverage_dir=self._coverage_dir,
            isolation=arguments.isolation,
            preload=arguments.preload,
            cpus=capacity.cpus,
            nice=NICE if arguments.nice else 0,
            state_dir=state_dir if os.access(state_dir, os.W_OK | os.X_OK) else None,
            name=self._options.name,
            interpreter_identity=interpreter.identity + (f", packages {packages}" if packages else ""),
        )
