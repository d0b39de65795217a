"""Reads the JUnit report that a project's own command wrote: the test cases of one file.

The content is not trusted, because tests can write the file too. It is read as a stream of bounded size, a
document type (and therefore any custom entity) is refused, and an invalid report yields a one-line problem.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from xml.etree.ElementTree import ParseError, XMLParser

from msgspec import Struct

from passmuster.model.result import CaseResult
from passmuster.model.status import Outcome
from worker.process.child_report import CASES_LIMIT

MAX_REPORT_BYTES = 64 * 1024 * 1024
"""Far more than the report of any single file; a report that includes whole logs has a few MiB."""

MAX_MESSAGE_CHARS = 16 * 1024
"""Length to which a failure message of a test is cut."""

MAX_SECONDS = 1e9

READ_BYTES = 1 << 16

_OUTCOMES = {"failure": Outcome.FAILED, "error": Outcome.ERROR, "skipped": Outcome.SKIPPED}
_WORSE = (Outcome.PASSED, Outcome.SKIPPED, Outcome.XFAILED, Outcome.FAILED, Outcome.ERROR)
"""Outcomes from best to worst: a test with several elements has the worst of them."""


class JunitReport(Struct, frozen=True, kw_only=True):
    """The content of a report."""

    cases: tuple[CaseResult, ...] = ()
    """The test cases in the order of the report."""
    failures: int = 0
    """The highest count of failures and errors of any suite."""
    problem: str = ""
    """Why the report is not usable, in one line; empty: it is."""


def read_junit(path: Path) -> JunitReport | None:
    """Return the report at `path`, or None if there is none."""
    try:
        # The test could write to this directory: refuse links, and do not block on a pipe without a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        return JunitReport(problem=f"its JUnit report cannot be read: {error.strerror}")
    try:
        return _read(descriptor)
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> JunitReport:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return JunitReport(problem="its JUnit report is not a regular file")
    if status.st_size > MAX_REPORT_BYTES:
        return JunitReport(problem=f"its JUnit report is larger than {MAX_REPORT_BYTES // 1024**2} MiB")
    builder = _CaseBuilder()
    parser = XMLParser(target=builder)
    try:
        while data := os.read(descriptor, READ_BYTES):
            parser.feed(data)
        parser.close()
    except (ParseError, ValueError, LookupError, OSError) as error:
        return JunitReport(problem=f"its JUnit report is damaged: {' '.join(str(error).split())[:200]}")
    return JunitReport(cases=tuple(builder.cases), failures=builder.failures)


class _CaseBuilder:
    """The target of an XML parser that keeps the tests and nothing else."""

    def __init__(self) -> None:
        self.cases: list[CaseResult] = []
        self.failures = 0
        self._depth = 0
        self._case: Mapping[str, str] | None = None
        self._outcome = Outcome.PASSED
        self._message = ""
        self._text: list[str] = []
        self._text_chars = 0
        self._taken_depth = 0

    def doctype(self, name: str, _public_id: str | None, _system_id: str | None) -> None:
        """Refuse a document type: reports have none, and it could define entities without end."""
        raise ValueError(f"it has a document type {name!r}")

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Handle the start of an element."""
        self._depth += 1
        name = _local(tag)
        if self._depth == 1 and name not in ("testsuite", "testsuites"):
            raise ValueError(f"expected testsuites or testsuite, got {name[:40]!r}")
        if name in ("testsuite", "testsuites"):
            counted = sum(_count(attributes.get(kind)) for kind in ("failures", "errors"))
            self.failures = max(self.failures, counted)
        elif name == "testcase":
            self._case, self._outcome, self._message = attributes, Outcome.PASSED, ""
        elif self._case is not None and name in _OUTCOMES:
            outcome = _OUTCOMES[name]
            if name == "skipped" and attributes.get("type") == "pytest.xfail":
                outcome = Outcome.XFAILED
            if _WORSE.index(outcome) > _WORSE.index(self._outcome):
                self._outcome, self._message = outcome, attributes.get("message", "")
                self._text, self._text_chars, self._taken_depth = [], 0, self._depth

    def data(self, text: str) -> None:
        """Keep the text of the element that says how a test ended."""
        if self._taken_depth and self._text_chars < MAX_MESSAGE_CHARS:
            self._text.append(text[:MAX_MESSAGE_CHARS])
            self._text_chars += len(text)

    def end(self, tag: str) -> None:
        """Keep a test whose element ends."""
        if self._taken_depth == self._depth:
            text = "".join(self._text).strip()
            self._message = text if self._message in text else f"{self._message}\n{text}".strip()
            self._taken_depth = 0
        self._depth -= 1
        if _local(tag) != "testcase" or self._case is None:
            return
        if len(self.cases) < CASES_LIMIT:
            names = (self._case.get("classname", ""), self._case.get("name", ""))
            self.cases.append(
                CaseResult(
                    case_id=".".join(name for name in names if name) or "(no name)",
                    outcome=self._outcome,
                    seconds=_seconds(self._case.get("time", "")),
                    message=self._message[:MAX_MESSAGE_CHARS],
                )
            )
        self._case = None

    def close(self) -> None:
        """Everything is kept already."""


def _local(tag: str) -> str:
    """Return the name of an element without its namespace."""
    return tag.rpartition("}")[2]


def _count(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 10 else 0


def _seconds(text: str) -> float:
    try:
        seconds = float(text.replace(",", ""))  # Some writers separate thousands.
    except ValueError:
        return 0.0
    return seconds if math.isfinite(seconds) and 0 <= seconds <= MAX_SECONDS else 0.0
