"""The lines of the coverage summary."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from dispatcher.coverage.combine import CoverageReport, CoverageRow
from dispatcher.coverage.finalize import coverage_lines

REPORT = CoverageReport(
    percent=87.4,
    percent_text="87",
    precision=0,
    rows=(),
    text_path=Path("/tmp/cov/coverage_report.txt"),
    html_path=Path("/tmp/cov/index.html"),
    xml_path=None,
    files_without_data=(),
    warnings=(),
)


def lines(report: CoverageReport, fail_under: float | None = None) -> list[str]:
    return list(coverage_lines(report, fail_under=fail_under))


def test_the_summary_has_the_lines_that_users_parse() -> None:
    row = CoverageRow(path="main.py", percent_text="91", line="main.py     100      9    91%")
    assert lines(replace(REPORT, rows=(row,))) == [
        "[INFO] 📈 Coverage Summary:",
        "----------------------------------------",
        "Overall Coverage: 87%",
        "",
        "Key Files Coverage:",
        "main.py     100      9    91%",
        "----------------------------------------",
        "[INFO] Text coverage report: /tmp/cov/coverage_report.txt",
        "[INFO] HTML coverage report: /tmp/cov/index.html",
    ]


def test_without_key_files_their_heading_is_left_out() -> None:
    assert "Key Files Coverage:" not in lines(REPORT)


def test_problems_are_printed() -> None:
    report = replace(
        REPORT, xml_path=Path("/x.xml"), files_without_data=("test_a.py", "test_b.py"), warnings=("odd data",)
    )
    assert lines(report, fail_under=90)[-6:] == [
        "[INFO] XML coverage report: /x.xml",
        "[WARN] coverage: odd data",
        "[WARN] 2 file(s) passed but delivered no coverage data:",
        "  - test_a.py",
        "  - test_b.py",
        "[FAIL] Coverage 87% is below the required 90%",
    ]
    assert lines(report, fail_under=87)[-1] == "  - test_b.py"


def test_a_long_list_of_files_without_data_is_cut() -> None:
    report = replace(REPORT, files_without_data=tuple(f"test_{number}.py" for number in range(25)))
    assert lines(report)[-1] == "  - and 5 more"


def test_names_are_safe_to_print() -> None:
    report = replace(REPORT, files_without_data=("bad\x07.py",))
    assert lines(report)[-1] == "  - bad\\x07.py"
