"""Files in parts: with every way to run them, they are the files that they are as a whole."""

from __future__ import annotations

import json
import signal
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.support.outcome import Outcome
from tests.e2e.support.processes import wait_until
from tests.e2e.support.project import Project
from tests.support.pytest_environment import PYTEST_ENVIRONMENT

LIBRARY = """
def one():
    return 1

def two():
    return 2
"""
PLAIN = """
import pytest
import library

@pytest.fixture(scope="module")
def base():
    return library.one()

def test_one(base): assert base == 1
@pytest.mark.parametrize("value", [1, 2])
def test_each(value): pass
class TestTwo:
    def test_two(self): assert library.two() == 2
    @pytest.mark.skip(reason="not today")
    def test_skipped(self): pass
"""
UNITS = """
import unittest

class First(unittest.TestCase):
    def test_a(self): pass
class Second(unittest.TestCase):
    def test_b(self): pass
    @unittest.expectedFailure
    def test_c(self): self.fail()
"""
DEPENDENT = """
seen = []
def test_first(): seen.append(1)
def test_second(): assert seen
"""
CHANGING = """
import os
import pytest

@pytest.mark.parametrize("value", ["first", "x%d" % os.getpid(), "last"])
def test_it(value): pass
"""
WAITING = """
import time
from pathlib import Path

def note(name):
    with open("ran.txt", "a") as file:
        file.write(name + "\\n")

def test_first():
    note("first")

def test_second():
    note("second")
    while not Path("gate").exists():
        time.sleep(0.02)
"""
FILES = {
    "pyproject.toml": "[tool.pytest.ini_options]\npythonpath = '.'\n[tool.coverage.run]\nbranch = true\n",
    "library.py": LIBRARY,
    "tests/test_plain.py": PLAIN,
    "tests/test_units.py": UNITS,
}
FORCE = ("--split", "force", "--jobs", "2")


@pytest.fixture
def project(project: Project) -> Project:
    """A pytest project."""
    project.python_home = PYTEST_ENVIRONMENT
    project.write(FILES)
    return project


def events_of(ran: Outcome, kind: str) -> list[dict[str, Any]]:
    return [dict(event) for event in ran.events if event["event"] == kind]


def planned_parts(ran: Outcome) -> dict[str, int]:
    return {event["path"]: event["parts"] for event in events_of(ran, "file-planned")}


def cases(ran: Outcome) -> dict[str, Counter[tuple[str, str]]]:
    """Return the outcome of each test of the files' last attempts, and how often it was reported."""
    return {
        event["path"]: Counter((case["id"], case["outcome"]) for case in event["cases"])
        for event in events_of(ran, "file-finished")
    }


def covered(report: Path) -> dict[str, str]:
    root = ET.parse(report).getroot()
    return {
        f"{one.get('filename')}": f"{one.get('line-rate')} {one.get('branch-rate')}"
        for one in root.iter("class")
    }


def test_files_in_parts_have_the_cases_the_coverage_and_the_report_of_whole_files(project: Project) -> None:
    reports = (
        "--coverage",
        "--coverage-dir",
        "cover",
        "--coverage-xml",
        "cover.xml",
        "--junit-xml",
        "junit.xml",
    )
    whole = project.run(*reports)
    assert whole.code == 0, whole.stdout + whole.stderr
    whole_cover, whole_junit = covered(project.root / "cover.xml"), ET.parse(project.root / "junit.xml")

    parts = project.run(*FORCE, *reports)

    assert planned_parts(parts) == {"tests/test_plain.py": 2, "tests/test_units.py": 2}
    assert (whole.code, parts.code) == (0, 0), parts.stdout
    assert cases(parts) == cases(whole)
    assert [event["path"] for event in events_of(parts, "file-started")] == list(planned_parts(parts))
    assert covered(project.root / "cover.xml") == whole_cover
    junit = ET.parse(project.root / "junit.xml")
    assert Counter(one.get("name") for one in junit.iter("testcase")) == Counter(
        one.get("name") for one in whole_junit.iter("testcase")
    )


def test_a_file_whose_tests_depend_on_each_other_passes_is_named_and_is_not_cut_again(
    project: Project,
) -> None:
    project.write({"tests/test_dependent.py": DEPENDENT, "tests/test_changing.py": CHANGING})
    project.run()

    ran = project.run(*FORCE)
    again = project.run(*FORCE)

    assert ran.code == 0, ran.stdout
    attempts = [
        (event["status"], event["attempt_reason"], event["rerun_reason"])
        for event in events_of(ran, "file-finished")
        if event["path"] == "tests/test_dependent.py"
    ]
    assert attempts == [("FAIL", None, "whole"), ("PASS", "whole", "repart"), ("FAIL", "repart", "settled")]
    finished = ran.events[-1]
    assert finished["fails_in_parts_paths"] == ["tests/test_dependent.py"]
    assert finished["indivisible_paths"] == ["tests/test_changing.py"]
    assert finished["flaky_paths"] == []
    assert "so that these tests seem to depend on others" in ran.stdout
    assert "tests/test_dependent.py (test_second)" in ran.stdout
    assert planned_parts(again)["tests/test_dependent.py"] == 0
    assert planned_parts(again)["tests/test_changing.py"] == 0
    assert planned_parts(again)["tests/test_plain.py"] == 2
    assert again.code == 0


def test_a_resumed_run_does_not_repeat_the_parts_that_had_finished(project: Project) -> None:
    project.write({"tests/test_waiting.py": WAITING, "gate": ""})
    named = ("tests/test_waiting.py", "--split", "force", "--jobs", "1")
    whole = project.run(*named)
    (project.root / "gate").unlink()
    (project.root / "ran.txt").write_text("")
    running = project.start(*named)
    wait_until(lambda: "second" in (project.root / "ran.txt").read_text(), "the second part does not start")
    running.send(signal.SIGINT)
    stopped = running.end()
    project.write({"gate": ""})

    resumed = project.run(*named, "--resume", "last")

    assert (whole.code, stopped.code, resumed.code) == (0, 130, 0), resumed.stdout
    assert planned_parts(resumed) == {"tests/test_waiting.py": 2}
    assert cases(resumed) == cases(whole)
    assert (project.root / "ran.txt").read_text().split() == ["first", "second", "second"]


def test_a_broker_runs_each_part_as_a_task_of_its_own(project: Project) -> None:
    whole = project.run()

    parts = project.run(*FORCE, "--cluster", "1")

    assert parts.code == 0, parts.stdout
    assert planned_parts(parts) == {"tests/test_plain.py": 2, "tests/test_units.py": 2}
    assert cases(parts) == cases(whole)


def test_parts_on_two_shards_are_merged_to_whole_files(project: Project, tmp_path: Path) -> None:
    whole = project.run()
    history = tmp_path / "history.sqlite3"
    history.write_bytes((project.root / ".passmuster" / "history.sqlite3").read_bytes())
    shared = (*FORCE, "--history-from", str(history), "--record", "records")

    shards = [project.run("--shard", f"{number}/2", *shared) for number in (1, 2)]
    merged = project.run(
        "merge", "records", "--events", "merged.jsonl", "--junit-xml", "junit.xml", events=False
    )

    assert [shard.code for shard in shards] == [0, 0], shards[0].stdout + shards[1].stdout
    assert sum(sum(sum(of.values()) for of in cases(shard).values()) for shard in shards) == 8
    assert any(parts == 1 for shard in shards for parts in planned_parts(shard).values())
    assert merged.code == 0, merged.stdout
    lines = (project.root / "merged.jsonl").read_text().splitlines()
    events = tuple(json.loads(line) for line in lines)
    of_merged = Outcome(command=(), code=0, stdout="", stderr="", events=events, duration_s=0.0)
    assert cases(of_merged) == cases(whole)
    assert (events[-1]["total"], events[-1]["passed"]) == (2, 2)
