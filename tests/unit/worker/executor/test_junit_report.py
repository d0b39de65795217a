"""The report that a project's own command wrote: what is taken from it, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from passmuster.model.result import CaseResult
from passmuster.model.status import Outcome
from worker.executor import junit_report
from worker.executor.junit_report import JunitReport, read_junit


def report_of(folder: Path, text: str) -> JunitReport:
    path = folder / "report.xml"
    path.write_text(text, encoding="utf-8")
    found = read_junit(path)
    assert found is not None
    return found


def test_every_kind_of_case_is_read_with_its_duration_and_message(tmp_path: Path) -> None:
    found = report_of(
        tmp_path,
        """<?xml version="1.0" encoding="utf-8"?>
        <testsuites><testsuite name="s" tests="6" failures="1" errors="1">
        <properties><property name="failure" value="1"/></properties>
        <testcase classname="app.T" name="good" time="1,000.5"><system-out>x</system-out></testcase>
        <testcase classname="app.T" name="bad"><failure message="boom">trace &lt;1&gt;
boom</failure><error message="and more"/></testcase>
        <testcase name="bare"><failure message="only"/></testcase>
        <testcase classname="app.T" name="left" time="nan"><skipped message="why"/></testcase>
        <testcase classname="app.T" name="known"><skipped type="pytest.xfail" message="later"/></testcase>
        <testcase/>
        </testsuite></testsuites>""",
    )

    assert found.problem == ""
    assert found.failures == 2
    assert found.cases == (
        CaseResult(case_id="app.T.good", outcome=Outcome.PASSED, seconds=1000.5),
        CaseResult(case_id="app.T.bad", outcome=Outcome.ERROR, message="and more"),
        CaseResult(case_id="bare", outcome=Outcome.FAILED, message="only"),
        CaseResult(case_id="app.T.left", outcome=Outcome.SKIPPED, message="why"),
        CaseResult(case_id="app.T.known", outcome=Outcome.XFAILED, message="later"),
        CaseResult(case_id="(no name)", outcome=Outcome.PASSED),
    )


def test_a_failure_includes_its_message_and_text(tmp_path: Path) -> None:
    text = "<testsuite><testcase name='a'><failure message='m'>t1\nt2\n</failure></testcase></testsuite>"

    assert report_of(tmp_path, text).cases[0].message == "m\nt1\nt2"


def test_namespaces_are_ignored(tmp_path: Path) -> None:
    text = "<testsuite xmlns='urn:x'><testcase name='a'><failure/></testcase></testsuite>"

    assert report_of(tmp_path, text).cases[0].outcome is Outcome.FAILED


def test_no_file_is_no_report_and_an_empty_suite_is_one_without_tests(tmp_path: Path) -> None:
    assert read_junit(tmp_path / "none.xml") is None
    assert report_of(tmp_path, "<testsuites/>") == JunitReport()


BOMB = (
    "<!DOCTYPE testsuite [<!ENTITY a 'aaaaaaaaaa'>"
    + "".join(f"<!ENTITY {new} '{f'&{old};' * 10}'>" for old, new in zip("abcdefgh", "bcdefghi", strict=True))
    + "]><testsuite name='&i;'/>"
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "damaged"),
        ("<testsuite><testcase name='a'>", "damaged"),
        ("not xml", "damaged"),
        ("<html/>", "expected testsuites or testsuite, got 'html'"),
        ("<?xml version='1.0' encoding='klingon'?><testsuite/>", "damaged"),
        ("<testsuite>&nope;</testsuite>", "damaged"),
        ("<!DOCTYPE testsuite SYSTEM 'file:///etc/passwd'><testsuite/>", "document type"),
        (BOMB, "document type"),
    ],
)
def test_an_invalid_report_is_a_one_line_problem_and_its_cases_do_not_count(
    tmp_path: Path, text: str, said: str
) -> None:
    found = report_of(tmp_path, text)

    assert said in found.problem
    assert "\n" not in found.problem
    assert found.cases == ()


def test_a_report_that_is_not_utf_8_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "report.xml"
    path.write_bytes(b"<testsuite name='\xff\xfe'/>")

    found = read_junit(path)

    assert found is not None
    assert "damaged" in found.problem


def test_only_a_regular_file_of_bounded_size_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(junit_report, "MAX_REPORT_BYTES", 10)
    large, pipe, link, folder = (tmp_path / name for name in ("large", "pipe", "link", "folder"))
    large.write_text("<testsuite/>", encoding="utf-8")
    os.mkfifo(pipe)
    link.symlink_to("/dev/zero")
    folder.mkdir()

    found = [read_junit(path) for path in (large, pipe, link, folder)]

    assert all(one is not None and one.problem for one in found)


def test_a_link_is_not_followed_to_another_report(tmp_path: Path) -> None:
    (tmp_path / "other.xml").write_text("<testsuite/>", encoding="utf-8")
    (tmp_path / "link.xml").symlink_to("other.xml")

    found = read_junit(tmp_path / "link.xml")

    assert found is not None
    assert "cannot be read" in found.problem


def test_the_numbers_of_cases_and_characters_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(junit_report, "CASES_LIMIT", 2)
    monkeypatch.setattr(junit_report, "MAX_MESSAGE_CHARS", 20)
    case = f"<testcase name='a'><failure message='{'m' * 100}'>{'t' * 1000}</failure></testcase>"

    found = report_of(tmp_path, f"<testsuite failures='3'>{case * 3}</testsuite>")

    assert [len(one.message) for one in found.cases] == [20, 20]
    assert found.failures == 3
