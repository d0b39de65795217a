#!/usr/bin/env python3
"""Runs a project's test files in parallel, each in its own process, within a memory budget.

As a command: `./run_tests.py --help`. As a module: the Python API, see `docs/reference/api.md`. This is the
composition root, the only module that imports both `dispatcher`, which decides, and `worker`, which executes.
"""

import gc
import os
import sys

if __name__ == "__main__":
    # A checkout runs in its own private environment; an installed package is in one already. Nothing but
    # this may come first: the imports below need that environment, and a Python that they understand.
    sys.path[0] = os.path.dirname(os.path.realpath(__file__))
    from passmuster.launch.bootstrap import (
        end_at_interrupt,
        ensure_environment,
        import_msgspec,
        raise_at_interrupt,
    )

    # What is rarely needed is installed when it is: the server of --cluster is large.
    _groups = [
        group
        for group in ("cluster", "metrics")
        if any(word.startswith(f"--{group}") for word in sys.argv)
        or any(name.startswith(f"PASSMUSTER_{group.upper()}") for name in os.environ)
    ]
    _groups += ["watch"] if sys.argv[1:2] == ["watch"] else []
    ensure_environment(home=sys.path[0], groups=("runtime", *_groups))
    end_at_interrupt()
    import_msgspec()
    gc.disable()  # Imported modules stay; collecting garbage among them takes a tenth of the time.

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import ClassVar

from msgspec import structs

from dispatcher.cli.main import Command
from dispatcher.config.choices import Oversubscription
from dispatcher.config.model import TestConfig
from dispatcher.config.overrides import group_limits, project_commands
from dispatcher.engine.backend import Backend, BackendRequest, ExecutionTarget
from dispatcher.engine.storage import make_state_dir
from dispatcher.model.events import (
    AttemptFinished,
    AttemptStarted,
    FileSlow,
    Notice,
    Reporter,
    RunEvent,
    RunFinished,
    RunStarted,
    RunStopping,
    UsageSampled,
    VerdictSettled,
)
from dispatcher.model.exit_codes import ExitCode
from dispatcher.model.results import TestResults
from dispatcher.run import runner
from passmuster.host.capacity import Capacity, file_memory_of, machine_capacity, resolve_limit
from passmuster.host.capacity import calculate_max_workers as workers_for
from passmuster.host.host_resources import read_machine
from passmuster.host.state_directory import STATE_DIRECTORY
from passmuster.model.errors import ConfigurationError, InfrastructureError, PassmusterError
from passmuster.model.executor import Limit
from passmuster.model.oversubscription import MAX_TIMES, MAX_WAITING_TIMES
from passmuster.model.result import CaseResult, TestResult
from passmuster.model.status import Outcome, RunnerKind, Status
from passmuster.model.task import TestTask
from passmuster.model.units import parse_amount, parse_seconds
from passmuster.settings.origins import NO_ORIGINS, Origins
from worker.forkserver.kept_servers import KeptServers
from worker.forkserver.server import PYTEST, SCRIPT
from worker.forkserver.server_pool import ServerPool
from worker.process.command import prepare_child
from worker.process.environment import get_test_environment
from worker.process.open_files import require_open_files
from worker.process.settings import NICE, WorkerSettings

__all__ = [
    "AttemptFinished",
    "AttemptStarted",
    "CaseResult",
    "ConfigurationError",
    "ConfiguredTarget",
    "ExitCode",
    "FileSlow",
    "InfrastructureError",
    "LocalTarget",
    "Notice",
    "Outcome",
    "PassmusterError",
    "ProcessManager",
    "Reporter",
    "RunEvent",
    "RunFinished",
    "RunStarted",
    "RunStopping",
    "RunnerKind",
    "Status",
    "TestConfig",
    "TestResult",
    "TestResults",
    "TestRunner",
    "UsageSampled",
    "VerdictSettled",
    "calculate_max_workers",
    "get_test_environment",
    "main",
    "parse_amount",
    "parse_seconds",
    "run_single_test",
]


class LocalTarget:
    """This machine, with a pool in this process.

    Args:
        environ: the environment of the run; None: this process's.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        # A run inside a test of another run stays within that test's limit.
        self._file_memory_bytes = file_memory_of(os.environ if environ is None else environ)

    def capacity(self, config: TestConfig) -> Capacity:
        """Return the slots and the memory of this machine or container."""
        machine, inside_bytes = read_machine(), self._file_memory_bytes
        capacity = machine_capacity(
            machine, slots=config.max_workers, budget=config.memory_budget, inside_bytes=inside_bytes
        )
        if not _oversubscribes(config) or (inside_bytes is not None and config.oversubscription is None):
            return capacity
        limits = (*capacity.limits, _further_files(capacity.slots))
        return structs.replace(capacity, idle_cpus=machine.cpus, limits=limits)

    def backend(self, request: BackendRequest) -> Backend:
        """Return a pool for one run; its first processes are already starting.

        Raises:
            ConfigurationError: forking is required but not possible; or a command's program is missing.
            InfrastructureError: the limit of open files is too low.
        """
        require_open_files()
        config, settings = request.config, self._settings(request)
        if settings.commands is not None:
            from worker.process.project_command import check_programs  # Few projects have a command.

            check_programs(request.tasks, settings)
        with ExitStack() as undo:
            servers = undo.enter_context(closing(self._servers(settings)))
            _warm_up(servers, request.tasks, settings)
            # These take as long to import as the first server takes to start.
            from dispatcher.engine.local import LocalBackend
            from worker.executor.local import open_executor

            executor, notice = open_executor(
                settings,
                servers,
                machine_memory=config.machine_memory,
                machine_folder=config.machine_folder,
            )
            undo.enter_context(closing(executor))
            prepare_child(request.interpreter, request.cache_tag)
            undo.pop_all()
        notices = [notice] if notice else []
        return LocalBackend(executor, notices=notices, groups=group_limits(config))

    def explain_preload(self, request: BackendRequest) -> tuple[str, ...]:
        """Return, as lines, which modules are preloaded before files are forked, which not, and why."""
        # Imported only here, because few runs need it.
        from worker.forkserver.explain import explain

        with closing(ServerPool(self._settings(request))) as servers:
            return tuple(explain(servers, request.tasks))

    def _servers(self, settings: WorkerSettings) -> ServerPool | KeptServers:
        """Return the servers of one run."""
        return ServerPool(settings)

    def _settings(self, request: BackendRequest) -> WorkerSettings:
        config, capacity = request.config, request.capacity
        return WorkerSettings(
            root=config.root,
            workdir=request.workdir,
            interpreter=request.interpreter,
            interpreter_identity=request.interpreter_identity,
            environ=request.environ,
            slots=capacity.slots,
            budget_bytes=capacity.budget_bytes,
            limit_bytes=resolve_limit(config.memory_limit, budget_bytes=capacity.budget_bytes),
            limits=capacity.limits,
            keep_tmp=config.keep_tmp,
            coverage_dir=request.coverage_dir,
            isolation=config.isolation,
            preload=config.preload,
            commands=project_commands(config),
            idle_cpus=capacity.idle_cpus,
            cpus=capacity.cpus,
            nice=NICE if config.nice else 0,
            state_dir=_state_dir(config),
            records_inputs=config.keeps_inputs,
        )


class WarmTarget(LocalTarget):
    """This machine, with fork servers that stay from run to run until it is closed.

    They are replaced if a run has other settings than the one before.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        super().__init__(environ)
        self._kept: tuple[WorkerSettings, KeptServers] | None = None

    def announce(self, request: BackendRequest) -> None:
        """Start the servers for all files that coming runs may run, and choose what they preload."""
        settings = self._settings(request)
        servers = self._servers(settings)
        _warm_up(servers, request.tasks, settings)
        servers.announce(request.tasks)

    def discard_servers(self) -> None:
        """Stop the servers: what they hold besides files of the project has changed."""
        if self._kept is not None:
            self._kept[1].stop()
            self._kept = None

    def close(self) -> None:
        """Stop the servers."""
        self.discard_servers()

    def _servers(self, settings: WorkerSettings) -> KeptServers:
        # They must know what they have read, even if nothing stores it.
        settings = structs.replace(settings, records_inputs=True)
        # What servers do not depend on may differ from run to run, such as the memory that is available.
        fixed = structs.replace(settings, budget_bytes=0, limit_bytes=None, limits=(), cpus=None)
        if self._kept is not None and self._kept[0] != fixed:
            self.discard_servers()
        if self._kept is None:
            self._kept = (fixed, KeptServers(settings))
        self._kept[1].renew()
        return self._kept[1]


class ConfiguredTarget:
    """The configured execution target: this machine, a cluster on it, or remote workers."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ

    def capacity(self, config: TestConfig) -> Capacity:
        """Return the capacity of that target."""
        return self._of(config).capacity(config)

    def backend(self, request: BackendRequest) -> Backend:
        """Return the backend of one run on that target."""
        return self._of(request.config).backend(request)

    def explain_preload(self, request: BackendRequest) -> tuple[str, ...]:
        """Return what would be imported there, as lines."""
        return self._of(request.config).explain_preload(request)

    def _of(self, config: TestConfig) -> ExecutionTarget:
        if config.cluster is not None:
            from dispatcher.queue.cluster import ClusterTarget  # Loads Celery.

            return ClusterTarget(LocalTarget(self._environ))
        if config.broker is not None:
            from dispatcher.queue.target import BrokerTarget  # As above.

            return BrokerTarget(self._environ, _say)
        return LocalTarget(self._environ)


def _warm_up(servers: ServerPool | KeptServers, tasks: Sequence[TestTask], settings: WorkerSettings) -> None:
    """Start the processes that the first of these files need."""
    kinds = {task.runner for task in tasks} - {RunnerKind.COMMAND}
    if kinds:
        base = PYTEST if kinds == {RunnerKind.PYTEST} else SCRIPT
        servers.warm_up(min(len(tasks), settings.slots), base=base)


def _say(line: str) -> None:
    sys.stderr.write(f"[INFO] {line}\n")
    sys.stderr.flush()


def _oversubscribes(config: TestConfig) -> bool:
    """Whether extra files start while CPUs are idle: by default only if the number of slots was not set."""
    if config.oversubscription is None:
        return config.max_workers is None
    return config.oversubscription is Oversubscription.AUTO


def _further_files(slots: int) -> Limit:
    """Return, for people, how many files may run at once beyond the usual number."""
    usual, waiting = slots * MAX_TIMES, slots * MAX_WAITING_TIMES
    value = f"up to {usual} at once while CPUs are idle, up to {waiting} if they mostly wait"
    return Limit(name="further files", value=value, source="oversubscribe")


def _state_dir(config: TestConfig) -> Path | None:
    """Return the directory for what the worker learns between runs; None: there is none."""
    if not config.history:
        return None
    make_state_dir(config.root)  # If it fails, the run's own directory failed too, which was reported.
    state_dir = config.root / STATE_DIRECTORY
    return state_dir if os.access(state_dir, os.W_OK | os.X_OK) else None


class TestRunner(runner.TestRunner):
    """A `dispatcher.run.runner.TestRunner` that runs files on this machine."""

    __test__: ClassVar[bool] = False

    def __init__(
        self,
        config: TestConfig | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        origins: Origins = NO_ORIGINS,
    ) -> None:
        super().__init__(
            config or TestConfig(root=Path.cwd()),
            target=ConfiguredTarget(environ),
            environ=environ,
            cwd=cwd,
            origins=origins,
        )


class ProcessManager:
    """Runs given files on this machine, each in its own process: the smallest API.

    Args:
        max_workers: files at once; None: as many as the machine allows.
        config: everything else except the paths.
    """

    def __init__(self, max_workers: int | None = None, *, config: TestConfig | None = None) -> None:
        self._config = config or TestConfig(root=Path.cwd())
        self.max_workers = max_workers

    def run_parallel_tests(self, test_files: Sequence[str]) -> tuple[TestResult, ...]:
        """Run files in parallel and return the last result of each, sorted by path.

        Raises:
            PassmusterError: a file does not exist, or the run could not be started.
        """
        return self._run(test_files, self.max_workers)

    def run_sequential_tests(self, test_files: Sequence[str]) -> tuple[TestResult, ...]:
        """Run files one after another; otherwise as `run_parallel_tests`."""
        return self._run(test_files, 1)

    def _run(self, test_files: Sequence[str], workers: int | None) -> tuple[TestResult, ...]:
        if not test_files:
            return ()
        config = structs.replace(self._config, paths=tuple(test_files), max_workers=workers)
        whole = _WholeResults()
        results = TestRunner(config).run_tests([whole])
        finals = (
            whole.results.get((record.file.path, record.final.attempt), record.final)
            for record in results.records
        )
        return tuple(sorted(finals, key=lambda result: result.file_path))


class _WholeResults:
    """Keeps each result with its complete output, which the results of a run drop or cut."""

    def __init__(self) -> None:
        self.results: dict[tuple[str, int], TestResult] = {}

    def handle(self, event: RunEvent) -> None:
        if isinstance(event, AttemptFinished):
            self.results[event.file.path, event.result.attempt] = event.result

    def close(self) -> None:
        """Nothing is left to do."""


def calculate_max_workers() -> int:
    """Return the default number of files that run at once on this machine."""
    machine = read_machine()
    return workers_for(cpus=machine.cpus, total_bytes=machine.total_bytes)


def run_single_test(test_file: str, *, config: TestConfig | None = None) -> TestResult:
    """Run one file as a run would, and return its result.

    Args:
        test_file: relative to the current directory or the root.
        config: None: the defaults, with the current directory as root.
    """
    return ProcessManager(1, config=config).run_sequential_tests([test_file])[0]


def main(
    argv: Sequence[str] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    program: str | None = None,
) -> int:
    """Run the command `run_tests.py` and return its exit status.

    Args:
        argv: the words after the program's name; None: this process's.
        environ: None: this process's.
        program: as the user called the command; None: as this process was called.
    """
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:  # For closed streams (`>&-`).
        command = Command(
            sys.argv[1:] if argv is None else argv,
            environ=os.environ if environ is None else environ,
            cwd=Path.cwd(),
            target=ConfiguredTarget(environ),
            warm_target=lambda: WarmTarget(environ),
            program=sys.argv[0] if program is None else program,
            stdout=sys.stdout or nowhere,
            stderr=sys.stderr or nowhere,
        )
        return command.run()


if __name__ == "__main__":
    gc.freeze()
    gc.enable()
    raise_at_interrupt()
    sys.exit(main())
