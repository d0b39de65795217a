"""The JUnit report is well-formed, adds up, and is never greener than the run."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dispatcher.model.events import RunFinished, RunStarted
from dispatcher.model.plan import RunPlan, TestFile
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.model.results import FileAttempts, TestResults
from dispatcher.reporters.junit import JunitReporter
from dispatcher.reporters.junit_model import OUTPUT_CHARS, split_case_id, suite_element
from passmuster.model.errors import ConfigurationError, InfrastructureError
from passmuster.model.result import HOLDS_NO_TESTS, CaseResult, TestResult
from passmuster.model.status import Isolation, Outcome, Status, StopReason


def case(case_id: str, outcome: Outcome = Outcome.PASSED, message: str = "") -> CaseResult:
    return CaseResult(case_id=case_id, outcome=outcome, seconds=0.25, message=message)


def attempt(
    status: Status, *cases: CaseResult, number: int = 1, output: str = "", error: str = "", stacks: str = ""
) -> TestResult:
    return TestResult(
        file_path="t.py",
        status=status,
        cases=cases,
        attempt=number,
        output=output,
        error=error,
        stacks=stacks,
        duration=2.0,
        started_at=86400.0,
        peak_bytes=1024,
        cpu_s=1.5,
        worker="box-1",
    )


def record(*attempts: TestResult, path: str = "t.py") -> FileAttempts:
    return FileAttempts(file=TestFile(path=path, label=path), attempts=attempts)


def written(path: Path, *records: FileAttempts, is_verified: bool = False) -> ElementTree.Element:
    reporter = JunitReporter(path)
    reporter.handle(RunStarted(at_s=0, started_at=86400.0, plan=RunPlan(run_id="r1", files=()), limits=()))
    results = TestResults(records=records, duration_s=3.0, is_verified=is_verified)
    reporter.handle(RunFinished(at_s=3, results=results))
    reporter.close()
    return ElementTree.fromstring(path.read_bytes())


def assert_totals_are_right(root: ElementTree.Element) -> None:
    for element in (root, *root.iter("testsuite")):
        cases = list(element.iter("testcase"))
        assert element.get("tests") == str(len(cases))
        for attribute, name in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert element.get(attribute) == str(sum(found.find(name) is not None for found in cases))


def test_the_whole_report_of_one_failed_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "report.xml"
    failed = attempt(
        Status.FAIL,
        case("tests/t.py::T::ok[a.b::c]"),
        case("mod.T.bad", Outcome.FAILED, "\nAssertionError: 1 < 2\nmore & more"),
        case("mod.T.later", Outcome.SKIPPED, "not today"),
        output='\x1b[31mred\x1b[0m " ]]> \x00 \ud800 \uffff <end>\n',
    )
    root = written(path, record(failed))
    assert_totals_are_right(root)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines == [
        '<?xml version="1.0" encoding="UTF-8"?>',
        (
            '<testsuites name="passmuster" id="r1" tests="3" failures="1" errors="0" skipped="1" '
            'time="3.000" timestamp="1970-01-02T00:00:00">'
        ),
        (
            '<testsuite name="t.py" file="t.py" tests="3" failures="1" errors="0" skipped="1" time="2.000" '
            'timestamp="1970-01-02T00:00:00" hostname="box-1">'
        ),
        "<properties>",
        '<property name="status" value="FAIL" />',
        '<property name="attempt" value="1" />',
        '<property name="runner" value="auto" />',
        '<property name="isolation" value="spawn" />',
        '<property name="peak_bytes" value="1024" />',
        '<property name="cpu_s" value="1.500" />',
        '<property name="worker" value="box-1" />',
        "</properties>",
        '<testcase classname="tests.t.T" name="ok[a.b::c]" file="t.py" time="0.250" />',
        '<testcase classname="mod.T" name="bad" file="t.py" time="0.250">',
        '<failure type="failed" message="AssertionError: 1 &lt; 2">',
        "AssertionError: 1 &lt; 2",
        "more &amp; more</failure>",
        "</testcase>",
        '<testcase classname="mod.T" name="later" file="t.py" time="0.250">',
        '<skipped type="skipped" message="not today" />',
        "</testcase>",
        '<system-out>red " ]]&gt; \\x00 \\ud800 \\uffff &lt;end&gt;',
        "</system-out>",
        "</testsuite>",
        "</testsuites>",
    ]
    assert [entry.name for entry in path.parent.iterdir()] == ["report.xml"]


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("has_cases", [False, True])
def test_every_status_is_as_red_as_the_run(tmp_path: Path, status: Status, has_cases: bool) -> None:
    cases = (case("T.one"),) if has_cases else ()
    root = written(tmp_path / "j.xml", record(attempt(status, *cases, error="because", stacks="Thread 1")))
    assert_totals_are_right(root)
    bad = [*root.iter("failure"), *root.iter("error")]
    if status is Status.PASS:
        assert bad == []
        assert root.get("tests") == "1"
        return
    (element,) = bad
    assert element.tag == ("failure" if status is Status.FAIL and not has_cases else "error")
    assert element.get("type") == status.value
    assert element.get("message") == "because"
    assert element.text == "Thread 1"
    assert root.get("tests") == str(len(cases) + 1)


def test_a_file_that_failed_in_its_cases_gets_no_further_element(tmp_path: Path) -> None:
    root = written(tmp_path / "j.xml", record(attempt(Status.FAIL, case("T.x", Outcome.ERROR, "no fixture"))))
    assert_totals_are_right(root)
    assert (root.get("tests"), root.get("errors"), root.get("failures")) == ("1", "1", "0")


def test_a_file_that_could_not_be_loaded_is_one_error_with_its_name(tmp_path: Path) -> None:
    reported = case("t.py", Outcome.ERROR, "E   ModuleNotFoundError: No module named 'nope'")
    root = written(tmp_path / "j.xml", record(attempt(Status.COLLECT_ERROR, reported, error="No module")))
    assert_totals_are_right(root)
    assert (root.get("tests"), root.get("errors"), root.get("failures")) == ("1", "1", "0")
    (found,) = root.iter("testcase")
    assert (found.get("classname"), found.get("name")) == ("t.py", "t.py")


def test_the_message_of_a_failure_says_what_went_wrong_and_its_text_is_whole(tmp_path: Path) -> None:
    message = "def test_1():\n>       assert n < 2\nE       assert 3 < 2\n\ntests/t.py:5: AssertionError"
    root = written(tmp_path / "j.xml", record(attempt(Status.FAIL, case("t.py::x", Outcome.FAILED, message))))
    (failure,) = root.iter("failure")
    assert (failure.get("message"), failure.text) == ("assert 3 < 2", message)


def test_a_timeout_is_an_error_beside_the_cases_that_failed_before_it(tmp_path: Path) -> None:
    root = written(tmp_path / "j.xml", record(attempt(Status.TIMEOUT, case("T.x", Outcome.FAILED, "m"))))
    assert_totals_are_right(root)
    assert (root.get("tests"), root.get("errors"), root.get("failures")) == ("2", "1", "1")


def test_a_flaky_case_is_green_and_holds_what_went_wrong_before(tmp_path: Path) -> None:
    first = attempt(Status.FAIL, case("m.T.x", Outcome.FAILED, "AssertionError: once\ntrace"), error="exit 1")
    root = written(tmp_path / "j.xml", record(first, attempt(Status.PASS, case("m.T.x"), number=2)))
    assert_totals_are_right(root)
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("1", "0", "0")
    (flaky,) = root.iter("flakyFailure")
    assert (flaky.get("type"), flaky.get("message")) == ("failed", "AssertionError: once")
    assert flaky.findtext("stackTrace") == "AssertionError: once\ntrace"
    assert root.find("testsuite/properties/property[@name='attempt.1']") is not None


def test_a_flaky_file_without_cases_and_one_that_crashed_say_so_for_the_file(tmp_path: Path) -> None:
    plain = record(attempt(Status.FAIL, output="boom"), attempt(Status.PASS, number=2), path="a.py")
    crashed = record(
        attempt(Status.CRASH, case("T.x"), error="signal 11"),
        attempt(Status.PASS, case("T.x"), number=2),
        path="b.py",
    )
    root = written(tmp_path / "j.xml", plain, crashed)
    assert_totals_are_right(root)
    assert [found.get("message") for found in root.iter("flakyFailure")] == ["boom"]
    assert [found.get("message") for found in root.iter("flakyError")] == ["signal 11"]
    assert (root.get("failures"), root.get("errors")) == ("0", "0")


def test_a_case_that_failed_every_time_is_one_failure_with_its_reruns(tmp_path: Path) -> None:
    bad = case("m.T.x", Outcome.FAILED, "always")
    attempts = (attempt(Status.FAIL, bad), attempt(Status.FAIL, bad, number=2))
    root = written(tmp_path / "j.xml", record(*attempts))
    assert_totals_are_right(root)
    assert len(list(root.iter("failure"))) == len(list(root.iter("rerunFailure"))) == 1


def test_an_evicted_attempt_does_not_make_a_file_flaky(tmp_path: Path) -> None:
    evicted = TestResult(file_path="t.py", status=Status.MEMORY, stop_reason=StopReason.MEMORY_BUDGET)
    root = written(tmp_path / "j.xml", record(evicted, attempt(Status.PASS, number=2)))
    assert list(root.iter("flakyError")) == []
    assert root.get("tests") == "1"


TEXT = st.text(alphabet=st.characters(), max_size=40)
CASES = st.lists(st.builds(case, TEXT, st.sampled_from(Outcome), TEXT), max_size=4).map(tuple)
ATTEMPTS = st.builds(
    lambda status, cases, output, error: attempt(status, *cases, output=output, error=error),
    st.sampled_from(Status),
    CASES,
    TEXT,
    TEXT,
)


@settings(max_examples=150)
@given(
    records=st.lists(
        st.builds(
            lambda path, tries: record(*tries, path=path), TEXT, st.lists(ATTEMPTS, min_size=1, max_size=3)
        )
    )
)
def test_any_run_gives_xml_that_parses_adds_up_and_is_not_greener_than_its_status(
    tmp_path_factory: pytest.TempPathFactory, records: list[FileAttempts]
) -> None:
    root = written(tmp_path_factory.mktemp("junit") / "j.xml", *records)
    assert_totals_are_right(root)
    assert len(root.findall("testsuite")) == len(records)
    for found in records:
        suite = suite_element(found)
        assert list(suite.iter("testcase"))
        assert found.status.is_pass or (suite.get("failures"), suite.get("errors")) != ("0", "0")


@pytest.mark.parametrize(
    ("case_id", "expected"),
    [
        ("mod.Class.test", ("mod.Class", "test")),
        ("mod.Class.test (i=1.5)", ("mod.Class", "test (i=1.5)")),
        ("tests/a.py::test", ("tests.a", "test")),
        ("tests/a.py::C::test[x/y::z.py]", ("tests.a.C", "test[x/y::z.py]")),
        ("lonely", ("", "lonely")),
        ("tests/a.py", ("", "tests/a.py")),
        ("", ("", "")),
    ],
)
def test_ids_are_split_as_dashboards_group_them(case_id: str, expected: tuple[str, str]) -> None:
    assert split_case_id(case_id) == expected


def test_output_is_bounded() -> None:
    suite = suite_element(record(attempt(Status.FAIL, output="x" * (OUTPUT_CHARS * 2))))
    assert len(suite.findtext("system-out", "")) == OUTPUT_CHARS


def test_the_old_report_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "j.xml"
    path.write_text("old")
    reporter = JunitReporter(path)
    reporter.handle(RunStarted(at_s=0, started_at=0, plan=RunPlan(run_id="r1", files=()), limits=()))
    reporter.close()
    assert path.read_text() == "old"


def test_a_link_to_a_report_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.xml").write_text("old")
    link = tmp_path / "link.xml"
    link.symlink_to("real.xml")
    written(link, record(attempt(Status.PASS)))
    assert link.is_symlink()
    assert (tmp_path / "real.xml").read_text().startswith("<?xml")


def test_a_path_that_cannot_be_written_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="it is a directory"):
        JunitReporter(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="--junit-xml"):
        JunitReporter(tmp_path / "file" / "j.xml")


def test_a_full_disk_is_one_clear_line() -> None:
    reporter = JunitReporter(Path("/dev/full"))
    with pytest.raises(InfrastructureError, match="No space left on device"):
        reporter.handle(
            RunFinished(at_s=1, results=TestResults(records=(record(attempt(Status.PASS)),), duration_s=1))
        )


def forked(status: Status, *cases: CaseResult) -> TestResult:
    return replace(attempt(status, *cases), isolation=Isolation.FORK, isolation_note="warm")


def test_how_a_file_ran_and_what_was_found_are_properties(tmp_path: Path) -> None:
    crowded = FileAttempts(
        file=TestFile(path="t.py", label="t.py"),
        attempts=(forked(Status.FAIL), attempt(Status.FAIL, number=2), attempt(Status.PASS, number=3)),
        reasons=(None, RerunReason.VERIFY_FAILURE, RerunReason.EXCLUSIVE),
    )
    root = written(tmp_path / "r.xml", crowded)

    properties = {one.get("name"): one.get("value") for one in root.iter("property")}
    assert (properties["isolation"], properties["finding"]) == ("spawn", "fails-in-parallel")
    assert (properties["attempt.1"], properties["attempt.2"]) == ("FAIL", "FAIL")
    assert [len(list(root.iter(name))) for name in ("flakyFailure", "failure")] == [2, 0]


@pytest.mark.parametrize("number", [0, 1])
def test_a_file_that_fails_when_forked_passes_without_a_mark(tmp_path: Path, number: int) -> None:
    final = attempt(Status.PASS, *[case("T.x")] * number, number=3)
    guilty = FileAttempts(
        file=TestFile(path="t.py", label="t.py"),
        attempts=(forked(Status.FAIL), attempt(Status.PASS, number=2), final, forked(Status.FAIL)),
        reasons=(None, RerunReason.VERIFY_FAILURE, RerunReason.RECHECK, RerunReason.REFORK),
        verdict_attempt=2,
    )

    root = written(tmp_path / "r.xml", guilty)

    assert [len(list(root.iter(name))) for name in ("flakyFailure", "failure", "error")] == [0, 0, 0]
    assert [one.get("value") for one in root.iter("property") if one.get("name") == "finding"] == [
        "fails-when-forked"
    ]


def test_a_flaky_file_that_did_not_pass_is_red_and_marked_as_flaky(tmp_path: Path) -> None:
    flaky = FileAttempts(
        file=TestFile(path="t.py", label="t.py"),
        attempts=(
            forked(Status.FAIL, case("T.x", Outcome.FAILED, "boom"), case("T.y")),
            attempt(Status.PASS, number=2),
            attempt(Status.PASS, number=3),
            forked(Status.PASS),
        ),
        reasons=(None, RerunReason.VERIFY_FAILURE, RerunReason.RECHECK, RerunReason.REFORK),
        verdict_attempt=0,
    )

    root = written(tmp_path / "r.xml", flaky)

    assert_totals_are_right(root)
    red = [one for one in root.iter("testcase") if one.find("failure") is not None]
    assert [one.get("name") for one in red] == ["x"]
    mark = red[0].find("flakyFailure")
    assert mark is not None
    assert str(mark.get("message")).startswith("failed in attempt 1, the file passed in attempt 2")
    assert ("flaky", "true") in [(one.get("name"), one.get("value")) for one in root.iter("property")]


def test_a_verified_pass_is_reported_as_the_forked_attempt(tmp_path: Path) -> None:
    confirmed = FileAttempts(
        file=TestFile(path="t.py", label="t.py"),
        attempts=(forked(Status.PASS), attempt(Status.PASS, number=2)),
        reasons=(None, RerunReason.VERIFY_PASS),
        verdict_attempt=0,
    )
    root = written(tmp_path / "r.xml", confirmed)

    properties = {one.get("name"): one.get("value") for one in root.iter("property")}
    assert (properties["isolation"], properties["isolation_note"]) == ("fork", "warm")
    assert (properties["attempt"], properties["finding"]) == ("1", "verified")


@pytest.mark.parametrize(("is_verified", "failures"), [(True, "1"), (False, "0")])
def test_a_difference_is_a_failure_if_the_run_verifies_forking(
    tmp_path: Path, is_verified: bool, failures: str
) -> None:
    differing = FileAttempts(
        file=TestFile(path="t.py", label="t.py"),
        attempts=(forked(Status.PASS, case("T.a")), attempt(Status.PASS, case("T.a"), case("T.b"), number=2)),
        reasons=(None, RerunReason.VERIFY_PASS),
        verdict_attempt=0,
    )
    root = written(tmp_path / "r.xml", differing, is_verified=is_verified)

    assert root.get("failures") == failures
    assert_totals_are_right(root)
    assert [one.get("message") for one in root.iter("failure")] == [
        "T.b: ran only when spawned"
    ] * is_verified


@pytest.mark.parametrize("note", ["all 3 test(s) deselected", HOLDS_NO_TESTS])
def test_a_file_that_ran_no_test_is_skipped_with_the_reason(tmp_path: Path, note: str) -> None:
    root = written(tmp_path / "report.xml", record(replace(attempt(Status.PASS), note=note)))

    assert_totals_are_right(root)
    (found,) = root.iter("testcase")
    skipped = found.find("skipped")
    assert skipped is not None
    assert skipped.get("message") == note
    assert root.get("skipped") == "1"


def test_a_suite_names_the_interpreter_where_it_is_known(tmp_path: Path) -> None:
    known = record(replace(attempt(Status.PASS, case("T.a")), interpreter="CPython 3.11.7"))
    unknown = record(attempt(Status.PASS, case("T.a")))

    properties = [
        [
            one.get("value")
            for one in written(tmp_path / "r.xml", found).iter("property")
            if one.get("name") == "interpreter"
        ]
        for found in (known, unknown)
    ]

    assert properties == [["CPython 3.11.7"], []]
