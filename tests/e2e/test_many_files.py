"""Large projects, and several runs at once."""

from __future__ import annotations

import os

import pytest

from tests.e2e.support.project import Project
from tests.e2e.support.sources import FAILING, PASSING, script

MANY = 5000


@pytest.fixture(scope="module")
def large(shared_project: Project) -> Project:
    for number in range(MANY):
        folder = shared_project.root / "tests" / f"part_{number // 100:02d}"
        if number % 100 == 0:
            folder.mkdir(parents=True)
        (folder / f"test_{number:04d}.py").write_text("if __name__ == '__main__':\n    pass\n")
    return shared_project


def label(number: int) -> str:
    return f"tests/part_{number // 100:02d}/test_{number:04d}.py"


def test_all_are_listed_in_order(large: Project) -> None:
    outcome = large.run("--list")
    said = "[INFO] Layout: scripts (nothing in the project asks for pytest)\n"
    assert (outcome.code, outcome.stderr) == (0, said)
    assert outcome.lines == [label(number) for number in range(MANY)]


def test_all_are_planned(large: Project) -> None:
    outcome = large.run("--dry-run")
    assert outcome.code == 0
    planned = [line.split()[3] for line in outcome.lines if line.endswith(")") and " tests/" in line]
    assert sorted(planned) == [label(number) for number in range(MANY)]
    assert f"[INFO] Would run {MANY} test file(s), in this order:" in outcome.lines


def test_some_of_them_run(large: Project) -> None:
    outcome = large.run("--limit", "20")
    assert outcome.statuses() == {label(number): "PASS" for number in range(20)}
    assert outcome.code == 0
    # What is remembered now leads, the others are still unknown.
    again = large.run("--dry-run", "--limit", "21")
    assert "[INFO] 1 file(s) never ran and are assumed to take the median time" in again.lines


def test_two_runs_at_once_in_one_root_are_both_right_and_both_remembered(project: Project) -> None:
    project.write({f"tests/one/test_{number}.py": PASSING for number in range(8)})
    project.write({f"tests/two/test_{number}.py": FAILING for number in range(8)})
    wait = script(
        """
        import pathlib
        here, other = ('one', 'two') if 'one' in sys.argv[0] else ('two', 'one')
        pathlib.Path(f'{here}_is_there').touch()
        deadline = time.monotonic() + 30
        while not pathlib.Path(f'{other}_is_there').exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        """
    )
    project.write({"tests/one/test_meet.py": wait, "tests/two/test_meet.py": wait})
    first, second = project.start("tests/one"), project.start("tests/two")
    one, two = first.end(), second.end()
    assert (one.code, one.stderr) == (0, ""), str(one)
    assert (two.code, two.stderr) == (1, ""), str(two)
    assert set(one.statuses().values()) == {"PASS"}
    statuses = two.statuses()
    assert statuses.pop("tests/two/test_meet.py") == "PASS"
    assert set(statuses.values()) == {"FAIL"}
    plan = project.run("--dry-run", "--limit", "100")
    assert "never ran" not in plan.stdout
    assert set(project.run("--failed", "--list").lines) == set(statuses)


def test_the_outputs_of_the_last_ten_runs_are_kept(project: Project) -> None:
    project.write({"tests/test_a.py": PASSING})
    runs = project.root / ".passmuster" / "runs"
    for number in range(12):
        (runs / f"old-{number:02d}" / "output").mkdir(parents=True)
        os.utime(runs / f"old-{number:02d}", (number, number))
    assert project.run().code == 0
    kept = {path.name for path in runs.iterdir()}
    assert len(kept) == 10
    assert {name for name in kept if name.startswith("old")} == {
        f"old-{number:02d}" for number in range(3, 12)
    }


@pytest.mark.parametrize("garbage", [b"no database", b"SQLite format 3\0 and then nothing", b""])
def test_a_broken_history_is_made_anew(project: Project, garbage: bytes) -> None:
    project.write({"tests/test_a.py": PASSING, ".passmuster/history.sqlite3": garbage})
    outcome = project.run()
    assert (outcome.code, outcome.statuses()) == (0, {"tests/test_a.py": "PASS"})
    assert "Traceback" not in outcome.stderr
    assert "never ran" not in project.run("--dry-run").stdout
