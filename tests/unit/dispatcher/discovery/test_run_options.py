"""What a run does with pytest's options that mean a whole run: honours each once, or names it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from msgspec import structs

from dispatcher.config.model import TestConfig
from dispatcher.discovery.run_options import NOT_HONOURED, OptionValue, ProjectOption, take_over

REPOSITORY = Path(__file__).resolve().parents[4]
PLAIN = TestConfig(root=Path("/project"))
WORKDIR = Path("/project")


def option(name: str, value: OptionValue, source: str = "/project/pytest.ini") -> ProjectOption:
    return ProjectOption(name=name, value=value, source=source)


def test_a_junit_report_is_written_once_by_the_run() -> None:
    config, lines = take_over(PLAIN, [option("xmlpath", "out/report.xml")], workdir=WORKDIR)

    assert config.junit_xml == Path("/project/out/report.xml")
    assert lines == ()


def test_the_users_own_report_wins() -> None:
    mine = TestConfig(root=Path("/project"), junit_xml=Path("/mine.xml"), max_fail=5)

    config, lines = take_over(mine, [option("xmlpath", "a.xml"), option("maxfail", 1)], workdir=WORKDIR)

    assert config == mine
    assert "is not honoured: the report goes to /mine.xml, as --junit-xml says" in lines[0]
    assert "for the run --max-fail says 5" in lines[1]


def test_a_run_that_is_joined_says_that_it_writes_no_report() -> None:
    config, [line] = take_over(PLAIN, [option("xmlpath", "a.xml")], workdir=WORKDIR, writes_reports=False)

    assert config.junit_xml is None
    assert line.endswith("is not honoured: --junit-xml writes a report of the run")


@pytest.mark.parametrize("count", [1, 3])
def test_the_run_stops_after_as_many_failed_files_as_a_session_after_tests(count: int) -> None:
    config, [line] = take_over(PLAIN, [option("maxfail", count, "PYTEST_ADDOPTS")], workdir=WORKDIR)

    assert config.max_fail == count
    assert line.startswith(f"pytest's --maxfail={count} (from PYTEST_ADDOPTS) holds within a file, and")


def test_an_option_that_sets_no_limit_is_not_mentioned() -> None:
    mine = structs.replace(PLAIN, max_fail=1)

    assert take_over(mine, [option("maxfail", 0)], workdir=WORKDIR) == (mine, ())


@pytest.mark.parametrize("name", NOT_HONOURED)
def test_what_is_not_honoured_is_named_with_what_to_use_instead(name: str) -> None:
    config, [line] = take_over(PLAIN, [option(name, 2)], workdir=WORKDIR)

    assert config == PLAIN
    assert line.startswith(f"pytest's {NOT_HONOURED[name][0]} (from /project/pytest.ini) is not honoured: ")


def test_options_with_one_reason_share_a_line() -> None:
    options = [option("htmlpath", "a.html"), option("lf", value=True), option("report_log", "a.json")]

    _, lines = take_over(PLAIN, options, workdir=WORKDIR)

    assert [line.partition(":")[0] for line in lines] == [
        "pytest's --html, --report-log (from /project/pytest.ini) are not honoured",
        "pytest's --lf (from /project/pytest.ini) is not honoured",
    ]


def test_other_options_are_the_files_own_and_not_named() -> None:
    options = [option("verbose", 1), option("plugins", "no:doctest"), option("strict_markers", value=True)]

    assert take_over(PLAIN, options, workdir=WORKDIR) == (PLAIN, ())


def test_every_option_that_a_files_session_does_not_get_is_one_that_the_run_takes_over() -> None:
    path = REPOSITORY / "worker/child/passmuster_child_options.py"
    spec = importlib.util.spec_from_file_location("passmuster_child_options", path)
    assert spec is not None
    assert spec.loader is not None
    child = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(child)

    # Set by another option, or only of use beside one.
    silent = {"dist", "tx", "no_cov", "stepwise_reset"}
    taken = (child.FOR_A_RUN.keys() | child.FOR_A_PROCESS.keys()) - silent
    assert taken == (NOT_HONOURED.keys() | {"xmlpath"}) - {"cov_source"}
