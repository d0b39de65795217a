"""Runs given files and returns their results: the smallest Python API."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import structs

from dispatcher.config.model import TestConfig
from dispatcher.model.events import AttemptFinished, RunEvent
from dispatcher.run.runner import TestRunner
from passmuster.model.result import TestResult


class ProcessManager:
    """Runs files one after another or in parallel, each in its own process.

    Args:
        make_runner: makes the runner of one run.
        config: applies to every run; its paths and number of workers are replaced.
        max_workers: files at once; None: as many as the machine allows.
    """

    def __init__(
        self, make_runner: Callable[[TestConfig], TestRunner], config: TestConfig, max_workers: int | None
    ) -> None:
        self._make_runner = make_runner
        self._config = config
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
        results = self._make_runner(config).run_tests([whole])
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
