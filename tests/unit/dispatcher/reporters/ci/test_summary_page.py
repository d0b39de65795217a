"""The summary page, rendered as Markdown: its content, and that names stay names."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from html.parser import HTMLParser

from markdown_it import MarkdownIt

from dispatcher.model.results import TestResults
from dispatcher.reporters.ci.summary import MAX_FILES, PageRequest, summary_page, timeline
from passmuster.model.status import Outcome, Status
from passmuster.model.text import one_line
from tests.unit.dispatcher.reporters.ci.runs import (
    HOSTILE,
    case,
    grown_results,
    planned,
    record,
    result,
    results,
)

ROOM = 1024 * 1024
SOURCE = "https://github.com/o/r/blob/abcdef1/sub/"


class Reader(HTMLParser):
    """Reads a page as a browser would: its elements, links, and the texts of its cells."""

    def __init__(self, markdown: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.links: list[str] = []
        self.cells: list[str] = []
        self.headings: list[str] = []
        self._kept: list[str] | None = None
        self.feed(MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        assert {name for name, _ in attrs} <= {"href", "class"}
        if tag in ("td", "h2", "h3"):
            self._kept = self.cells if tag == "td" else self.headings
            self._kept.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "h2", "h3"):
            self._kept = None

    def handle_data(self, data: str) -> None:
        if self._kept is not None:
            self._kept[-1] += data


def page(
    run: TestResults,
    *,
    room_bytes: int = ROOM,
    source_url: str = SOURCE,
    limits: Mapping[str, int] | None = None,
) -> str:
    files = {path: planned(path, memory_bytes=size) for path, size in (limits or {}).items()}
    request = PageRequest(results=run, budget="4 GiB", planned=files, source_url=source_url)
    return summary_page(request, room_bytes)


def test_a_run_that_passed_says_so() -> None:
    run = results(
        record(result("a.py", Status.PASS, case("m.T.x", outcome=Outcome.PASSED))), peak_bytes=2**30
    )

    read = page(run)

    assert "## ✅ All 1 test files passed" in read
    assert "**1** passed, **0** failed, in 12.5s." in read
    assert "Peak memory of all files together: 1 GiB of a budget of 4 GiB." in html.unescape(read)
    assert "Failures" not in read


def test_failures_are_named_with_test_and_reason_and_linked_to_their_line() -> None:
    text = 'Traceback (most recent call last):\n  File "/r/tests/a.py", line 3, in x\nValueError: no\n'
    failing = record(result("tests/a.py", Status.FAIL, case("m.T.x", text)))
    slow = record(result("tests/b b.py", Status.TIMEOUT, error="ran longer than 2 s"))

    read = Reader(page(results(slow, failing)))

    assert read.cells[:6] == [
        "tests/a.py:3",
        "m.T.x",
        "ValueError: no",
        "tests/b b.py",
        "",
        "TIMEOUT: ran longer than 2 s",
    ]
    assert read.links[:2] == [f"{SOURCE}tests/a.py#L3", f"{SOURCE}tests/b%20b.py"]
    assert read.headings[0] == "❌ 2 of 2 test files failed"


def test_a_file_with_many_failing_tests_names_some_and_counts_the_rest() -> None:
    read = Reader(page(results(record(result("a.py", Status.FAIL, *(case(f"c{n}") for n in range(25)))))))

    assert [cell for cell in read.cells if cell.startswith("c")] == [f"c{number}" for number in range(10)]
    assert "and 15 more" in read.cells


def test_flaky_slow_and_big_files_are_listed() -> None:
    flaky = record(result("a.py", error="exit status 1"), result("a.py", Status.PASS, attempt=2, seconds=1.0))
    big = record(result("b.py", Status.PASS, seconds=9.0, peak_bytes=3 * 2**20))

    read = Reader(page(results(flaky, big), limits={"b.py": 4 * 2**20}))

    assert read.headings == [
        "✅ All 2 test files passed",
        "Flaky files",
        "Timeline",
        "Slowest files",
        "Files with the highest peak memory",
    ]
    assert read.cells == [
        *("a.py", "passed and failed: FAIL, PASS", "FAIL: exit status 1"),
        *("b.py", "9.0s", "a.py", "1.0s"),
        *("b.py", "3 MiB", "75% of 4 MiB"),
    ]


def test_an_incomplete_run_is_not_successful() -> None:
    assert "## ⚠️ 1 of 1 test files did not run" in page(results(record(result("a.py", Status.CANCELLED))))


def test_of_very_many_flaky_files_the_rest_is_counted() -> None:
    files = (f"{number:02}.py" for number in range(53))
    text = page(results(*(record(result(one), result(one, Status.PASS, attempt=2)) for one in files)))

    assert "\nand 3 more\n" in text
    assert Reader(text).cells[3 * 49] == "49.py"


def test_without_a_repository_there_are_no_links() -> None:
    assert Reader(page(results(record(result("a.py"))), source_url="")).links == []


def test_hostile_names_and_messages_stay_text() -> None:
    path = f"tests/{HOSTILE}.py"
    failing = record(result(path, Status.FAIL, case(f"tests/x.py::{HOSTILE}", f"E   {HOSTILE}")))
    crashed = record(result("b.py", Status.CRASH, error=HOSTILE, worker=HOSTILE, peak_bytes=1))
    flaky = record(result("c.py", error=HOSTILE), result("c.py", Status.PASS))

    read = Reader(page(results(failing, crashed, flaky)))

    assert read.elements == {
        "h2",
        "h3",
        "p",
        "strong",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "a",
        "code",
        "pre",
    }
    assert all(link.startswith(SOURCE) for link in read.links)
    shown = one_line(HOSTILE)
    assert read.cells[3].replace("\u2060", "")[:100] == f"tests/{shown}"[:100]
    assert read.cells[2].replace("\u2060", "").startswith(f"CRASH: {shown}"[:200])
    assert len(read.cells) == 2 * 3 + 3 + 3 * 2 + 2


def test_no_mail_address_is_left_for_github_to_link() -> None:
    text = html.unescape(page(results(record(result("b.py", Status.CRASH, error="a@evil.example")))))

    assert "a@evil" not in text
    assert "a@\u2060evil" in text


def test_the_page_fits_its_limit_and_says_that_it_is_cut() -> None:
    failed = [
        record(result(f"tests/{number:05}_{'x|' * 90}.py", Status.FAIL, case("c" * 300, "E  " + "<" * 400)))
        for number in range(2000)
    ]

    text = page(results(*failed))

    assert ROOM * 0.9 < len(text.encode()) <= ROOM
    assert text.endswith("\n_Not everything is shown: the page has no more room. The log has it all._\n")
    assert "tests&#47;00000" in text
    assert Reader(text).headings[0] == "❌ 2000 of 2000 test files failed"


def test_a_page_with_little_room_has_the_verdict_and_with_less_nothing() -> None:
    run = results(*(record(result(f"{number}.py")) for number in range(100)))

    little = page(run, room_bytes=300)

    assert "## ❌ 100 of 100" in little
    assert len(little.encode()) <= 300
    assert "Not everything is shown" in little
    assert page(run, room_bytes=100) == page(run, room_bytes=-5) == ""


def test_the_timeline_has_each_slot_and_marks_failures() -> None:
    run = results(
        record(result("tests/a.py", Status.PASS, started_at=100.0, seconds=10.0)),
        record(result("tests/b.py", Status.FAIL, started_at=105.0, seconds=10.0, slot=1)),
        record(result("tests/c.py", Status.PASS, started_at=110.5, seconds=0.25)),
        record(result("tests/never.py", Status.CANCELLED, started_at=0.0, seconds=0.0)),
    )

    assert timeline(run).splitlines() == [
        "```mermaid",
        "---",
        "displayMode: compact",
        "---",
        "gantt",
        "dateFormat x",
        "axisFormat %s s",
        "tickInterval 2second",
        "section slot 1",
        "10.0s tests/a.py :0, 10000",
        ". :10500, 10750",
        "section slot 2",
        "10.0s tests/b.py :crit, 5000, 15000",
        "```",
    ]


def test_the_timeline_says_which_worker_where_there_are_several_and_is_bounded() -> None:
    run = results(*(record(result(f"{n}.py", worker=f"w{n % 2}", seconds=1.0 + n)) for n in range(100)))

    lines = timeline(run).splitlines()

    assert [line for line in lines if line.startswith("section")] == [
        "section w0 slot 1",
        "section w1 slot 1",
    ]
    bars = [line for line in lines if re.fullmatch(r"\S.* :crit, [0-9]+, [0-9]+", line)]
    assert len(bars) == MAX_FILES
    assert {bar.split()[-4] for bar in bars} == {f"{number}.py" for number in range(60, 100)}


def test_no_name_contains_syntax_of_the_diagram() -> None:
    hostile = "section x\ntitle y\naccTitle: z :crit, 0, 1 %% ; # ``` click a call alert(1) <b>"
    lines = timeline(results(record(result(hostile, seconds=100.0, worker=hostile)))).splitlines()

    assert len(lines) == 11
    name, colon, times = lines[9].partition(" :")
    assert re.fullmatch(r"1m 40s [\w./-]+", name)
    assert (colon, times) == (" :", "crit, 0, 100000")
    assert timeline(results()) == ""


def test_regressions_are_listed_and_are_the_verdict_if_they_fail_the_run() -> None:
    for fails, verdict in ((False, "✅ All 1 test files passed"), (True, "❌ 1 file(s) regressed")):
        page = summary_page(
            PageRequest(results=grown_results(fails_on_regression=fails), budget="", planned={}), 9999
        )
        assert verdict in page
        assert "### Regressions" in page
        assert "peak memory 300 MiB instead of 100 MiB" in page
