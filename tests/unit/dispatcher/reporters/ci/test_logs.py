"""The log of each CI: our own commands, and none that tests print."""

from __future__ import annotations

import re

import pytest

from dispatcher.reporters.ci.annotations import Annotation, AnnotationLevel
from dispatcher.reporters.ci.logs import AzureLog, BuildkiteLog, CiLog, GithubLog, GitlabLog, Section
from tests.support.actions_runner import Obeyed, Runner

TOKEN = "0123456789abcdef"
SECTION = Section(number=3, title="Output of a.py", lines=["one", "two"], started_at=10.9, ended_at=12.2)
AT_A_LINE = Annotation(
    level=AnnotationLevel.ERROR, title="T::m: a, b", message="50%\n::error::x", path="tests/a, b:c.py", line=7
)
OF_THE_RUN = Annotation(level=AnnotationLevel.WARNING, title="more", message="2 more")


def test_github_commands_are_off_except_for_our_own_lines() -> None:
    log = GithubLog(token=TOKEN)
    hostile = Section(
        number=1,
        title="Output of ::error::%0A.py",
        lines=[
            "::error::from a test",
            f"::{TOKEN[:-1]}::",
            "##[add-mask]secret",
            "::stop-commands::x",
            "::x::",
            "::endgroup::",
        ],
        started_at=0.0,
        ended_at=0.0,
    )
    text = (
        log.begin()
        + "  ::add-mask::a\n"
        + log.section(hostile)
        + "##[error]b\n"
        + log.end()
        + "::debug::after\n"
    )

    runner = Runner().read(text.splitlines())

    assert runner.obeyed == [
        Obeyed(name="group", properties={}, data="Output of ::error::%0A.py"),
        Obeyed(name="endgroup", properties={}, data=""),
        Obeyed(name="debug", properties={}, data="after"),
    ]
    assert "| ::error::from a test" in runner.log


def test_github_reads_an_annotation_back_as_it_was() -> None:
    log = GithubLog("sub/project/", token=TOKEN)
    text = log.begin() + log.annotations([AT_A_LINE, OF_THE_RUN])
    runner = Runner().read(text.splitlines())

    place = {"file": "sub/project/tests/a, b:c.py", "title": "T::m: a, b", "line": "7"}
    assert runner.obeyed == [
        Obeyed(name="error", properties=place, data="50%\n::error::x"),
        Obeyed(name="warning", properties={"title": "more"}, data="2 more"),
    ]
    assert runner.token == TOKEN, "commands are off again"


def test_github_obeys_no_warning_of_ours_that_holds_a_name() -> None:
    log = GithubLog(token=TOKEN)

    assert Runner().read([log.neutralize_warning("[WARN] tests/##[error]x.py: slow")]).obeyed == []


def test_gitlab_gets_a_collapsed_section() -> None:
    assert GitlabLog().section(SECTION) == (
        "\x1b[0Ksection_start:10:passmuster_output_3[collapsed=true]\r\x1b[0KOutput of a.py\n"
        "| one\n| two\n"
        "\x1b[0Ksection_end:12:passmuster_output_3\r\x1b[0K\n"
    )


def test_buildkite_gets_a_closed_group_and_an_open_one_for_what_follows() -> None:
    assert BuildkiteLog().section(SECTION) == "--- Output of a.py\n| one\n| two\n+++ Passmuster\n"


def test_buildkite_does_not_mistake_a_path_for_a_header() -> None:
    rule = "-" * 40

    inert = BuildkiteLog().neutralize(f"--- a.py\n+++ b.py\n~~~ c.py\n^^^ +++\n{rule}\n  --- d.py\n---e.py\n")

    assert inert == f"\\--- a.py\n\\+++ b.py\n\\~~~ c.py\n\\^^^ +++\n{rule}\n  --- d.py\n---e.py\n"


def test_azure_gets_a_group_and_issues() -> None:
    log = AzureLog("sub/")
    assert log.section(SECTION) == "##[group]Output of a.py\n| one\n| two\n##[endgroup]\n"

    odd = Annotation(
        level=AnnotationLevel.ERROR, title="t[0]; x", message="100% %0A\nb", path="a]b;c.py", line=7
    )
    assert log.annotations([odd, OF_THE_RUN]) == (
        "##vso[task.logissue type=error;sourcepath=sub/a%5Db%3Bc.py;linenumber=7;]"
        "t[0%5D%3B x: 100% %AZP250A%0Ab\n"
        "##vso[task.logissue type=warning;]more: 2 more\n"
    )


def test_azure_obeys_nothing_that_tests_print() -> None:
    log = AzureLog()
    hostile = "x ##vso[task.setvariable variable=a]b"
    section = Section(number=1, title=hostile, lines=[hostile, "##[endgroup]"], started_at=0.0, ended_at=0.0)

    text = log.section(section) + log.neutralize(f"      {hostile}\n##[error]path.py\n")

    assert "##vso[" not in text
    assert [line for line in text.splitlines() if line.startswith("##[")] == [
        f"##[group]{hostile.replace('##vso[', '##vso' + chr(92) + '[')}",
        "##[endgroup]",
    ]


@pytest.mark.parametrize("log", [GithubLog(token=TOKEN), GitlabLog(), BuildkiteLog(), AzureLog()])
def test_the_margin_hides_tracebacks_from_problem_matchers(log: CiLog) -> None:
    # As actions/setup-python installs it.
    matcher = re.compile(r"^\s*File\s\"(.*)\",\sline\s(\d+),\sin\s(.*)$")
    lines = ['  File "/a.py", line 1, in x', "    raise ValueError('x')"]
    section = Section(number=1, title="t", lines=lines, started_at=0.0, ended_at=0.0)

    assert not any(matcher.match(line) for line in log.section(section).splitlines())


@pytest.mark.parametrize("log", [GitlabLog(), BuildkiteLog(), AzureLog()])
def test_ordinary_lines_stay_as_they_are(log: CiLog) -> None:
    text = "[INFO] Running: tests/a.py\n      ::error::x\n" + "-" * 40 + "\n"

    assert log.neutralize(text) == text == GithubLog(token=TOKEN).neutralize(text)
    assert log.begin() == log.end() == ""
