"""The Python API: runs tests from a configuration to results, without printing anything.

The command line uses `TestRunner` too, and adds reporters that print. The composition root chooses the
`ExecutionTarget`, which decides where files run.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from dispatcher.config.choices import Mode
from dispatcher.config.model import TestConfig
from dispatcher.config.settings import PRIVATE_VARIABLES
from dispatcher.config.validate import validate_against_machine
from dispatcher.discovery.discover import Discovered
from dispatcher.discovery.layout_choice import LayoutChoice
from dispatcher.discovery.pytest_files import ProjectPython
from dispatcher.discovery.run_options import take_over
from dispatcher.engine.backend import Backend, BackendRequest, ExecutionTarget
from dispatcher.engine.journal import FILE_NAME as JOURNAL
from dispatcher.engine.journal import (
    FinishedAttempts,
    JoinedRunHandle,
    JournalWriter,
    find_run,
    open_journal,
    resume_message,
)
from dispatcher.engine.journaled_backend import JournaledBackend
from dispatcher.engine.loop import RunLoop
from dispatcher.engine.signals import watch_interrupts
from dispatcher.engine.storage import KEPT_RUNS, make_state_dir, open_storage, prune_runs
from dispatcher.history.file_history import FileHistory
from dispatcher.history.history import History, HistoryReporter
from dispatcher.model.events import Reporter
from dispatcher.model.plan import RunPlan, ShardPlan, TestFile
from dispatcher.model.results import TestResults
from dispatcher.reporters.outputs import OUTPUTS, ArtifactsReporter
from dispatcher.run.run_selection import RunSelection
from passmuster.host.capacity import Capacity
from passmuster.host.interpreter import ProjectInterpreter, find_interpreter
from passmuster.host.state_directory import STATE_DIRECTORY
from passmuster.model.errors import PassmusterError
from passmuster.settings.origins import NO_ORIGINS, Origins

if TYPE_CHECKING:
    from dispatcher.coverage.combine import CoverageReport
    from dispatcher.coverage.request import CoveragePlan


class TestRunner:
    """Discovers and runs a project's test files.

    Args:
        target: where the files run.
        environ: the environment from which tests start; None: this process's.
        cwd: the base of named paths; None: the current directory.
        origins: where each value of the configuration comes from, for messages.
        shared: the joined run that this program leads; None: an ordinary run.
    """

    __test__: ClassVar[bool] = False

    def __init__(
        self,
        config: TestConfig,
        *,
        target: ExecutionTarget,
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        origins: Origins = NO_ORIGINS,
        shared: JoinedRunHandle | None = None,
    ) -> None:
        self.config = config
        self._shared = shared
        self.target = target
        everything = os.environ if environ is None else environ
        self._environ = {name: value for name, value in everything.items() if name not in PRIVATE_VARIABLES}
        self._origins = origins
        self._coverage_plan: CoveragePlan | None = None
        self._capacity: Capacity | None = None
        self._results: TestResults | None = None
        self._notices: list[str] = []
        self._has_taken_over = False
        self._files = RunSelection(
            config, cwd=cwd, python=self._project_python, origins=self._origins, notice=self._note
        )
        self.lost_reports: tuple[str, ...] = ()
        """Why reports of the last run are not complete, a line each."""
        self.breakdown = ""
        """Why the last run could not run all its files; empty: it could."""

    def discover_tests(self) -> tuple[TestFile, ...]:
        """Return the test files that `run_tests` will run (those of this machine's shard), sorted by path.

        Raises:
            ConfigurationError: a named path does not exist, lies outside the root, or contains no tests.
        """
        return self._found().files

    @property
    def notices(self) -> tuple[str, ...]:
        """The warnings so far that no run has emitted, a line each."""
        return tuple(self._notices)

    @property
    def layout(self) -> LayoutChoice:
        """Which configuration decides what is a test file, and why.

        Raises:
            ConfigurationError: as for `discover_tests`.
        """
        return self._found().layout

    @property
    def shard_plan(self) -> ShardPlan | None:
        """This machine's shard plan; None: the run is not split, or discovery has not run yet."""
        return self._files.shard_plan

    def _found(self) -> Discovered:
        """Return the discovered files; discovery runs once, and applies the options of the project's pytest
        to `config`.
        """
        found = self._files.found()
        if not self._has_taken_over:
            self._has_taken_over = True
            self.config, lines = take_over(
                self.config, found.options, workdir=found.workdir, writes_reports=self._shared is None
            )
            self._notices += lines
        return found

    def interpreter(self) -> ProjectInterpreter:
        """Return the project's interpreter.

        Raises:
            ConfigurationError: it is missing, broken, too old, or not Python.
        """
        return find_interpreter(
            self.config.python,
            self.config.root,
            self._environ,
            origin=self._origins["python"],
            cache_dir=self._cache_dir,
        )

    @property
    def _cache_dir(self) -> Path | None:
        """The directory for cached answers of the project's interpreter; None: there is none."""
        state_dir = self.config.root / STATE_DIRECTORY
        return state_dir if self.config.history and state_dir.is_dir() else None

    def _project_python(self) -> ProjectPython:
        if self.config.history and self.config.mode is Mode.RUN:
            make_state_dir(self.config.root)  # Made now, so that the first answer is cached too.
        return ProjectPython(path=self.interpreter().path, environ=self._environ, cache_dir=self._cache_dir)

    def capacity(self) -> Capacity:
        """Return the capacity that the execution target gives this run; computed once.

        Raises:
            ConfigurationError: the configuration asks for more than the machine has.
        """
        if self._capacity is None:
            self._capacity = self.target.capacity(self.config)
            validate_against_machine(
                self.config, total_bytes=self._capacity.total_bytes, origins=self._origins
            )
        return self._capacity

    def plan(self) -> RunPlan:
        """Return what would run, in which order, without running it."""
        history = self._files.open_history()
        if history is None:
            return self._plan({})
        with closing(history):
            return self._plan(history.load())

    def explain_preload(self) -> tuple[str, ...]:
        """Return, as lines, what would be imported before this run's files are forked, and what would not.

        Raises:
            ConfigurationError: as for `run_tests`; nothing is run.
        """
        discovered, interpreter = self._found(), self.interpreter()
        return self.target.explain_preload(self._request(self.plan(), discovered, interpreter))

    def run_tests(self, reporters: Sequence[Reporter] = (), *, watched: bool = False) -> TestResults:
        """Run every test file that `discover_tests` returns.

        Args:
            reporters: receive the events; closed at the end.
            watched: whether they want usage samples.

        Raises:
            ConfigurationError: the configuration is invalid; nothing was run.
            InfrastructureError: the run could not be started.
        """
        with ExitStack() as stack:
            # From before the first process to after the last file is removed.
            stack.enter_context(watch_interrupts())
            for reporter in reporters:
                stack.callback(self._close, reporter)
            discovered, interpreter = self._found(), self.interpreter()
            history = self._files.open_history()
            if history is not None:
                stack.callback(history.close)
            plan = self._plan(history.load() if history is not None else {})
            self._storage = open_storage(self.config.root, plan.run_id, wanted=self.config.history)
            if self._storage.notice and history is not None:
                # It says that nothing is kept, the history included.
                self._notices = [text for text in self._notices if text not in history.notices]
            if self.config.enable_coverage and discovered.files:
                self._coverage_plan = self._plan_coverage(interpreter, discovered.workdir)
            keepers = self._keepers(history)
            plan, journal, ended = self._open_journal(plan, discovered.files, stack)
            backend: Backend = self.target.backend(self._request(plan, discovered, interpreter))
            stack.callback(backend.close)
            if journal is not None:
                backend = JournaledBackend(backend, journal, ended)
            run = RunLoop(
                plan,
                backend,
                reporters,
                self.config,
                samples_usage=watched,
                keepers=keepers,
                notices=self._take_notices(),
                clock=time.monotonic,
                wall_clock=time.time,
            )
            self._results = run.execute()
            self.lost_reports, self.breakdown = run.lost_reports, run.breakdown
            if journal is not None and not self.can_be_resumed:
                # A full disk: the only effect is that `--resume` does not recognize the run as finished.
                with suppress(OSError):
                    journal.end()
        return self._results

    @property
    def can_be_resumed(self) -> bool:
        """Whether the last run was interrupted and has a journal."""
        is_broken_off = bool(self.breakdown) or (self._results is not None and self._results.interrupted)
        return is_broken_off and not self._storage.is_temporary and self._shared is None

    @property
    def results(self) -> TestResults | None:
        """The results of the last run; None: there was none."""
        return self._results

    @property
    def run_id(self) -> str:
        """The last run's id."""
        return self._run_id

    def generate_coverage(
        self, keep: Callable[[Path, tuple[str, ...]], None] | None = None
    ) -> CoverageReport:
        """Combine the coverage data of the last run and write the reports.

        Args:
            keep: receives the combined data before it is removed, and the labels of files without any.

        Raises:
            PassmusterError: there was no run with coverage, or it delivered no data.
            InfrastructureError: the data could not be combined, or a report could not be written.
        """
        # Imported only for a run with coverage.
        from dispatcher.coverage.combine import collect_data, combined_file, merge_coverage

        if self._results is None or self._coverage_plan is None:
            raise PassmusterError("no coverage report: no run with coverage came before")
        try:
            data = collect_data(self._results)
            report = merge_coverage(self._coverage_plan, data)
            if keep is not None:
                keep(combined_file(self._coverage_plan), data.files_without_data)
            return report
        finally:
            shutil.rmtree(self._coverage_plan.data_directory, ignore_errors=True)

    def _plan(self, remembered: Mapping[str, FileHistory]) -> RunPlan:
        self._run_id = new_run_id(time.time_ns())
        if self._shared is not None:
            self._run_id = self._shared.run_id
        elif self.config.resume is not None:
            self._run_id = find_run(self.config.root / STATE_DIRECTORY / "runs", self.config.resume)
        return self._files.plan(remembered, run_id=self._run_id, capacity=self.capacity())

    def _plan_coverage(self, interpreter: ProjectInterpreter, workdir: Path) -> CoveragePlan:
        from dispatcher.coverage.request import plan_coverage

        return plan_coverage(
            self.config,
            interpreter=interpreter.path,
            workdir=workdir,
            run_directory=self._storage.run_dir,
        )

    def _close(self, reporter: Reporter) -> None:
        """Close a reporter; a failure loses only its report."""
        try:
            reporter.close()
        except Exception as error:  # A boundary: a failing report must not lose the results.
            is_expected = isinstance(error, PassmusterError)
            text = str(error) if is_expected else f"{type(reporter).__name__} could not be closed: {error}"
            if text not in self.lost_reports:
                self.lost_reports = (*self.lost_reports, text)

    def _keepers(self, history: History | None) -> list[Reporter]:
        """Return the listeners that keep what outlives the run; none of them needs closing."""
        keepers: list[Reporter] = []
        if history is not None:
            keepers.append(HistoryReporter(history))
        if not self._storage.is_temporary:
            keepers.append(ArtifactsReporter(self._storage.run_dir / OUTPUTS))
            prune_runs(self._storage.run_dir.parent, keep=KEPT_RUNS)
        return keepers

    def _open_journal(
        self, plan: RunPlan, files: Sequence[TestFile], stack: ExitStack
    ) -> tuple[RunPlan, JournalWriter | None, FinishedAttempts]:
        """Return the plan, its journal (None if there can be none), and the finished attempts."""
        if self._shared is not None:
            coverage_dir = self._coverage_plan.data_directory if self._coverage_plan else None
            plan, diary, ended = self._shared.open(plan, coverage_dir)
            self._notices += [resume_message(self._run_id, ended, len(files))] if ended else []
            return plan, diary, ended
        if self._storage.is_temporary:
            return plan, None, {}
        opened = open_journal(
            self._storage.run_dir / JOURNAL,
            self._run_id,
            files,
            is_durable=self.config.broker is not None or self.config.cluster is not None,
            needs_data=self.config.enable_coverage,
            stack=stack,
        )
        self._notices.append(opened.notice)
        return plan, opened.journal, opened.finished

    def _request(
        self, plan: RunPlan, discovered: Discovered, interpreter: ProjectInterpreter
    ) -> BackendRequest:
        return BackendRequest(
            config=self.config,
            run_id=plan.run_id,
            workdir=discovered.workdir,
            interpreter=interpreter.path,
            cache_tag=interpreter.build.cache_tag,
            interpreter_identity=interpreter.identity,
            environ=self._environ,
            coverage_dir=self._coverage_plan.data_directory if self._coverage_plan else None,
            tasks=tuple(planned.task for planned in plan.files),
            is_resumed=self.config.resume is not None or self._shared is not None,
        )

    def _note(self, text: str) -> None:
        self._notices.append(text)

    def _take_notices(self) -> tuple[str, ...]:
        """Return and clear the warnings from before the run."""
        notices = [*self._notices, self._storage.notice]
        self._notices = []
        return tuple(dict.fromkeys(notice for notice in notices if notice))


def new_run_id(now_ns: int) -> str:
    """Return an ID for a run that starts now: IDs sort by the microsecond of the start.

    Args:
        now_ns: nanoseconds since 1970.
    """
    seconds, nanoseconds = divmod(now_ns, 1_000_000_000)
    started = time.strftime("%Y%m%d-%H%M%S", time.gmtime(seconds))
    return f"{started}-{nanoseconds // 1000:05x}{os.urandom(2).hex()}"
