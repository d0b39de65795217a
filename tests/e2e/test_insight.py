"""What is known of files: why one ran as it did, what a run will take, and which took more than before."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import pytest

from tests.e2e.support.outcome import Outcome
from tests.e2e.support.project import Project
from tests.e2e.support.sources import FAILING, PASSING, script

MIB = 1024**2

GROWS = script(
    """
    data = b'x' * 20_000_000
    if os.environ.get('GROW'):
        data = b'x' * 150_000_000
        while time.process_time() < 3.0:
            pass
    print(len(data))
    """
)
HOLDS = "data = b'x' * {size}\ntime.sleep(0.3)\nprint(len(data))"
ONCE = script(
    """
    import pathlib
    mark = pathlib.Path('been_here')
    seen = mark.exists()
    mark.write_text('x')
    sys.exit(0 if seen else 1)
    """
)
A = "tests/test_a.py"


def waits(seconds: float, *, megabytes: int = 1) -> str:
    """Return a file that takes so long and so much memory, and leaves the processor alone."""
    return script(f"data = b'x' * {megabytes * 1_000_000}\ntime.sleep({seconds})\nprint(len(data))")


def facts(outcome: Outcome) -> dict[str, str]:
    """Return the lines of an explanation by their names; of several of a name the last."""
    pairs = (line.strip().split("  ", 1) for line in outcome.lines if "  " in line.strip())
    return {name: text.strip() for name, text in pairs}


def test_a_file_that_takes_more_than_it_used_to_is_named_and_may_make_the_run_fail(project: Project) -> None:
    project.write({A: GROWS, "tests/test_b.py": PASSING})
    for _ in range(3):
        before = project.run("--isolation", "spawn", "--fail-on-regression")
        assert (before.code, before.of_kind("run-finished")[0]["regressions"]) == (0, []), str(before)

    outcome = project.run(
        "--isolation", "spawn", "--fail-on-regression", "--junit-xml", "junit.xml", env={"GROW": "1"}
    )

    assert outcome.code == 1, str(outcome)
    assert outcome.statuses() == {A: "PASS", "tests/test_b.py": "PASS"}
    told = outcome.lines_after("[WARN] 1 file(s) regressed:")
    assert told[0].startswith(f"  - {A}: ")
    assert told[1].startswith(f"  - {A}: ")
    assert told[-1] == "[FAIL] 1 file(s) regressed (fail-on-regression)"
    found = outcome.of_kind("run-finished")[0]["regressions"]
    assert isinstance(found, list)
    regressions = {one["measure"]: one for one in found if isinstance(one, dict)}
    assert set(regressions) == {"cpu_s", "peak_bytes"}
    for one in regressions.values():
        baseline, now = one["baseline"], one["now"]
        assert (one["path"], one["changed"]) == (A, False)
        assert isinstance(baseline, int | float)
        assert isinstance(now, int | float)
        assert now > 2 * baseline
    failures = ElementTree.parse(project.root / "junit.xml").getroot().iter("failure")
    assert [failure.get("type") for failure in failures] == ["regression"]


def test_a_changed_file_is_compared_as_it_ran_and_marked(project: Project) -> None:
    project.write({A: script(HOLDS.format(size=10_000_000))})
    for _ in range(3):
        assert project.run().code == 0
    project.write({A: script(HOLDS.format(size=120_000_000))})

    outcome = project.run()

    (line,) = [line for line in outcome.lines if line.startswith(f"  - {A}: peak memory")]
    assert line.endswith("the file was changed)")
    assert outcome.code == 0
    assert outcome.lines[-1] == "[PASS] All tests passed! 🎉"


def test_a_file_that_ran_again_is_explained(project: Project) -> None:
    project.write({A: ONCE, "tests/test_b.py": PASSING})
    ran = project.run("--retries", "1", "--isolation", "spawn", "--jobs", "1")
    (run_id,) = [event["run_id"] for event in ran.of_kind("run-started")]

    outcome = project.run("explain", A, events=False)

    assert (outcome.code, outcome.stderr) == (0, "")
    assert f"Last run: {run_id}, 2 attempt(s)" in outcome.lines
    told = facts(outcome)
    assert told["attempt 1"].startswith("FAIL")
    assert told["attempt 2"] == "PASS"
    assert told["rerun reason"] == "it failed, and was retried"
    assert told["process"].startswith("forked if possible")
    assert told["known spawned"].endswith("from 2 attempt(s)")
    assert told["output"].endswith("test_a.py.2.log")
    assert outcome.lines[-1] == "  FAIL > PASS"
    one = json.loads(project.run("explain", A, "--json", "--run-id", str(run_id), events=False).stdout)
    assert [attempt["status"] for attempt in one["last_run"]["attempts"]] == ["FAIL", "PASS"]
    assert [attempt["attempt_reason"] for attempt in one["last_run"]["attempts"]] == [None, "retry"]


def test_a_file_that_waited_for_memory_is_explained(project: Project) -> None:
    project.write({"tests/test_big.py": waits(0.5, megabytes=500)})
    project.write({f"tests/test_{number}.py": waits(0.2, megabytes=150) for number in range(3)})
    within = ("--memory-budget", "600MB", "--jobs", "2", "--isolation", "spawn")
    project.run(*within)
    ran = project.run(*within)
    waited = [ended.label for ended in ran.finished() if ended.start_delayed_by == "memory"]
    assert waited, str(ran)

    told = facts(project.run("explain", waited[0], *within, events=False))

    assert told["waited for"] == "memory, although a slot was free"
    assert told["process"] == "spawned: requested by the setting isolation"
    assert told["memory limit"] == "572 MiB of 572 MiB for all files"
    assert "(the expected peak times 1.15)" in told["reserved"]


def test_an_override_and_its_group_are_explained(project: Project) -> None:
    project.write({A: PASSING, "pyproject.toml": OVERRIDE})
    project.run()

    told = facts(project.run("explain", A, events=False))

    assert told["override"] == "tests/test_a.py: timeout 1m 17s, group db"
    assert told["group"] == "db, at most 2 at a time"
    assert told["time limit"] == "1m 17s"


OVERRIDE = """\
    [tool.passmuster.groups.db]
    max = 2
    [[tool.passmuster.overrides]]
    files = ["tests/test_a.py"]
    timeout = "77s"
    group = "db"
"""


@pytest.fixture(scope="module")
def two_that_ran(shared_project: Project) -> Project:
    """A project of two files that ran, and one that never did."""
    shared_project.write({A: PASSING, "tests/sub/test_b.py": FAILING})
    shared_project.run()
    shared_project.write({"tests/test_new.py": PASSING, "tests/helper.py": "x = 1\n"})
    return shared_project


@pytest.mark.parametrize(
    ("argv", "code", "text"),
    [
        (("tests/test_new.py",), 0, "tests/test_new.py never ran here; it is number 2 of 3 in the next run"),
        (("tests/test_aa.py",), 2, "did you mean tests/test_a.py?"),
        (("test_b.py",), 2, "did you mean tests/sub/test_b.py?"),
        (("tests/helper.py",), 2, "is no test file by its name and place, and never ran"),
        ((), 2, "explain needs one file, got 0"),
        ((A, "tests/sub/test_b.py"), 2, "explain needs one file, got 2"),
        (("tests",), 2, "contains 3 test files: name one of them"),
        ((A, "--run-id", "20000101"), 2, "there is no run 20000101"),
        ((A, "--no-history"), 2, "unknown argument: --no-history"),
        ((A, "--run-id"), 2, "--run-id needs a value"),
    ],
    ids=str,
)
def test_what_cannot_be_explained_is_one_line(
    two_that_ran: Project, argv: tuple[str, ...], code: int, text: str
) -> None:
    outcome = two_that_ran.run("explain", *argv, events=False)

    lines = outcome.lines + outcome.stderr.splitlines()
    assert (outcome.code, len(lines)) == (code, 1), str(outcome)
    assert text in lines[0]


def test_without_a_history_nothing_is_explained_and_none_is_begun(project: Project) -> None:
    project.write({A: PASSING})

    first = project.run("explain", A, events=False)
    off = project.run("explain", A, events=False, env={"PASSMUSTER_HISTORY": "0"})

    assert first.code == 0
    assert first.lines[0].startswith(f"{A} never ran here")
    assert (off.code, off.stderr.count("\n")) == (2, 1)
    assert "explain needs the history, which is switched off" in off.stderr


def test_a_file_that_is_gone_is_explained_by_its_past(project: Project) -> None:
    project.write({A: PASSING})
    project.run()
    (project.root / A).unlink()

    outcome = project.run("explain", A, events=False)

    assert outcome.code == 0, str(outcome)
    assert facts(outcome)["now"] == "it no longer exists"
    assert facts(outcome)["attempt 1"] == "PASS"
    assert json.loads(project.run("explain", A, "--json", events=False).stdout)["found"] is False


def test_a_plan_is_the_play_of_the_run_and_runs_nothing(project: Project) -> None:
    project.write({f"tests/test_{number}.py": waits(0.1 + number / 5) for number in range(6)})
    assert project.run("--isolation", "spawn").code == 0
    runs = sorted((project.root / ".passmuster/runs").iterdir())
    jobs = ("--jobs", "2", "--isolation", "spawn")

    dry = project.run("--dry-run", *jobs)
    plan = project.run("plan", *jobs, events=False)
    told = json.loads(project.run("plan", *jobs, "--json", events=False).stdout)

    assert (plan.code, plan.stderr) == (0, "")
    (predicted,) = [line.rpartition(": ")[2] for line in dry.lines if "Predicted time" in line]
    assert plan.lines[0].startswith(f"6 test file(s) (2 at once): {predicted}, at most ")
    assert (told["files"], told["unknown"], told["requested"]["jobs"], told["requested"]["nodes"]) == (
        6,
        0,
        2,
        1,
    )
    bounds = told["requested"]["bounds"]
    assert told["requested"]["duration_s"] >= max(bound["lower_bound_s"] for bound in bounds)
    assert {"kind": "file", "name": "tests/test_5.py"}.items() <= next(
        bound for bound in bounds if bound["kind"] == "file"
    ).items()
    one, *others = [other for other in told["alternatives"] if other["nodes"] == 1]
    assert (one["jobs"], others[0]["jobs"]) == (1, 4)
    assert one["duration_s"] > told["requested"]["duration_s"] >= others[0]["duration_s"]
    assert sorted((project.root / ".passmuster/runs").iterdir()) == runs


def test_a_plan_takes_memory_machines_and_paths(project: Project) -> None:
    project.write({f"tests/test_{number}.py": waits(0.3, megabytes=200) for number in range(3)})
    project.run("--isolation", "spawn")
    project.write({"tests/test_new.py": PASSING})

    def told(*argv: str) -> dict[str, object]:
        outcome = project.run("plan", *argv, "--isolation", "spawn", "--json", events=False)
        answer: dict[str, object] = json.loads(outcome.stdout)
        asked = answer["requested"]
        assert isinstance(asked, dict)
        return answer | asked

    narrow, same = told("-j", "3", "--memory", "300MB"), told("-j", "3", "--memory-budget=300MB")
    wide, split = told("-j", "3"), told("-j", "3", "--memory=300MB", "--nodes", "3")
    assert narrow == same
    assert (narrow["files"], narrow["unknown"]) == (4, 1)
    assert (narrow["budget_bytes"], split["nodes"]) == (300_000_000, 3)
    assert isinstance(narrow["duration_s"], float)
    assert isinstance(wide["duration_s"], float)
    assert isinstance(split["duration_s"], float)
    assert narrow["duration_s"] > 1.5 * wide["duration_s"]
    assert narrow["duration_s"] > 1.5 * split["duration_s"]
    assert told("tests/test_1.py")["files"] == 1


@pytest.mark.parametrize(
    ("argv", "code", "text"),
    [
        ((), 0, "1 test file(s), of which none ever ran: nothing can be predicted"),
        (("--nodes", "0"), 2, "wrong value for nodes: expected a whole number from 1 to 1024, got '0'"),
        (("--nodes",), 2, "--nodes needs a value"),
        (("--memory", "lots"), 2, "wrong value for memory-budget"),
        (("--retries", "3"), 2, "unknown argument: --retries"),
        (("nothing",), 2, "does not exist"),
        (("--failed",), 0, "No file failed when it last ran"),
    ],
    ids=str,
)
def test_what_cannot_be_planned_is_one_line(
    project: Project, argv: tuple[str, ...], code: int, text: str
) -> None:
    project.write({A: PASSING})

    outcome = project.run("plan", *argv, events=False)

    lines = outcome.lines + outcome.stderr.splitlines()
    assert (outcome.code, len(lines)) == (code, 1), str(outcome)
    assert text in lines[0]
