"""The report says what was measured, what differed, where peers were faster, and what was left out."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from benchmarks.bed.chart import draw_chart
from benchmarks.bed.model import NotMeasured
from benchmarks.bed.report import markdown_report, text_report
from benchmarks.bed.summary import summarise
from tests.unit.benchmarks.beds import a_ledger, a_run, verdict

LEDGER = a_ledger(
    a_run("unlimited", verdict(bad_files=()), wall_s=4.0, cpu_s=2.0),
    a_run("ours-auto", verdict(bad_files=(), files_cpu_s=0.9), wall_s=2.0),
    a_run("rstest", verdict(2), wall_s=0.5, isolates=False),
    not_measured=(
        NotMeasured(suite="small", runner="regrtest", reason="runs only CPython's own tests"),
        NotMeasured(suite="small", runner="stestr", reason="the suite is pytest's"),
        NotMeasured(suite="small", runner="unittest", reason="the suite is pytest's"),
    ),
)


WHOLE = """\
2 cores, 8 GB, Linux 6.1, CPython 3.11.7; 2026-11-25; memory: memory cgroup v1. Medians, with the range in brackets.

small: 2 files, base unlimited
runner     n  wall s  x base  CPU s  bound s  x bound  peak MB  processes  ran  bad       outcome  own ms a file
unlimited  1    4.00    1.00   2.00     1.00     4.00       50          3    3    0          same              -
ours-auto  1    2.00    0.50   1.00     0.50     4.00       50          3    3    0          same           50.0
rstest     1    0.50    0.12   1.00     0.50     1.00       50          3    2    ?  DIFFERS in 1              -

Outcomes that differ

- small: rstest, round 1: 2 ran, 0 failed, 0 errors, 0 skipped; unlimited: 3 ran, 0 failed, 0 errors, 0 skipped

Where a peer was faster

- nowhere

Not measured

- small: regrtest: runs only CPython's own tests
- small: stestr, unittest: the suite is pytest's
"""  # noqa: E501 - as it is printed.


def test_the_text_report_is_whole() -> None:
    assert text_report(LEDGER, base="unlimited") == WHOLE


def test_in_markdown_the_table_is_one() -> None:
    lines = markdown_report(LEDGER, base=None).splitlines()

    assert "| ours-auto | 1 | 2.00 | 0.50 | 1.00 | 0.50 | 4.00 | 50 | 3 | 3 | 0 | same | 50.0 |" in lines
    assert "**Not measured**" in lines
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1


def test_more_rounds_show_their_range() -> None:
    ledger = a_ledger(a_run("xargs", wall_s=1.0), a_run("xargs", wall_s=2.0, round=2))

    assert "1.50 (1.00-2.00)" in text_report(ledger, base=None)


def test_the_chart_draws_every_row_in_every_panel_and_marks_what_differs() -> None:
    root = ElementTree.fromstring(draw_chart(summarise(LEDGER, base="unlimited")))
    space = "{http://www.w3.org/2000/svg}"
    texts = [element.text for element in root.iter(f"{space}text")]
    bars = [element for element in root.iter(f"{space}rect") if "x" in element.attrib]

    assert len(bars) == 3 * 4
    assert [text for text in texts if text in {"unlimited", "ours-auto", "rstest", "rstest ≠"}] == [
        "unlimited",
        "ours-auto",
        "rstest ≠",
    ]
    widths = [float(bar.attrib["width"]) for bar in bars[:3]]
    assert widths[0] == max(widths)
    assert widths[1] == widths[0] / 2
    assert all(
        float(bar.attrib["x"]) + float(bar.attrib["width"]) <= float(root.attrib["width"]) for bar in bars
    )


def test_the_chart_of_nothing_is_an_empty_drawing() -> None:
    assert ElementTree.fromstring(draw_chart(())).tag.endswith("svg")


def test_names_are_escaped_in_the_chart() -> None:
    drawing = draw_chart(summarise(a_ledger(a_run("a<b&c")), base=None))

    assert "a&lt;b&amp;c" in drawing
