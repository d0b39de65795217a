"""The lines that say what a run covered, as the shell scripts' users read them."""

from __future__ import annotations

from collections.abc import Callable

from dispatcher.coverage_report.merge import CoverageReport

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
        report: what was covered.
        info_tag: the tag of ordinary lines, coloured where the caller colours.
        warn_tag: the tag of warnings.
        fail_tag: the tag of a coverage that is too low.
        fail_under: percent that were demanded; None: none.
        clean: makes a name harmless to print.
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
        lines.append(f"{fail_tag} Coverage {report.percent_text}% is below the demanded {fail_under:g}%")
    return lines
