"""Combines the data of all files and writes the reports: once, at the end of a run.

The work is done by `child/passmuster_child_coverage_report.py` in the project's interpreter, because
data and settings belong to the project's version of coverage. Here the request is put together, the
answer judged, and the result put where people look for it.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import subprocess
from pathlib import Path, PurePosixPath

from msgspec import Struct

from dispatcher.coverage_report.collect import CollectedData
from dispatcher.coverage_report.publish import publish
from dispatcher.coverage_report.request import CoveragePlan
from passmuster.errors import InfrastructureError, PassmusterError

TEXT_NAME = "coverage_report.txt"
"""The name of the text report: users' other tools read it."""

CHILD_SCRIPT = Path(__file__).parent / "child" / "passmuster_child_coverage_report.py"

_NOT_HANDED_ON = frozenset(
    {"COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG", "COVERAGE_FILE", "COVERAGE_RUN", "COVERAGE_DEBUG"}
)
"""Variables that would make the combining process measure itself, or read and print elsewhere."""

_ROW = re.compile(r"(?P<name>\S.*?)\s+\d+\s+\d+.*?(?P<percent>\d+(?:\.\d+)?)%")


class CoverageRow(Struct, frozen=True, kw_only=True):
    """One file in the text report.

    Args:
        path: the file as coverage names it.
        percent_text: what is covered, as coverage displays it, without the percent sign.
        line: the whole row.
    """

    path: str
    percent_text: str
    line: str


class CoverageReport(Struct, frozen=True, kw_only=True):
    """What the run covered and where it is written down.

    Args:
        percent: the total.
        percent_text: the total as coverage displays it, without the percent sign.
        precision: digits after the point that the project's settings ask for.
        rows: the rows of the configured key files, in the order of the text report.
        text_path: the text report.
        html_path: the HTML report's first page.
        xml_path: the XML report; None: none was asked for.
        files_without_data: labels of files that passed and delivered no data.
        warnings: what coverage warned of while combining and reporting.
    """

    percent: float
    percent_text: str
    precision: int
    rows: tuple[CoverageRow, ...]
    text_path: Path
    html_path: Path
    xml_path: Path | None
    files_without_data: tuple[str, ...]
    warnings: tuple[str, ...]

    def is_below(self, fail_under: float) -> bool:
        """Return whether the total misses `fail_under` percent, judged as coverage judges it.

        The total is rounded as it is displayed; only a demanded 100 must be reached exactly.
        """
        if fail_under >= 100:
            return self.percent < 100
        _, _, digits = f"{fail_under:g}".partition(".")
        return round(self.percent, max(self.precision, len(digits))) < fail_under


class _Answer(Struct, frozen=True, kw_only=True):
    percent: float
    precision: int
    warnings: tuple[str, ...]


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
        percent_text=display_percent(answer.percent, precision=answer.precision),
        precision=answer.precision,
        rows=tuple(row for row in read_rows(text) if _is_key(row.path, plan.key_files)),
        text_path=plan.report_directory / TEXT_NAME,
        html_path=plan.report_directory / "index.html",
        xml_path=plan.xml_path,
        files_without_data=data.files_without_data,
        warnings=answer.warnings,
    )


def combined_file(plan: CoveragePlan) -> Path:
    """Return where the combined data of a run lies, until its data is removed."""
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
    """Run the combining process and judge its answer."""
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
        answer: object = json.loads(process.stdout)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        last_line = process.stderr.decode("utf-8", "backslashreplace").strip().rpartition("\n")[2]
        raise InfrastructureError(
            f"coverage data could not be combined: {plan.interpreter} ended with status "
            f"{process.returncode}: {last_line}"
        )
    error = answer.get("error")
    if error == "no data":
        raise PassmusterError(
            f"no coverage report: the {len(data.data_files)} data files name no file that is measured; "
            f"check the coverage source (`--coverage-source`, or [run] source in the project's settings)"
        )
    if error is not None:
        raise PassmusterError(f"no coverage report: {error}")
    return _Answer(
        percent=float(answer["percent"]),
        precision=int(answer["precision"] or 0),
        warnings=tuple(str(warning) for warning in answer["warnings"]),
    )
