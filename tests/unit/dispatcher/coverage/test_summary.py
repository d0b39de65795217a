"""The lines of the coverage summary."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from dispatcher.coverage.combine import CoverageReport, CoverageRow
from dispatcher.coverage.finalize import format_coverage_summary

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


def test_the_summary_has_the_lines_that_users_parse() -> None:
    row = CoverageRow(path="main.py", percent_text="91", line="main.py     100      9    91%")
    assert format_coverage_summary(replace(REPORT, rows=(row,))) == [
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
    assert "Key Files Coverage:" not in format_coverage_summary(REPORT)


def test_what_went_wrong_is_said() -> None:
    report = replace(
        REPORT, xml_path=Path("/x.xml"), files_without_data=("test_a.py", "test_b.py"), warnings=("odd data",)
    )
    assert format_coverage_summary(report, fail_under=90)[-6:] == [
        "[INFO] XML coverage report: /x.xml",
        "[WARN] coverage: odd data",
        "[WARN] 2 file(s) passed but delivered no coverage data:",
        "  - test_a.py",
        "  - test_b.py",
        "[FAIL] Coverage 87% is below the required 90%",
    ]
    assert format_coverage_summary(report, fail_under=87)[-1] == "  - test_b.py"


def test_a_long_list_of_files_without_data_is_cut() -> None:
    report = replace(REPORT, files_without_data=tuple(f"test_{number}.py" for number in range(25)))
    assert format_coverage_summary(report)[-1] == "  … and 5 more"


def test_tags_and_names_are_the_callers_to_dress() -> None:
    report = replace(REPORT, files_without_data=("bad\x1b.py",))
    lines = format_coverage_summary(report, info_tag="<I>", warn_tag="<W>", clean=lambda text: text.upper())
    assert lines[0] == "<I> 📈 Coverage Summary:"
    assert lines[-2].startswith("<W> ")
    assert lines[-1] == "  - BAD\x1b.PY"
