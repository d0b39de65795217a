"""Writes the coverage report at the end of a run, and prints the summary in the format of the old scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dispatcher.config.model import TestConfig
from dispatcher.coverage.combine import CoverageReport
from dispatcher.model.exit_codes import ExitCode
from dispatcher.terminal.tags import Tag, bulleted, colored, tagged
from passmuster.model.errors import InfrastructureError, PassmusterError
from passmuster.model.text import first_texts, one_line

_RULE = "-" * 40
_NAMED_FILES = 20


def coverage_lines(report: CoverageReport, *, fail_under: float | None = None) -> Iterator[str]:
    """Yield the lines of the coverage summary.

    Args:
        fail_under: the required percentage; None: none.
    """
    yield tagged(Tag.INFO, "📈 Coverage Summary:")
    yield _RULE
    yield f"Overall Coverage: {report.percent_text}%"
    if report.rows:
        yield from ("", "Key Files Coverage:", *(one_line(row.line) for row in report.rows))
    yield _RULE
    yield tagged(Tag.INFO, f"Text coverage report: {one_line(str(report.text_path))}")
    yield tagged(Tag.INFO, f"HTML coverage report: {one_line(str(report.html_path))}")
    if report.xml_path is not None:
        yield tagged(Tag.INFO, f"XML coverage report: {one_line(str(report.xml_path))}")
    for warning in report.warnings:
        yield tagged(Tag.WARN, f"coverage: {one_line(warning)}")
    if report.files_without_data:
        labels = list(map(one_line, report.files_without_data))
        yield tagged(Tag.WARN, f"{len(labels)} file(s) passed but delivered no coverage data:")
        yield from map(bulleted, first_texts(labels, _NAMED_FILES))
    if fail_under is not None and report.is_below(fail_under):
        yield tagged(Tag.FAIL, f"Coverage {report.percent_text}% is below the required {fail_under:g}%")


def finalize_coverage(
    make: Callable[[], CoverageReport], config: TestConfig, write: Callable[[str], None], *, color: bool
) -> ExitCode:
    """Print the summary of the report that `make` writes, and return the resulting exit status.

    Raises:
        InfrastructureError: the report could not be made.
    """
    try:
        report = make()
    except InfrastructureError:
        raise
    except PassmusterError as error:
        write(f"{tagged(Tag.WARN, one_line(str(error)), color=color)}\n")
        return ExitCode.FAILED
    # A shard covers a part of the project: `merge` checks the required percentage of the whole.
    limit = config.coverage_fail_under if config.shard is None else None
    text = "".join(f"{line}\n" for line in coverage_lines(report, fail_under=limit))
    write(colored(text) if color else text)
    return ExitCode.FAILED if limit is not None and report.is_below(limit) else ExitCode.OK
