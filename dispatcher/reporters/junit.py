"""Writes the JUnit XML report at the end of a run. Only one suite at a time is in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from dispatcher.model.events import RunEvent, RunFinished, RunStarted
from dispatcher.model.results import TestResults
from dispatcher.reporters.console.totals import by_path
from dispatcher.reporters.junit_model import make_element, suite_element, timestamp
from dispatcher.terminal.atomic_write import atomic_writer, check_place
from passmuster.model.errors import InfrastructureError


class JunitReporter:
    """Writes the results to the file `path` when the run is finished.

    Raises:
        ConfigurationError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._run_id = ""
        self._started_at = 0.0
        check_place(path, what="JUnit report", option="--junit-xml")

    def handle(self, event: RunEvent) -> None:
        """Store the run's name, and write the report when all results have arrived.

        Raises:
            InfrastructureError: the report cannot be written.
        """
        if isinstance(event, RunStarted):
            self._run_id, self._started_at = event.plan.run_id, event.started_at
        elif isinstance(event, RunFinished):
            try:
                self._write(event.results)
            except OSError as error:
                raise InfrastructureError(
                    f"cannot write the JUnit report to {str(self._path)!r}: {error.strerror or error}"
                ) from error

    def close(self) -> None:
        """Do nothing: a run that did not finish has no report."""

    def _write(self, results: TestResults) -> None:
        totals = Counter[str]()
        for suite in _suites(results):
            totals.update({name: int(suite.attrib[name]) for name in _COUNTS})
        root = make_element(
            "testsuites",
            name="passmuster",
            id=self._run_id,
            **{name: str(totals[name]) for name in _COUNTS},
            time=f"{results.duration_s:.3f}",
            timestamp=timestamp(self._started_at),
        )
        root.text = "\n"
        head = ElementTree.tostring(root, encoding="unicode").removesuffix("</testsuites>")
        with atomic_writer(self._path) as file:
            file.write(f'<?xml version="1.0" encoding="UTF-8"?>\n{head}')
            for suite in _suites(results):
                ElementTree.indent(suite, space="")
                file.write(ElementTree.tostring(suite, encoding="unicode") + "\n")
            file.write("</testsuites>\n")


_COUNTS = ("tests", "failures", "errors", "skipped")


def _suites(results: TestResults) -> Iterator[ElementTree.Element]:
    for record in by_path(results.records):
        yield suite_element(record, is_verified=results.is_verified, regressions=results.failing_regressions)
