"""The page shows what happened, and output and names of tests are text in it."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator

import pytest
from msgspec import structs

from dispatcher.history.file_history import EarlierRun
from dispatcher.model.events import RunEvent, RunFinished, RunStopping, StopCause
from dispatcher.model.exit_codes import ExitCode
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.model.results import FileAttempts, Measure, Regression, TestResults, exit_code_of
from dispatcher.reporters.html.data import FIRST_ROWS, MAX_FILES, banner_of
from dispatcher.reporters.html.entries import MAX_CHARS, MIN_CHARS, TOTAL_BYTES, OutputBudget
from passmuster.model.executor import Limit, WorkerUsage
from passmuster.model.result import CaseResult, TestResult
from passmuster.model.status import Isolation, Outcome, Status
from tests.support.report_page import Page, hashes_of, page_of, source_of
from tests.support.report_runs import MIB, failing_case, file, many_files, record, result, sample, told

HOSTILE = [
    "</script><img src=x onerror=alert(1)>",
    "</pre></style></title><!-- <svg onload=alert(1)>",
    "\x1b[31mred\x1b[0m \x1b]8;;http://evil\x07link\x1b]8;;\x07",
    "\u202egnp.exe \u2028 \u2029 \x00 \x9b \ufeff",
    "\udcff\ud800 half",
    "'\" onload='x' &amp;&#60;script&#62;",
    "]]> --> `${alert(1)}`",
]


def named_everywhere(text: str) -> Iterator[RunEvent]:
    """Yield a run in which everything that can be named, said or printed is `text`."""
    path = f"{text}.py"
    bad = structs.replace(
        result(path, Status.TIMEOUT, output=text, error=text, worker=text),
        cases=(failing_case(text, text), CaseResult(case_id=text, outcome=Outcome.PASSED, message=text)),
        stacks=text,
        start_delayed_by=text,
        leaked=(text,),
        kept_tmp=text,
    )
    flaky = f"{text}-flaky.py"
    passed = record(
        result(flaky, Status.FAIL, output=text, worker=text),
        result(flaky, attempt=2, at_s=2.0, worker=f"{text}-2"),
        reasons=(None, RerunReason.RETRY),
    )
    stopped = FileAttempts(
        file=file(f"{text}-stopped.py"),
        attempts=(TestResult(file_path=f"{text}-stopped.py", status=Status.CANCELLED, error=text),),
        started=False,
    )
    usage = WorkerUsage(name=text, slots=1, busy=1, budget_bytes=4096 * MIB, used_bytes=3000 * MIB)
    return told(
        record(bad),
        passed,
        stopped,
        samples=[sample(0.5, 3000 * MIB, workers=(usage,))],
        notices=[text],
        limits=(Limit(name=text, value=text, source=text),),
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_output_and_names_of_tests_stay_text(text: str) -> None:
    harmless, page = page_of(named_everywhere("x")), page_of(named_everywhere(text))

    # It made no element and no attribute: the page has exactly those of a harmless run.
    assert [name for name, _ in page.elements] == [name for name, _ in harmless.elements]
    assert [list(found) for _, found in page.elements] == [list(found) for _, found in harmless.elements]
    assert hashes_of(page, "script") == hashes_of(harmless, "script")
    assert not set(page.source) & set("\x00\x1b\x9b\u2028\u2029\u202e\u2066")
    assert page.source.encode("utf-8")


def test_a_hostile_text_is_readable() -> None:
    page = page_of(named_everywhere(HOSTILE[0]))

    assert page.text.count(HOSTILE[0]) >= 10
    assert page.data["files"][0][0].startswith("</script><img src=x onerror=alert(1)>")
    assert "<img" not in page.source
    assert page.source.count("</script>") == 2


def test_colours_are_removed_and_invisible_characters_are_shown() -> None:
    bad = result("t.py", Status.FAIL, output="\x1b[1;31mred\x1b[0m \x00 \udcff\n50%\r100%\n")
    page = page_of(told(record(bad)))

    assert "red \\x00 \\xff\n100%" in page.section("failures")


def test_the_policy_allows_this_pages_own_script_and_style_alone() -> None:
    page = page_of(many_files(3))
    (policy,) = [found["content"] for found in page.named("meta") if "http-equiv" in found]

    assert policy == (
        f"default-src 'none'; style-src '{hashes_of(page, 'style')[0]}'; "
        f"script-src '{hashes_of(page, 'script')[0]}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    names = {name for _, found in page.elements for name in found}
    assert not [name for name in names if name == "style" or name.startswith("on")]
    assert [found["href"][:5] for found in page.named("link")] == ["data:"]
    assert all(found["href"].startswith("#") for found in page.named("a"))


def test_a_run_with_a_failure() -> None:
    bad = result(
        "tests/test_a.py",
        Status.FAIL,
        output="before\nassert 1 == 2\n",
        cases=(failing_case("tests/test_a.py::test_one", "E   assert 1 == 2"),),
    )
    page = page_of(told(record(bad), record(result("tests/test_b.py", at_s=1.0)), notices=["be warned"]))

    assert "1 of 2 files failed" in page.text
    failures = page.section("failures")
    assert "tests/test_a.py::test_one" in failures
    assert "before\nassert 1 == 2" in failures
    assert "test_b.py" not in failures
    assert "be warned" in page.section("notes")
    files = [row[:2] for row in page.data["files"]]
    assert files == [["tests/test_a.py", "failed"], ["tests/test_b.py", "passed"]]
    assert 'href="#file-0"' in page.section("files")
    assert {"id": "file-0", "class": "file", "open": ""} in page.named("details")


def test_a_run_without_files() -> None:
    page = page_of(told(duration_s=0.0))

    assert "No test files were run" in page.text
    assert "Nothing ran in this run." in page.section("timeline")
    assert "Not sampled" in page.section("memory")
    assert page.data["files"] == page.data["bars"] == page.data["memory"] == []


def test_a_run_without_samples_says_so_and_shows_the_known_peak() -> None:
    events = list(told(record(result("t.py"))))
    last = events[-1]
    assert isinstance(last, RunFinished)
    results = structs.replace(last.results, peak_bytes=300 * MIB)
    page = page_of([*events[:-1], structs.replace(last, results=results)])

    assert "Not sampled" in page.section("memory")
    assert "300 MiB" in page.section("memory")
    assert not page.of_class("chart")


def test_headings_are_in_order_and_every_id_is_there_once() -> None:
    page = page_of(many_files(30, machines=2, failing_every=7))
    levels = [int(name[1]) for name, _ in page.elements if name in ("h1", "h2", "h3", "h4")]
    ids = [found["id"] for _, found in page.elements if "id" in found]
    wanted = [found["href"][1:] for found in page.named("a")]
    wanted += [found["aria-labelledby"] for _, found in page.elements if "aria-labelledby" in found]

    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert len(ids) == len(set(ids))
    assert set(wanted) <= set(ids)


def test_several_machines_have_rows_and_curves_of_their_own() -> None:
    page = page_of(many_files(60, machines=3, slots=2))

    assert page.data["workers"] == ["box-01", "box-02", "box-03"]
    assert page.data["slots"] == [[0, 1]] * 3
    assert [len(curve) for curve in page.data["machines"]] == [301] * 3
    assert page.section("memory").count("<figure>") == 3
    assert "Machines</dt>" in page.section("summary")
    assert page.data["bars"][-1][6] == 2
    assert len(page.data["bars"]) == 60


def test_a_flaky_file_is_shown_with_all_attempts_and_earlier_runs() -> None:
    flaky = record(
        result("t.py", Status.FAIL, output="unlucky"),
        result("t.py", attempt=2, at_s=2.0),
        reasons=(None, RerunReason.RETRY),
    )
    passed, failed = Status.PASS, Status.FAIL
    asked: list[object] = []

    def earlier_runs(run_id: str, paths: object, or_unsteady: object) -> dict[str, tuple[EarlierRun, ...]]:
        asked.append((run_id, paths, or_unsteady))
        runs = ((passed,), (failed, passed), (failed,), (passed,))
        return {"t.py": tuple(EarlierRun(statuses=statuses) for statuses in runs)}

    page = page_of(told(flaky, record(result("ok.py"))), earlier_runs=earlier_runs)

    both = {"t.py", "ok.py"}
    assert asked == [("20261125-120000-abcdef", both, both)]
    section = page.section("flaky")
    assert "In the 4 runs before: 2 passed, 1 passed only when run again, 1 failed." in section
    assert "unlucky" in section
    assert "attempts: FAIL, PASS" in section
    assert section.count("<rect") == 4
    assert "All 2 files passed" in page.text


def test_trends_show_time_memory_and_verdicts_of_the_last_runs() -> None:
    def earlier_runs(run_id: str, paths: object, or_unsteady: object) -> dict[str, tuple[EarlierRun, ...]]:
        passed, failed = (Status.PASS,), (Status.FAIL,)
        return {
            "steady.py": (EarlierRun(statuses=passed, duration_s=0.5, peak_bytes=1 << 20),),
            "shaky.py": (
                EarlierRun(statuses=failed),  # By an older program, which recorded no times.
                EarlierRun(statuses=(*failed, *passed), duration_s=2.0, peak_bytes=4 << 20),
            ),
        }

    files = [record(result(name)) for name in ("steady.py", "shaky.py", "new.py")]
    trends = page_of(told(*files), earlier_runs=earlier_runs).section("trends")

    rows = re.findall(r"<tr><td.*?</tr>", trends, re.DOTALL)
    assert [re.findall(r"<span>(.*?)</span>", row)[0] for row in rows] == ["shaky.py", "steady.py"]
    assert re.findall(r'<td class="num">(\d*)</td>', rows[0]) == ["1", "1"]
    assert re.findall(r'<td class="num">(\d*)</td>', rows[1]) == ["", ""]
    assert re.findall(r'<rect class="is-(\w+)"', rows[0]) == ["fail", "again", "pass"]
    # From the newest run that has a time to this one, which took half of it.
    assert re.findall(r'points="(.*?)"', rows[0])[0] == "60.0,2.0 120.0,12.0"
    assert "1.0s to 2.0s" in rows[0]


def test_without_earlier_runs_there_are_no_trends() -> None:
    assert "The history has no earlier run" in page_of(told(record(result("t.py")))).section("trends")


def test_a_stopped_run_names_its_cause_and_what_did_not_run() -> None:
    never = FileAttempts(
        file=file("never.py"),
        attempts=(TestResult(file_path="never.py", status=Status.CANCELLED, error="not run: interrupted"),),
        started=False,
    )
    events = list(told(record(result("ok.py")), never))
    page = page_of([*events[:-1], RunStopping(at_s=3.0, cause=StopCause.INTERRUPT), events[-1]])

    assert "Not complete: 1 of 2 files did not run" in page.text
    assert "Stopped before all files ran: interrupted." in page.text
    assert "never started; not run: interrupted" in page.section("notes")


def test_files_that_differ_when_forked_are_the_verdict_of_the_page() -> None:
    forked = structs.replace(result("t.py"), isolation=Isolation.FORK)
    spawned = result("t.py", Status.FAIL, attempt=2, at_s=2.0)
    one = structs.replace(record(forked, spawned, reasons=(None, RerunReason.VERIFY_PASS)), verdict_attempt=0)
    results = TestResults(records=(one,), duration_s=3.0, is_verified=True)
    events = list(told(one))
    page = page_of([*events[:-1], RunFinished(at_s=3.0, results=results)])

    assert "1 file differs when forked" in page.text
    assert "PASS when forked, FAIL when spawned" in page.section("notes")


def test_regressions_are_named_and_fail_the_page_if_they_fail_the_run() -> None:
    one = record(result("t.py"))
    grown = Regression(file=one.file, measure=Measure.TIME, baseline=1.0, now=4.0)
    results = TestResults(records=(one,), duration_s=3.0, regressions=(grown,))
    *events, _ = told(one)
    for fails in (False, True):
        ended = structs.replace(results, fails_on_regression=fails)
        page = page_of([*events, RunFinished(at_s=3.0, results=ended)])

        assert ("1 file regressed ·" in page.text) is fails
        assert "time 4.0s instead of 1.0s (4.0 times)" in page.section("notes")


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("interrupted", [False, True])
def test_the_verdict_is_green_where_the_exit_status_is(status: Status, interrupted: bool) -> None:
    results = TestResults(records=(record(result("t.py", status)),), duration_s=1.0, interrupted=interrupted)

    assert (banner_of(results).look == "good") is (exit_code_of(results) is ExitCode.OK)


def test_a_page_of_very_many_files_opens() -> None:
    # Not read as a whole: Python's reader takes minutes for what a browser reads in a moment.
    page = Page(source=source_of(many_files(10_000, machines=4, failing_every=5)))
    data = json.loads(page.source.partition('id="data">')[2].partition("</script>")[0])

    assert len(page.source.encode()) < TOTAL_BYTES + 4 * MIB
    assert len(data["files"]) == len(data["bars"]) == 10_000
    assert page.section("files").count("<tr>") == FIRST_ROWS + 1
    assert page.section("failures").count('class="file"') == MAX_FILES
    assert "1,000 more files failed" in page.section("failures")
    assert "of what tests printed are cut or left out" in page.section("notes")


def test_every_text_gets_the_same_share_and_its_end_is_kept() -> None:
    few, many = OutputBudget.for_texts(2), OutputBudget.for_texts(100_000)
    text = "".join(f"line {number}\n" for number in range(50_000))

    assert (few.share_chars, many.share_chars) == (MAX_CHARS, MIN_CHARS)
    shown = many.take(text)
    assert shown.text.endswith("line 49999")
    assert "characters are left out" in shown.note
    assert MIN_CHARS / 2 < len(shown.text) <= MIN_CHARS
    assert (few.cut, many.cut) == (0, 1)


def test_a_text_beyond_the_pages_budget_is_left_out_with_a_note() -> None:
    budget = OutputBudget(share_chars=MAX_CHARS, left_bytes=100)

    assert budget.take("<" * 20).text == "<" * 20
    left_out = budget.take("<" * 20)
    assert left_out.text == ""
    assert "no more room" in left_out.note
    assert budget.cut == 1
