"""Writes the JUnit XML report at the end of a run: suites from `junit_model`, one after the other.

Nothing is built in memory but one suite at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from msgspec import Struct

from dispatcher.model.events import RunEvent, RunFinished, RunStarted
from dispatcher.model.results import FileAttempts, TestResults
from dispatcher.reporters.junit_model import Case, CaseElement, Problem, Suite, suite_of
from dispatcher.terminal.atomic_write import atomic_writer, check_place
from passmuster.model.errors import InfrastructureError
from passmuster.model.text import one_line, sanitize

MAX_ATTRIBUTE_CHARS = 1000
"""Characters of a message in an attribute; the text of the element has the rest."""


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
        records = sorted(results.records, key=lambda record: record.file.path)
        with atomic_writer(self._path) as file:
            _Document(file).write(records, results, self._run_id, self._started_at)


class _Document(Struct):
    file: TextIO

    def write(
        self, records: Iterable[FileAttempts], results: TestResults, run_id: str, started_at: float
    ) -> None:
        counts = dict.fromkeys(CaseElement, 0)
        records = list(records)
        counted = results.failing_regressions
        for record in records:
            suite = suite_of(record, is_verified=results.is_verified, regressions=counted)
            for verdict in CaseElement:
                counts[verdict] += suite.count(verdict)
        self._line('<?xml version="1.0" encoding="UTF-8"?>')
        self._open(
            "testsuites",
            name="passmuster",
            id=run_id,
            tests=str(sum(counts.values())),
            failures=str(counts[CaseElement.FAILURE]),
            errors=str(counts[CaseElement.ERROR]),
            skipped=str(counts[CaseElement.SKIPPED]),
            time=_seconds(results.duration_s),
            timestamp=_timestamp(started_at),
        )
        for record in records:
            self._suite(suite_of(record, is_verified=results.is_verified, regressions=counted))
        self._line("</testsuites>")

    def _suite(self, suite: Suite) -> None:
        self._open(
            "testsuite",
            name=suite.name,
            file=suite.file_path,
            tests=str(len(suite.cases)),
            failures=str(suite.count(CaseElement.FAILURE)),
            errors=str(suite.count(CaseElement.ERROR)),
            skipped=str(suite.count(CaseElement.SKIPPED)),
            time=_seconds(suite.seconds),
            timestamp=_timestamp(suite.started_at),
            hostname=suite.host,
        )
        self._line("<properties>")
        for name, value in suite.properties:
            self._line(f"<property{_attributes(name=name, value=value)}/>")
        self._line("</properties>")
        for case in suite.cases:
            self._case(case, suite)
        if suite.output:
            self._line(f"<system-out>{_text(suite.output)}</system-out>")
        self._line("</testsuite>")

    def _case(self, case: Case, suite: Suite) -> None:
        self._open(
            "testcase",
            classname=case.class_name,
            name=case.name,
            file=suite.file_path,
            time=_seconds(case.seconds),
        )
        if case.trouble is not None:
            self._trouble(case.trouble, _text(case.trouble.text))
        for trouble in case.earlier:
            self._trouble(trouble, f"<stackTrace>{_text(trouble.text)}</stackTrace>")
        self._line("</testcase>")

    def _trouble(self, trouble: Problem, inner: str) -> None:
        attributes = _attributes(type=trouble.kind, message=trouble.message)
        self._line(f"<{trouble.element}{attributes}>{inner}</{trouble.element}>")

    def _open(self, element: str, /, **attributes: str) -> None:
        self._line(f"<{element}{_attributes(**attributes)}>")

    def _line(self, text: str) -> None:
        self.file.write(f"{text}\n")


def _attributes(**attributes: str) -> str:
    return "".join(
        f' {name}="{_escaped(one_line(value[:MAX_ATTRIBUTE_CHARS]))}"'
        for name, value in attributes.items()
        if value or name in ("name", "classname", "message")
    )


def _text(text: str) -> str:
    return _escaped(sanitize(text))


def _escaped(text: str) -> str:
    # xml.sax.saxutils has this too, but takes 35 ms to import: it loads the whole of urllib.
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace('"', "&quot;")


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}"


def _timestamp(unix_s: float) -> str:
    # The schema of the format has no time zone: UTC is what its readers assume.
    return datetime.fromtimestamp(unix_s, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S") if unix_s else ""
