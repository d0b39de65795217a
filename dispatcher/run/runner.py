"""The Python API: runs tests from a configuration to results, without printing anything.

The command line uses `TestRunner` too, and adds reporters that print. The composition root chooses the
`ExecutionTarget`, which decides where files run.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from dispatcher.engine.backend import Backend
from dispatcher.engine.journal import FILE_NAME as JOURNAL
from dispatcher.engine.journal import OpenedJournal, open_journal
from dispatcher.engine.journaled_backend import JournaledBackend, cached_results
from dispatcher.engine.loop import RunLoop
from dispatcher.engine.signals import watch_interrupts
from dispatcher.engine.storage import KEPT_RUNS, Storage, open_storage, prune_runs
from dispatcher.history.history import History, HistoryReporter
from dispatcher.model.events import Reporter
from dispatcher.model.plan import RunPlan
from dispatcher.model.results import FileAttempts, MeasuredInputs, TestResults
from dispatcher.reporters.outputs import OUTPUTS, OutputReporter
from dispatcher.run.prepare import Preparation, Prepared
from passmuster.host.cpu_use import run_cpu_s
from passmuster.model.errors import PassmusterError

if TYPE_CHECKING:
    from dispatcher.coverage.combine import CoverageReport
    from dispatcher.coverage.request import CoveragePlan


class TestRunner(Preparation):
    """Discovers and runs a project's test files."""

    __test__: ClassVar[bool] = False

    results: TestResults | None = None
    """The results of the last run; None: there was none."""
    run_id = ""
    """The ID of the last run."""
    lost_reports: tuple[str, ...] = ()
    """Why reports of the last run are not complete, a line each."""
    breakdown = ""
    """Why the last run could not run all its files; empty: it could."""
    _coverage_plan: CoveragePlan | None = None
    _storage: Storage | None = None

    def run_tests(self, reporters: Sequence[Reporter] = (), *, samples_usage: bool = False) -> TestResults:
        """Run every test file that `discover_tests` returns.

        Args:
            reporters: receive the events; closed at the end.

        Raises:
            ConfigurationError: the configuration is invalid; nothing was run.
            InfrastructureError: the run could not be started.
        """
        began_at = time.time()
        with ExitStack() as stack:
            # From before the first process to after the last file is removed.
            stack.enter_context(watch_interrupts())
            for reporter in reporters:
                stack.callback(self._close, reporter)
            prepared = self._prepare(stack)
            config, self.run_id = self.selection.config, prepared.plan.run_id
            self._storage = storage = open_storage(config.root, self.run_id, wanted=config.history)
            if config.enable_coverage and self.selection.files:
                self._coverage_plan = _plan_coverage(prepared, storage)
            if not storage.is_temporary:
                stack.callback(prune_runs, storage.run_dir.parent, keep=KEPT_RUNS)
            keepers = _keepers(prepared.history, storage)
            plan, opened = self._open_journal(prepared, storage, stack)
            backend: Backend = self._target.backend(self._request(prepared, plan, self._coverage_dir))
            stack.callback(backend.close)
            known = {**opened.finished, **cached_results(plan, prepared.cached)}
            if known or opened.journal is not None:
                backend = JournaledBackend(backend, known, opened.journal)
            if any(planned.task.parts for planned in plan.files):
                from dispatcher.engine.parts_backend import PartsBackend  # Few runs have parts.

                backend = PartsBackend(backend)
            run = RunLoop(
                plan,
                backend,
                reporters,
                config,
                samples_usage=samples_usage,
                keepers=keepers,
                notices=_notices(prepared, opened.notice, storage.notice),
                clock=time.monotonic,
                wall_clock=time.time,
                cpu_clock=self._cpu_s,
                measure_inputs=partial(self._measure_inputs, prepared, began_at),
            )
            self.results = run.execute()
            self._cpu_before_s = run_cpu_s()
            self.lost_reports, self.breakdown = run.lost_reports, run.breakdown
            if opened.journal is not None and not self._is_interrupted:
                # A full disk: the only effect is that `--resume` does not recognize the run as finished.
                with suppress(OSError):
                    opened.journal.end()
        return self.results

    def _measure_inputs(
        self, prepared: Prepared, began_at: float, records: Sequence[FileAttempts]
    ) -> tuple[MeasuredInputs, ...]:
        """Return what passed files have read, as it is now; empty: it is not recorded.

        Args:
            began_at: Unix time from before the first fork server of the run.
        """
        selection = prepared.selection
        if not selection.config.keeps_inputs:
            return ()
        return self.inputs.measure(records, began_at, workdir=selection.workdir)

    def _cpu_s(self) -> float | None:
        """Return the CPU seconds of the run so far, with those of all that it started; None: unknown."""
        now_s = run_cpu_s()
        return None if now_s is None or self._cpu_before_s is None else now_s - self._cpu_before_s

    @property
    def can_be_resumed(self) -> bool:
        """Whether the last run was interrupted and has a journal on this machine."""
        is_kept = self._storage is not None and not self._storage.is_temporary
        return self._is_interrupted and is_kept and self._joined is None

    @property
    def _is_interrupted(self) -> bool:
        return bool(self.breakdown) or (self.results is not None and self.results.interrupted)

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

        if self.results is None or self._coverage_plan is None:
            raise PassmusterError("no coverage report: no run with coverage came before")
        try:
            data = collect_data(self.results)
            report = merge_coverage(self._coverage_plan, data)
            if keep is not None:
                keep(combined_file(self._coverage_plan), data.files_without_data)
            return report
        finally:
            shutil.rmtree(self._coverage_plan.data_directory, ignore_errors=True)

    @property
    def _coverage_dir(self) -> Path | None:
        return self._coverage_plan.data_directory if self._coverage_plan is not None else None

    def _close(self, reporter: Reporter) -> None:
        """Close a reporter; a failure loses only its report."""
        try:
            reporter.close()
        except Exception as error:  # A boundary: a failing report must not lose the results.
            is_expected = isinstance(error, PassmusterError)
            text = str(error) if is_expected else f"{type(reporter).__name__} could not be closed: {error}"
            if text not in self.lost_reports:
                self.lost_reports = (*self.lost_reports, text)

    def _open_journal(
        self, prepared: Prepared, storage: Storage, stack: ExitStack
    ) -> tuple[RunPlan, OpenedJournal]:
        """Return the plan and its journal; a joined run adds to the plan what other machines know."""
        if self._joined is not None:
            return self._joined.open(prepared.plan, self._coverage_dir)
        if storage.is_temporary:
            return prepared.plan, OpenedJournal()
        config = self.selection.config
        opened = open_journal(
            storage.run_dir / JOURNAL,
            self.run_id,
            self.selection.files,
            is_durable=config.broker is not None or config.cluster is not None,
            needs_data=config.enable_coverage,
            stack=stack,
        )
        return prepared.plan, opened


def _plan_coverage(prepared: Prepared, storage: Storage) -> CoveragePlan:
    from dispatcher.coverage.request import plan_coverage  # Imported only for a run with coverage.

    return plan_coverage(
        prepared.selection.config,
        interpreter=prepared.interpreter.path,
        workdir=prepared.selection.workdir,
        run_directory=storage.run_dir,
    )


def _keepers(history: History | None, storage: Storage) -> list[Reporter]:
    """Return the reporters that keep what outlives the run; none of them needs closing."""
    keepers: list[Reporter] = []
    if history is not None:
        keepers.append(HistoryReporter(history))
    if not storage.is_temporary:
        keepers.append(OutputReporter(storage.run_dir / OUTPUTS))
    return keepers


def _notices(prepared: Prepared, journal_notice: str, storage_notice: str) -> list[str]:
    """Return the warnings from before the run, each once."""
    notices = prepared.notices
    if storage_notice and prepared.history is not None:
        # It says that nothing is kept, the history included.
        notices = tuple(text for text in notices if text not in prepared.history.notices)
    return [text for text in dict.fromkeys((*notices, journal_notice, storage_notice)) if text]
