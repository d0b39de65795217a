"""Writes the coverage report at the end of a run, and prints the summary in the format of the old scripts."""

from __future__ import annotations

from collections.abc import Callable

from dispatcher.config.model import TestConfig
from dispatcher.coverage.combine import CoverageReport
from dispatcher.model.exit_codes import ExitCode
from dispatcher.terminal.tags import Tag, tagged
from passmuster.model.errors import InfrastructureError, PassmusterError
from passmuster.model.text import one_line

_RULE = "-" * 40
_NAMED_FILES = 20


def format_coverage_summary(
    report: CoverageReport,
    *,
    info_tag: str = "[INFO]",
    warn_tag: str = "[WARN]",
    fail_tag: str = "[FAIL]",
    fail_under: float | None = None,
    clean: Callable[[str], str] = str,
) -> list[str]:
    """Return the lines of the coverage summary, without line ends.

    Args:
        info_tag: the tag of ordinary lines, coloured if the caller colours.
        warn_tag: the tag of warnings.
        fail_tag: the tag of the line for insufficient coverage.
        fail_under: the required percentage; None: none.
        clean: makes a name safe to print.
    """
    lines = [f"{info_tag} 📈 Coverage Summary:", _RULE, f"Overall Coverage: {report.percent_text}%"]
    if report.rows:
        lines += ["", "Key Files Coverage:", *(clean(row.line) for row in report.rows)]
    lines += [
        _RULE,
        f"{info_tag} Text coverage report: {clean(str(report.text_path))}",
        f"{info_tag} HTML coverage report: {clean(str(report.html_path))}",
    ]
    if report.xml_path is not None:
        lines.append(f"{info_tag} XML coverage report: {clean(str(report.xml_path))}")
    lines += [f"{warn_tag} coverage: {clean(warning)}" for warning in report.warnings]
    if report.files_without_data:
        count = len(report.files_without_data)
        lines.append(f"{warn_tag} {count} file(s) passed but delivered no coverage data:")
        lines += [f"  - {clean(label)}" for label in report.files_without_data[:_NAMED_FILES]]
        if count > _NAMED_FILES:
            lines.append(f"  … and {count - _NAMED_FILES} more")
    if fail_under is not None and report.is_below(fail_under):
        lines.append(f"{fail_tag} Coverage {report.percent_text}% is below the required {fail_under:g}%")
    return lines


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
    lines = format_coverage_summary(
        report,
        info_tag=tagged(Tag.INFO, "", color=color).rstrip(),
        warn_tag=tagged(Tag.WARN, "", color=color).rstrip(),
        fail_tag=tagged(Tag.FAIL, "", color=color).rstrip(),
        fail_under=limit,
        clean=one_line,
    )
    write("".join(f"{line}\n" for line in lines))
    return ExitCode.FAILED if limit is not None and report.is_below(limit) else ExitCode.OK
