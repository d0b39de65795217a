"""A run in parts: each file in exactly one, and every machine agrees which."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.e2e.support.outcome import Outcome
from tests.e2e.support.project import Project
from tests.e2e.support.sources import FAILING, PASSING, script
from tests.support.pytest_environment import PYTEST_ENVIRONMENT

NAMES = [f"tests/test_{number}.py" for number in range(9)]


def told(outcome: Outcome) -> tuple[object, object, object]:
    """Return what the events say of the shard: which, of how many, and the digest of the whole."""
    started = outcome.events[0]
    return started["shard"], started["shards"], started["plan_digest"]


def listed(outcome: Outcome) -> list[str]:
    assert outcome.code == 0, outcome
    return outcome.stdout.splitlines()


@pytest.fixture
def nine(project: Project) -> Project:
    """A project of nine files of which three take longer."""
    slow = script("import time\ntime.sleep(0.4)")
    project.write({name: slow if name[-4] in "159" else PASSING for name in NAMES})
    return project


@pytest.fixture
def history(nine: Project) -> Path:
    """What a run of all nine showed, given to every machine; the machine itself has forgotten it."""
    assert nine.run().code == 0
    path = nine.base / "given.sqlite3"
    shutil.copyfile(nine.root / ".passmuster" / "history.sqlite3", path)
    path.chmod(0o444)
    shutil.rmtree(nine.root / ".passmuster")
    return path


def test_the_shards_together_are_the_whole(nine: Project, history: Path) -> None:
    whole = listed(nine.run("--list", events=False))
    for options in ((), ("--history-from", str(history))):
        for total in (1, 4):
            parts = [
                listed(nine.run("--list", "--shard", f"{number}/{total}", *options, events=False))
                for number in range(1, total + 1)
            ]
            assert sorted(label for part in parts for label in part) == whole
            assert max(map(len, parts)) - min(map(len, parts)) <= (9 if options else 1)


def test_long_files_are_spread_by_the_history_that_was_given(nine: Project, history: Path) -> None:
    parts = [
        nine.run("--shard", f"{number}/3", "--history-from", str(history), "-j", "1") for number in (1, 2, 3)
    ]

    assert [told(part)[:2] for part in parts] == [(1, 3), (2, 3), (3, 3)]
    assert len({told(part)[2] for part in parts}) == 1
    assert sum(len(part.finished()) for part in parts) == 9
    for number, part in enumerate(parts, start=1):
        assert part.code == 0
        assert f"[INFO] Shard {number} of 3: {len(part.finished())} of 9 files, predicted " in part.stdout
        assert f"; the whole plan is {str(told(part)[2])[:12]}\n" in part.stdout
    assert part_of_long(parts) == [1, 1]  # Two sleep: test_1 and test_5; one in each of two shards.


def part_of_long(parts: list[Outcome]) -> list[int]:
    counts = [
        sum(finished.label in ("tests/test_1.py", "tests/test_5.py") for finished in part.finished())
        for part in parts
    ]
    return [count for count in counts if count]


def test_machines_that_differ_agree(nine: Project, history: Path) -> None:
    """One has another folder, times and memories, a third fewer slots than the second."""
    options = ("--shard", "2/4", "--history-from", str(history))
    first = nine.run(*options)
    nine.write({"tests/test_3.py": FAILING, "sub/keep": "x"})
    assert nine.run("tests/test_3.py").code == 1
    nine.write({"tests/test_3.py": PASSING})
    for name in NAMES:
        os.utime(nine.root / name, (1, 1))

    again = nine.run(*options, "--root", "..", cwd="sub")
    (nine.base / "other").mkdir()
    other = Project(base=nine.base / "other", python_home=nine.python_home)
    shutil.copytree(nine.root / "tests", other.root / "tests")
    moved = other.run(*options, "--oversubscribe", "off", "--no-history")

    assert told(first) == told(again) == told(moved)
    assert {finished.label for finished in first.finished()} == {
        finished.label for finished in moved.finished()
    }


def test_another_history_is_told_by_the_digest(nine: Project, history: Path) -> None:
    without = nine.run("--shard", "1/4")
    given = nine.run("--shard", "1/4", "--history-from", str(history))

    assert told(without)[2] != told(given)[2]
    assert "balanced by the number of files: --history-from balances them by time" in without.stderr
    assert given.stderr == ""


def shard_without_files(project: Project) -> str:
    """Return the shard of three that has none of the first two files."""
    shards = [f"{number}/3" for number in (1, 2, 3)]
    parts = [listed(project.run("--list", "--shard", shard, *NAMES[:2], events=False)) for shard in shards]
    assert sorted(map(len, parts)) == [0, 1, 1]
    return shards[parts.index([])]


def test_a_shard_without_files_is_a_result(nine: Project) -> None:
    shard = shard_without_files(nine)
    junit = nine.base / "junit.xml"

    outcome = nine.run("--shard", shard, *NAMES[:2], "--junit-xml", str(junit))
    dry = nine.run("--shard", shard, *NAMES[:2], "--dry-run", events=False)

    assert outcome.code == dry.code == 0
    said = f"[INFO] Shard {shard[0]} of 3 has none of the 2 files; the whole plan is "
    assert said in outcome.stdout
    assert said in dry.stdout
    assert [event["event"] for event in outcome.events if event["event"] != "notice"] == [
        "run-started",
        "run-finished",
    ]
    assert 'tests="0"' in junit.read_text()


def test_coverage_of_a_shard_is_measured_and_no_limit_applied(nine: Project) -> None:
    environment = {"VIRTUAL_ENV": str(PYTEST_ENVIRONMENT)}
    options = ("--coverage", "--coverage-source", "nothing", "--coverage-fail-under", "99")
    parts = [
        nine.run("--shard", f"{number}/3", *NAMES[:2], *options, env=environment) for number in (1, 2, 3)
    ]

    assert sorted(len(part.finished()) for part in parts) == [0, 1, 1]
    assert {part.code for part in parts if not part.finished()} == {0}
    assert all("merge applies it" in part.stderr for part in parts)


def test_the_limit_holds_for_the_whole_run_and_paths_narrow_it(nine: Project) -> None:
    parts = [
        listed(nine.run("--list", "--shard", f"{number}/2", "--limit", "4", events=False))
        for number in (1, 2)
    ]
    named = [
        listed(nine.run("--list", "--shard", f"{number}/2", *NAMES[:3], events=False)) for number in (1, 2)
    ]

    assert sorted(parts[0] + parts[1]) == NAMES[:4]
    assert sorted(named[0] + named[1]) == NAMES[:3]


def test_nothing_found_is_said_as_ever(project: Project) -> None:
    outcome = project.run("--shard", "1/2", events=False)
    assert (outcome.code, outcome.stdout) == (5, "[WARN] No unit test files found\n")


def test_a_shard_can_be_resumed(project: Project) -> None:
    waiting = script("open('begun', 'w').write('x')\nimport time\ntime.sleep(600)")
    project.write(dict.fromkeys(NAMES[:4], waiting))
    running = project.start("--shard", "1/2", "--history")
    running.wait_for_file("begun")
    running.process.terminate()
    stopped = running.end()
    project.write(dict.fromkeys(NAMES[:4], PASSING))

    resumed = project.run("--shard", "1/2", "--resume", "last")
    other = project.run("--shard", "2/2", "--resume", "last")

    assert "--shard 1/2 --history --resume" in stopped.stderr
    assert (resumed.code, told(resumed)) == (0, told(stopped))
    assert other.code == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--shard", "0/4"), "I/N with I from 1 to N"),
        (("--shard", "1/4", "--failed"), "--shard cannot be combined with --failed"),
        (("--shard", "1/4", "--broker", "redis://h"), "--shard cannot be combined with --broker"),
        (("--shard", "1/4", "--cluster", "2"), "--shard cannot be combined with --cluster"),
        (("--shard", "1/4", "--join", "x"), "--shard cannot be combined with --join"),
        (("--shard", "1/4", "--history-from", "gone"), "gone (from --history-from): No such file"),
        (("--shard", "1/4", "--history-from", NAMES[0]), "file is not a database"),
        (("--shard", "auto"), "finds none of the variables"),
    ],
)
def test_what_cannot_be_is_one_line(project: Project, options: tuple[str, ...], words: str) -> None:
    project.write(dict.fromkeys(NAMES, PASSING))
    outcome = project.run(*options, events=False)
    assert (outcome.code, outcome.stdout) == (2, "")
    assert words in outcome.stderr
    assert outcome.stderr.count("\n") == 1
