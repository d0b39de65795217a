"""Combines the coverage data of all files and writes the reports, once, at the end of a run.

`child/passmuster_child_coverage_report.py` does the work in the project's interpreter, because data and
settings belong to the project's version of coverage. This module finds the data, makes the request, checks
the answer, and replaces the previous HTML report. It removes only files of an earlier report: those in its
own list, or in coverage's `status.json` if another program wrote that report.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from msgspec import Struct, ValidationError, convert

from dispatcher.coverage.request import CoveragePlan
from dispatcher.model.results import TestResults
from passmuster.model.errors import InfrastructureError, PassmusterError

_JOURNAL_SUFFIXES = ("-journal", "-wal", "-shm")
"""SQLite's companion files of a process that was killed while it saved its data."""


class CollectedData(Struct, frozen=True, kw_only=True):
    """The data to combine."""

    data_files: tuple[str, ...]
    files_without_data: tuple[str, ...]
    """Labels of the files that passed but delivered no data."""
    roots: tuple[str, ...] = ()
    """The project's roots in the data of remote workers."""


def collect_data(results: TestResults) -> CollectedData:
    """Return the data of each file's attempt that counts.

    The data of earlier attempts is left out: a sequential run without retries would not have it. Failed files
    count like the others, as far as they got.
    """
    data_files: set[str] = set()
    without_data: list[str] = []
    roots: set[str] = set()
    for record in results.records:
        delivered = [
            path
            for path in record.final.coverage_files
            if not path.endswith(_JOURNAL_SUFFIXES) and Path(path).is_file()
        ]
        data_files.update(delivered)
        if delivered and record.final.coverage_root:
            roots.add(record.final.coverage_root)
        if record.status.is_pass and not delivered:
            without_data.append(record.file.label)
    return CollectedData(
        data_files=tuple(sorted(data_files)),
        files_without_data=tuple(without_data),
        roots=tuple(sorted(roots)),
    )


LIST_NAME = ".passmuster_report.json"
"""The names of the files that the last report consists of."""

_STATUS_NAME = "status.json"
_NEVER_REPLACED = frozenset({".gitignore"})


def publish(source: Path, target: Path) -> None:
    """Copy the files of `source` into `target`, and remove files of the last report that are not in this one.

    Args:
        source: a flat directory with a complete report.
        target: the existing directory of the published report.

    Raises:
        OSError: a file could not be written.
    """
    names = sorted(path.name for path in source.iterdir() if path.is_file())
    stale = _last_report(target) - set(names) - _NEVER_REPLACED
    # The index comes last, so that it never names a page that is not there yet.
    for name in sorted(names, key=lambda name: name == "index.html"):
        if name not in _NEVER_REPLACED or not os.path.lexists(target / name):
            with _replacing(target / name) as fresh:
                shutil.copyfile(source / name, fresh)
    for name in stale:
        with suppress(OSError):
            (target / name).unlink()
    with _replacing(target / LIST_NAME) as fresh:
        fresh.write_text(json.dumps(names), encoding="utf-8")


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """Yield a path next to `target` that replaces it: neither a reader nor a second run sees half a page."""
    fresh = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        yield fresh
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)


def _last_report(target: Path) -> set[str]:
    """Return the plain names of the files that the last report put into `target`."""
    named = _read(target / LIST_NAME)
    names = [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
    if not names:
        status = _read(target / _STATUS_NAME)
        pages = status.get("files") if isinstance(status, dict) else None
        names = [f"{page}.html" for page in pages] if isinstance(pages, dict) else []
    return {name for name in names if Path(name).name == name and name not in ("", ".", "..")}


def _read(path: Path) -> object:
    """Return the content of a JSON file; None if it is missing or invalid."""
    try:
        found: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found


TEXT_NAME = "coverage_report.txt"
"""The name of the text report: users' other tools read it."""

CHILD_SCRIPT = Path(__file__).parent / "child" / "passmuster_child_coverage_report.py"

_NOT_HANDED_ON = frozenset(
    {"COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG", "COVERAGE_FILE", "COVERAGE_RUN", "COVERAGE_DEBUG"}
)
"""Variables that would make the combining process measure itself, or read and print elsewhere."""

_ROW = re.compile(r"(?P<name>\S.*?)\s+\d+\s+\d+.*?(?P<percent>\d+(?:\.\d+)?)%")


class CoverageRow(Struct, frozen=True, kw_only=True):
    """One file in the text report: its path and percentage as coverage displays them, and the whole row."""

    path: str
    percent_text: str
    line: str


class CoverageReport(Struct, frozen=True, kw_only=True):
    """The coverage of the run and the paths of its reports."""

    percent: float
    percent_text: str
    """The total as coverage displays it, without the percent sign."""
    precision: int
    """Decimal places according to the project's settings."""
    rows: tuple[CoverageRow, ...]
    """The rows of the configured key files, in the order of the text report."""
    text_path: Path
    html_path: Path
    xml_path: Path | None
    files_without_data: tuple[str, ...]
    """Labels of the files that passed and delivered no data."""
    warnings: tuple[str, ...]
    """Coverage's warnings while combining and reporting."""

    def is_below(self, fail_under: float) -> bool:
        """Return whether the total misses `fail_under` percent, by coverage's own rule.

        The total is rounded as displayed, except that 100 must be reached exactly.
        """
        if fail_under >= 100:
            return self.percent < 100
        _, _, digits = f"{fail_under:g}".partition(".")
        return round(self.percent, max(self.precision, len(digits))) < fail_under


class _Answer(Struct, frozen=True, kw_only=True):
    percent: float = 0.0
    precision: int | None = None
    warnings: tuple[str, ...] = ()
    error: str | None = None


def merge_coverage(plan: CoveragePlan, data: CollectedData) -> CoverageReport:
    """Combine the data and write all reports.

    Raises:
        PassmusterError: there is nothing to report, or the project's settings of coverage are wrong.
        InfrastructureError: the combining process failed, or a report could not be written.
    """
    if not data.data_files:
        raise PassmusterError("no coverage report: no test file delivered coverage data")
    try:
        plan.data_directory.mkdir(parents=True, exist_ok=True)
        html_directory = plan.data_directory / "html"
        text_path = plan.data_directory / TEXT_NAME
        shutil.rmtree(html_directory, ignore_errors=True)
        answer = _ask(plan, data, html_directory=html_directory, text_path=text_path)
        text = text_path.read_text(encoding="utf-8")
        shutil.copyfile(text_path, html_directory / TEXT_NAME)
        publish(html_directory, plan.report_directory)
        # The reports are copies now; keeping both would double what a run leaves behind.
        shutil.rmtree(html_directory, ignore_errors=True)
    except OSError as exc:
        raise InfrastructureError(f"the coverage report could not be written: {exc}") from exc
    return CoverageReport(
        percent=answer.percent,
        percent_text=display_percent(answer.percent, precision=answer.precision or 0),
        precision=answer.precision or 0,
        rows=tuple(row for row in read_rows(text) if _is_key(row.path, plan.key_files)),
        text_path=plan.report_directory / TEXT_NAME,
        html_path=plan.report_directory / "index.html",
        xml_path=plan.xml_path,
        files_without_data=data.files_without_data,
        warnings=answer.warnings,
    )


def combined_file(plan: CoveragePlan) -> Path:
    """Return the path of a run's combined data, which exists until the data is removed."""
    return plan.data_directory / "combined"


def display_percent(percent: float, *, precision: int) -> str:
    """Return a total as coverage displays it: 0 and 100 only when they are exact."""
    smallest = 10.0**-precision
    if 0 < percent < smallest:
        percent = smallest
    elif 100 - smallest < percent < 100:
        percent = 100 - smallest
    return f"{round(percent, precision):.{precision}f}"


def read_rows(text: str) -> tuple[CoverageRow, ...]:
    """Return the rows of a text report, without its heading and total."""
    rows = []
    for line in text.splitlines():
        match = _ROW.match(line)
        if match is not None and match["name"] != "TOTAL":
            rows.append(CoverageRow(path=match["name"], percent_text=match["percent"], line=line.rstrip()))
    return tuple(rows)


def _is_key(path: str, key_files: tuple[str, ...]) -> bool:
    """Return whether a file is configured by path, by its last parts, or by a shell pattern."""
    return any(
        path == key or path.endswith(f"/{key}") or fnmatch.fnmatchcase(path, key)
        or fnmatch.fnmatchcase(PurePosixPath(path).name, key)
        for key in key_files
    )  # fmt: skip


def _ask(plan: CoveragePlan, data: CollectedData, *, html_directory: Path, text_path: Path) -> _Answer:
    """Run the combining process and check its answer."""
    request = {
        "combined_file": str(combined_file(plan)),
        "data_files": data.data_files,
        "root": os.path.realpath(plan.root),
        "other_roots": [root for root in data.roots if root != os.path.realpath(plan.root)],
        "source": plan.source,
        "text_path": str(text_path),
        "html_directory": str(html_directory),
        "xml_path": None if plan.xml_path is None else str(plan.xml_path),
    }
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_HANDED_ON}
    try:
        process = subprocess.run(
            [plan.interpreter, str(CHILD_SCRIPT)],
            input=json.dumps(request).encode("ascii"),
            capture_output=True,
            cwd=plan.workdir,
            env=environment,
            check=False,
        )
    except OSError as exc:
        raise InfrastructureError(f"coverage data could not be combined: {plan.interpreter}: {exc}") from exc
    try:
        answer = convert(json.loads(process.stdout), _Answer)
    except (ValueError, ValidationError) as exc:
        last_line = process.stderr.decode("utf-8", "backslashreplace").strip().rpartition("\n")[2]
        raise InfrastructureError(
            f"coverage data could not be combined: {plan.interpreter} ended with status "
            f"{process.returncode}: {last_line}"
        ) from exc
    if answer.error == "no data":
        raise PassmusterError(
            f"no coverage report: the {len(data.data_files)} data files name no file that is measured; "
            f"check the coverage source (`--coverage-source`, or [run] source in the project's settings)"
        )
    if answer.error is not None:
        raise PassmusterError(f"no coverage report: {answer.error}")
    return answer
