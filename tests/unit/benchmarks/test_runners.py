"""Which command each runner is, where it applies, and that no variant of ours sees another's history."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.bed import our_runners
from benchmarks.bed.file_runners import FILE_RUNNERS
from benchmarks.bed.model import BedSuite, Counts, Kind, SuiteDefinition
from benchmarks.bed.our_runners import OUR_RUNNERS, Ours
from benchmarks.bed.pooled_runners import POOLED_RUNNERS
from benchmarks.bed.runner import Job
from benchmarks.bed.suites import SUITES

ALL = {runner.name: runner for runner in (*FILE_RUNNERS, *POOLED_RUNNERS, *OUR_RUNNERS)}


@pytest.fixture
def job(tmp_path: Path) -> Job:
    for name in ("root", "work", "state"):
        (tmp_path / name).mkdir()
    definition = SuiteDefinition(
        name="small", kind=Kind.PYTEST, own_package="shop", pytest_options=("-p", "timeout")
    )
    suite = BedSuite(
        definition=definition,
        root=tmp_path / "root",
        interpreter=Path("/env/bin/python"),
        files=("tests/test_a.py", "tests/test_b.py"),
    )
    return Job(suite=suite, work=tmp_path / "work", state=tmp_path / "state", cores=2)


def test_names_are_unique() -> None:
    assert len(ALL) == len(FILE_RUNNERS) + len(POOLED_RUNNERS) + len(OUR_RUNNERS)


def test_peers_get_as_many_workers_as_there_are_cores(job: Job) -> None:
    python = "/env/bin/python"
    files = ["tests/test_a.py", "tests/test_b.py"]

    assert ALL["xdist-worksteal"].command(job) == [
        *(python, "-m", "pytest", "-p", "xdist", "-n2", "--dist", "worksteal"),
        *files,
    ]
    assert ALL["xargs"].command(job)[3:] == ["-P2", "-n1", python, "-m", "pytest"]
    assert (job.work / "files.txt").read_text().split() == files
    assert ALL["rstest"].command(job)[0] == "/env/bin/rstest"


def test_pytest_is_given_the_folder_where_that_means_the_same(job: Job) -> None:
    definition = replace(job.suite.definition, discovery="tests")
    whole = replace(job, suite=replace(job.suite, definition=definition))

    for name in ("pytest", "rstest", "pytest-isolated"):
        assert ALL[name].command(whole)[-1] == "tests"
        assert ALL[name].command(job)[-2:] == ["tests/test_a.py", "tests/test_b.py"]


def test_pytest_fast_gets_files_and_plugins_by_the_variable(job: Job) -> None:
    runner = ALL["pytest-fast"]

    assert runner.command(job) == ["/env/bin/python", "-m", "pytest_fast", "--workers", "2"]
    words = runner.variables(job)["PYTEST_ADDOPTS"].split()
    assert words[:6] == ["-p", "timeout", "-p", "xdist", "-p", "pytest_fast"]
    assert words[-2:] == ["tests/test_a.py", "tests/test_b.py"]


def test_no_plugin_loads_that_nobody_asked_for(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "-x")
    environment = job.environment()

    assert environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] == "1"
    assert environment["PYTEST_ADDOPTS"] == "-p timeout"


@pytest.mark.parametrize(
    ("kind", "applies"),
    [
        (Kind.PYTEST, {"unlimited", "pytest", "xdist-loadfile", "pytest-zygote", "rstest", "ours-plain"}),
        (Kind.SCRIPT, {"unlimited", "unittest", "unittest-parallel", "stestr", "ours-plain"}),
    ],
)
def test_runners_say_no_to_the_other_kind_of_suite(job: Job, kind: Kind, applies: set[str]) -> None:
    suite = replace(job.suite.definition, kind=kind, discovery="tests")
    asked = applies | {"pytest", "rstest", "unittest", "stestr", "regrtest", "coverage-append"}

    assert {name for name in asked if not ALL[name].why_not(suite)} == applies


def test_a_thousand_pytests_at_once_are_not_started() -> None:
    unlimited = ALL["unlimited"]

    assert unlimited.why_not(SUITES["trivial-pytest-1000"].definition).startswith("1,000 pytest processes")
    assert unlimited.why_not(SUITES["trivial-pytest"].definition) == ""


def test_a_suite_may_refuse_a_runner_with_a_reason(job: Job) -> None:
    suite = replace(job.suite.definition, refused=(("rstest", "it stops"),))

    assert [ALL[name].why_not(suite) for name in ("rstest-fork-pool", "pytest")] == ["it stops", ""]


def test_ours_says_which_option_this_version_lacks(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(our_runners, "our_help", lambda: "  --isolation auto|fork|spawn")

    suite = job.suite.definition

    assert ALL["ours-fork"].why_not(suite) == ""
    assert ALL["ours-auto-preload"].why_not(suite) == "this version of ours has no --preload"
    assert "no package" in ALL["ours-auto-preload"].why_not(replace(suite, own_package=None))


def test_history_is_there_for_its_own_variant_alone(job: Job) -> None:
    place = job.suite.root / ".passmuster"
    mine = Ours("ours-x", (), with_history=True)

    mine.command(job)
    place.mkdir()
    (place / "history").write_text("mine")
    mine.clean_up(job)
    assert not place.exists()

    mine.command(job)
    assert (place / "history").read_text() == "mine"
    mine.clean_up(job)


def test_a_first_run_finds_no_history_and_leaves_none(job: Job) -> None:
    place = job.suite.root / ".passmuster"
    place.mkdir()
    first = Ours("ours-x-first", (), with_history=False)

    command = first.command(job)
    assert not place.exists()
    assert "--strict-args" in command

    place.mkdir()
    first.clean_up(job)
    assert not place.exists()
    assert list(job.state.iterdir()) == []


def test_without_events_the_outcome_is_what_was_printed(job: Job) -> None:
    job.log.write_text("error: unknown argument --isolation\n")

    verdict = ALL["ours-plain"].verdict(job)

    assert (verdict.total, verdict.problem) == (Counts(), "error: unknown argument --isolation")
