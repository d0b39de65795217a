"""Shards on machines with nothing between them, and their records merged: as one run of all files."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.e2e.support.outcome import Outcome
from tests.e2e.support.processes import wait_until
from tests.e2e.support.project import Project
from tests.e2e.support.sources import PASSING as SCRIPT
from tests.support.pytest_environment import PYTEST_ENVIRONMENT

LIBRARY = """\
def small(number):
    if number < 3:
        return "small"
    return "large"


def never():
    return 1
"""
PASSING = """\
import library


def test_it():
    assert library.small({number}) == "{size}"
"""
FAILING = """\
def test_it():
    print("::error::what a test prints")
    assert 1 == 2
"""
FLAKY = """\
import pathlib

marker = pathlib.Path("marker")


def test_it():
    seen = len(marker.read_text()) if marker.exists() else 0
    marker.write_text("x" * (seen + 1))
    assert seen > 0
"""
FILES = {
    "pyproject.toml": "[tool.coverage.run]\nbranch = true\n",
    "library.py": LIBRARY,
    "conftest.py": "",
    **{f"tests/test_{number}.py": PASSING.format(number=number, size="small") for number in range(3)},
    **{f"tests/test_{number}.py": PASSING.format(number=number, size="large") for number in range(3, 6)},
    "tests/test_failing.py": FAILING,
    "tests/test_flaky.py": FLAKY,
}
SCRIPTS = {f"tests/test_{number}.py": SCRIPT for number in range(6)}
"""What is enough where it does not matter what runs; runs of pytest take several times as long."""

COUNTED = re.compile(r"^  (?:Total tests|Passed|Failed|Flaky|Test cases): .*$", re.MULTILINE)
PYTHON = {"VIRTUAL_ENV": str(PYTEST_ENVIRONMENT), "PYTHONPATH": "."}


def three_machines(project: Project, files: Mapping[str, str]) -> list[Project]:
    found = []
    for name in ("one", "two", "three"):
        (project.base / name).mkdir()
        machine = Project(base=project.base / name, python_home=project.python_home)
        machine.write(files)
        found.append(machine)
    return found


@pytest.fixture
def machines(project: Project) -> list[Project]:
    """Three machines with a checkout each."""
    return three_machines(project, FILES)


@pytest.fixture
def plain_machines(project: Project) -> list[Project]:
    """The same, with files that are no tests of pytest."""
    return three_machines(project, SCRIPTS)


def run(machine: Project, *arguments: str) -> Outcome:
    return machine.run(*arguments, env=PYTHON, events=False)


def run_shards(machines: Sequence[Project], records: Path, *options: str) -> list[Outcome]:
    total = len(machines)
    return [
        run(machine, "--shard", f"{number}/{total}", "--record", str(records), *options)
        for number, machine in enumerate(machines, start=1)
    ]


def cases(report: Path) -> dict[str, str]:
    return {
        f"{suite.get('file')} {case.get('name')}": ",".join(child.tag for child in case)
        for suite in ET.parse(report).getroot()
        for case in suite
        if case.tag == "testcase"
    }


def covered(report: Path) -> dict[str, str]:
    return {
        f"{source.get('filename')}:{line.get('number')}": str(sorted(line.items()))
        for source in ET.parse(report).getroot().iter("class")
        for line in source.iter("line")
    }


def test_merged_shards_tell_what_one_run_tells(machines: list[Project], tmp_path: Path) -> None:
    records, reports = tmp_path / "records", tmp_path / "reports"
    options = ("--coverage", "--coverage-source", "library", "--retries", "1", "--coverage-dir")
    shards = run_shards(machines, records, *options, str(tmp_path / "unused"))
    assert sorted(shard.code for shard in shards) == [0, 0, 1]
    (tmp_path / "whole").mkdir()
    whole = Project(base=tmp_path / "whole", python_home=machines[0].python_home)
    whole.write(FILES)
    files = ("--junit-xml", str(reports / "whole.xml"), "--coverage-xml", str(reports / "whole-coverage.xml"))
    alone = run(whole, *options, str(reports / "whole"), *files)
    # Where it is merged there is a checkout, since coverage is reported of sources.
    files = (
        "--junit-xml",
        str(reports / "merged.xml"),
        "--coverage-xml",
        str(reports / "merged-coverage.xml"),
    )
    told = run(whole, "merge", str(records), "--coverage-dir", str(reports / "merged"), *files)
    assert (alone.code, told.code) == (1, 1), told.stderr
    assert COUNTED.findall(told.stdout) == COUNTED.findall(alone.stdout)
    assert "  Flaky: 1" in told.stdout
    assert told.stdout.count("FAILED TESTS:\ntests/test_failing.py\n") == 1
    assert cases(reports / "merged.xml") == cases(reports / "whole.xml")
    assert covered(reports / "merged-coverage.xml") == covered(reports / "whole-coverage.xml")
    overall = [line for line in alone.stdout.splitlines() if line.startswith("Overall Coverage")]
    assert overall == [line for line in told.stdout.splitlines() if line.startswith("Overall Coverage")]


def test_a_demanded_coverage_is_demanded_of_the_whole(machines: list[Project], tmp_path: Path) -> None:
    records = tmp_path / "records"
    options = (
        "--coverage",
        "--coverage-source",
        "library",
        "--coverage-fail-under",
        "70",
        "--coverage-dir",
        str(tmp_path / "reports"),
    )
    (machines[0].root / "tests/test_failing.py").unlink()
    for machine in machines:
        for name in ("failing", "flaky"):
            (machine.root / f"tests/test_{name}.py").unlink(missing_ok=True)
    shards = run_shards(machines, records, *options)
    assert [shard.code for shard in shards] == [0, 0, 0], shards
    merged = run(machines[0], "merge", str(records), *options[3:])
    assert (merged.code, "Overall Coverage" in merged.stdout) == (0, True), merged
    merged = run(machines[0], "merge", str(records), "--coverage-fail-under", "90", *options[5:])
    assert merged.code == 1
    assert "is below the required 90%" in merged.stdout


def test_a_shard_that_was_killed_is_red_by_name(plain_machines: list[Project], tmp_path: Path) -> None:
    records = tmp_path / "records"
    run_shards(plain_machines, records)
    record = records / "shard-2-of-3" / "run.record"
    record.write_bytes(record.read_bytes()[:-100])
    told = run(plain_machines[0], "merge", str(records))
    assert told.code == 3
    assert "the record of shard 2/3 in " in told.stderr
    shutil.rmtree(record.parent)
    told = run(plain_machines[0], "merge", str(records), "--events", str(tmp_path / "events.jsonl"))
    assert told.code == 3
    assert "shard 2 of 3 left no record: " in told.stderr
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    ended = {event["path"] for event in events if event["event"] == "file-finished"}
    assert len(ended) == len(SCRIPTS)
    assert [event["status"] for event in events if event.get("status") == "LOST"]


def test_what_a_killed_run_had_told_is_merged(machines: list[Project], tmp_path: Path) -> None:
    project, records = machines[0], tmp_path / "records"
    shutil.rmtree(project.root / "tests")
    waits = "import time\n\ndef test_it():\n    open('is_running', 'w').write('yes')\n    time.sleep(600)\n"
    project.write({"tests/test_failing.py": FAILING, "tests/test_waits.py": waits})
    running = project.start("--record", str(records), "--jobs", "2", "--isolation", "spawn", env=PYTHON)
    running.wait_for_file("is_running")
    record = records / "shard-1-of-1" / "run.record"
    measured = rb'"file_path":"tests/test_waits.py","slot":\d+,"seconds":[^,]*,"used_bytes":[1-9]'
    sample = re.compile(rb"^usage .*" + measured, re.MULTILINE)

    def is_told() -> bool:
        text = record.read_bytes()
        return b"\nfile-finished " in text and sample.search(text) is not None

    wait_until(is_told, "the record tells of both files")
    running.send(signal.SIGKILL)
    running.process.communicate()

    told = run(project, "merge", str(records))

    assert told.code == 3
    assert "it ends after" in told.stderr
    assert "::error::what a test prints" in told.stdout
    assert re.search(r"running for \S+, with \S+ MiB when last measured,", told.stdout), told
    assert "SUMMARY: 0 passed, 2 failed" in told.stdout


def test_files_that_differ_between_machines_are_named(plain_machines: list[Project], tmp_path: Path) -> None:
    plain_machines[1].write({"tests/test_extra.py": SCRIPT})
    records = tmp_path / "records"
    run_shards(plain_machines, records)
    told = run(plain_machines[0], "merge", str(records))
    assert (told.code, told.stdout) == (3, "")
    assert "the plans differ" in told.stderr
    assert "tests/test_extra.py" in told.stderr


def test_more_shards_than_files_are_merged_too(plain_machines: list[Project], tmp_path: Path) -> None:
    records, machine = tmp_path / "records", plain_machines[0]
    for number in range(1, 5):
        shard = ("--shard", f"{number}/4", "--record", str(records))
        assert run(machine, *shard, "tests/test_1.py", "tests/test_2.py").code == 0
    told = run(machine, "merge", str(records))
    assert (told.code, "  Total tests: 2\n" in told.stdout) == (0, True), told


READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" "$0" && exec "$@"'
"""Makes a folder read-only for the command behind it, in a mount namespace that ends with it."""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder read-only for itself")
def test_a_read_only_tree_is_run_in_shards_and_merged(machines: list[Project], tmp_path: Path) -> None:
    machine, records = machines[0], tmp_path / "records"
    (machine.root / "tests/test_flaky.py").unlink()  # It writes beside itself.
    prefix = ("unshare", "--mount", "bash", "-c", READ_ONLY, str(machine.root))

    def on_read_only(*arguments: str) -> Outcome:
        return machine.run(*arguments, env=PYTHON, events=False, prefix=prefix)

    for number in (1, 2):
        shard = on_read_only("--shard", f"{number}/2", "--record", str(records))
        assert "outputs and history of this run are not kept" in shard.stderr
    told = on_read_only("merge", str(records), "--junit-xml", str(tmp_path / "merged.xml"))
    assert (told.code, told.stdout.count("SUMMARY: 6 passed, 1 failed\n")) == (1, 1), told
    assert len(cases(tmp_path / "merged.xml")) == 7
    inside = on_read_only("--shard", "1/2", "--record", "records")
    assert (inside.code, inside.stdout) == (2, "")
    assert "--record: cannot create the directory" in inside.stderr
