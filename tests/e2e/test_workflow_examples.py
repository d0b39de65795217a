"""The examples for CIs do what they say: their own commands are run, on a small project under git."""

from __future__ import annotations

import os
import shutil
import sqlite3
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.ci_place import JobLog, Place
from tests.support.ci_python import make_python
from tests.support.ci_snippets import HEADINGS, snippet_of
from tests.support.git_project import GitProject
from tests.support.pipeline_runner import Pipeline
from tests.support.valkey import private_server
from tests.support.workflow_runner import Run, result_of

pytestmark = pytest.mark.timeout(300)  # Seconds; a whole workflow with several machines takes some ten.

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "examples" / "ci"

PASSING = "import unittest\n\n\nclass It(unittest.TestCase):\n    def test_it(self):\n        pass\n"
FAILING = PASSING.replace("pass\n", "self.fail('on purpose')\n")
FILES = [f"tests/test_{number}.py" for number in range(8)]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    return make_python(tmp_path_factory.mktemp("ci"))


@pytest.fixture
def project(tmp_path: Path) -> GitProject:
    made = GitProject(tmp_path / "project")
    for name in FILES:
        made.write(name, PASSING)
    made.write(".gitignore", ".passmuster/\n__pycache__/\nrecords/\n")
    made.write("requirements.txt", "")
    # Files start much faster by unittest; one test uses pytest.
    made.write("pyproject.toml", '[tool.passmuster]\nrunner = "unittest"\n')
    made.commit()
    return made


@pytest.fixture
def place(tmp_path: Path, project: GitProject, python: tuple[Path, dict[str, str]]) -> Place:
    base = tmp_path / "machines"
    base.mkdir()
    folder, pip = python
    return Place(
        base=base,
        repository=project.root,
        python=folder,
        environ={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **pip},
    )


def told(logs: Mapping[str, list[JobLog]]) -> str:
    """Return everything that was printed, for the message of a failure."""
    return "\n".join(f"#### {log.name}: {log.result}\n{log.output}" for job in logs.values() for log in job)


def results(logs: Mapping[str, list[JobLog]]) -> dict[str, str]:
    return {name: result_of(job) for name, job in logs.items()}


def suites(place: Place, artifact: str) -> dict[str, bool]:
    """Return the files in the report of an artifact, and whether all is well with each."""
    root = ElementTree.parse(place.artifacts[artifact] / "report.xml").getroot()
    return {
        suite.get("name", ""): suite.find(".//failure") is None and suite.find(".//error") is None
        for suite in root.iter("testsuite")
    }


def ran(log: JobLog) -> set[str]:
    """Return the files that a shard ran."""
    return {name for name in FILES if f"[INFO] Running: {name}\n" in log.output}


def remembered(place: Place) -> int:
    """Return how many files the newest history in the cache knows."""
    [path] = place.caches[-1].folder.rglob("history.sqlite3")
    with sqlite3.connect(path) as connection:
        [[count]] = connection.execute("SELECT count(*) FROM files")
    connection.close()
    return int(count)


def test_a_lost_github_shard_is_run_again_and_the_next_run_is_split_by_the_history(
    place: Place, project: GitProject
) -> None:
    run = Run(place=place, vanished=frozenset({("shard", 2)}))
    lost = dict(run.run(EXAMPLES / "github-shards.yml"))

    assert [log.result for log in lost["shard"]] == ["success", "success", "failure", "success"], told(lost)
    assert result_of(lost["merge"]) == "failure"
    said = lost["merge"][0].output
    assert "[FAIL] shard 3 of 4 left no record: 2 file(s) (tests/test_" in said, said

    run.vanished = frozenset()
    run.run_failed_again(EXAMPLES / "github-shards.yml")

    first = run.logs
    assert results(first) == {"prepare": "success", "shard": "success", "merge": "success"}, told(first)
    ran_again = [log is not before for log, before in zip(first["shard"], lost["shard"], strict=True)]
    assert ran_again == [False, False, True, False]
    assert sorted(name for log in first["shard"] for name in ran(log)) == FILES, told(first)
    assert all(len(ran(log)) == 2 for log in first["shard"]), told(first)
    assert suites(place, "tests-report") == dict.fromkeys(FILES, True)
    assert FILES[7] in (place.artifacts["tests-report"] / "report.html").read_text(encoding="utf-8")
    assert remembered(place) == len(FILES)

    project.write(FILES[3], FAILING)
    project.commit()
    place.artifacts.clear()
    second = Run(place=place, number="2").run(EXAMPLES / "github-shards.yml")

    assert results(second) == {"prepare": "success", "shard": "failure", "merge": "failure"}, told(second)
    assert sum(log.result == "failure" for log in second["shard"]) == 1
    assert suites(place, "tests-report") == {name: name != FILES[3] for name in FILES}
    assert "FAILED TESTS:\ntests/test_3.py\n" in second["merge"][0].output
    assert "tests/test_3.py" in second["merge"][0].summary
    assert [log.summary for log in second["shard"]] == [""] * 4
    assert "tests-history" in place.artifacts
    assert not any("balanced by the number of files" in log.output for log in second["shard"]), told(second)


def test_shards_of_a_cancelled_run_leave_records_and_their_merge_is_no_verdict(
    place: Place, project: GitProject, tmp_path: Path
) -> None:
    place.cancelled_by = tmp_path / "the file that hangs has started"
    hangs = f"import pathlib, time\n\npathlib.Path({str(place.cancelled_by)!r}).touch()\ntime.sleep(600)\n"
    project.write(FILES[0], hangs)
    project.commit()

    logs = Run(place=place).run(EXAMPLES / "github-shards.yml")

    assert "cancelled" in {log.result for log in logs["shard"]}, told(logs)
    assert any(name.startswith("tests-record-") for name in place.artifacts)
    [merge] = logs["merge"]
    assert merge.result == "failure", merge.output
    assert "Run Passmuster (exit status 130)" in merge.output
    assert "LOST" not in merge.output
    assert "[FAIL] " not in merge.output


def test_one_job_runs_all_files_by_pytest_and_keeps_reports_and_history(
    place: Place, project: GitProject
) -> None:
    looks = (
        "import os, sys\n        self.assertIn('pytest', sys.modules)\n"
        "        self.assertEqual([name for name in os.environ if name.startswith('INPUT_')], [])"
    )
    project.write(FILES[0], PASSING.replace("pass\n", f"{looks}\n"))
    project.write("pyproject.toml", "")
    project.commit()
    [log] = Run(place=place).run(EXAMPLES / "github-job.yml")["tests"]

    assert log.result == "success", log.output
    assert suites(place, "tests-report") == dict.fromkeys(FILES, True)
    assert "All 8 test files passed" in log.summary
    assert remembered(place) == len(FILES)


def test_a_misspelt_command_of_the_action_fails(place: Place, tmp_path: Path) -> None:
    workflow = tmp_path / "wrong.yml"
    text = (EXAMPLES / "github-job.yml").read_text(encoding="utf-8")
    workflow.write_text(f"{text}        with: {{command: merg}}\n", encoding="utf-8")

    [log] = Run(place=place).run(workflow)["tests"]

    assert log.result == "failure"
    assert "::error::Passmuster: command 'merg'" in log.output


def test_gitlab_jobs_are_one_run_which_a_failure_and_a_lost_job_make_red(
    place: Place, project: GitProject
) -> None:
    for name in FILES[1:]:
        project.write(name, FAILING)
    project.commit()

    logs = Pipeline(place=place, vanished=frozenset({("tests", 1)})).run(EXAMPLES / "gitlab-ci.yml")

    expected = {"tests-history": "success", "tests": "failure", "tests-merge": "failure"}
    assert results(logs) == expected, told(logs)
    files = [ran(log) for log in logs["tests"]]
    assert [len(names) for names in files] == [2, 0, 2, 2], told(logs)
    said = logs["tests-merge"][0].output
    assert "[FAIL] shard 2 of 4 left no record: 2 file(s) (tests/test_" in said, said
    assert suites(place, "1/tests-merge 1/1") == {
        name: name == FILES[0] and name in set().union(*files) for name in FILES
    }


def test_machines_on_github_take_files_from_one_queue_and_all_end_alike(place: Place) -> None:
    with private_server() as server:
        secrets = {"PASSMUSTER_BROKER_URL": server.url, "PASSMUSTER_SECRET": "s" * 32}
        logs = Run(place=place, secrets=secrets).run(EXAMPLES / "github-queue.yml")

    assert [log.result for log in logs["machine"]] == ["success"] * 4, told(logs)
    for number in range(1, 5):
        assert suites(place, f"machine-{number}-report") == dict.fromkeys(FILES, True)


def test_without_the_secrets_of_the_repository_no_machine_is_green(place: Place) -> None:
    secrets = {"PASSMUSTER_BROKER_URL": "", "PASSMUSTER_SECRET": ""}
    logs = Run(place=place, secrets=secrets).run(EXAMPLES / "github-queue.yml")

    assert [log.result for log in logs["machine"]] == ["failure"] * 4, told(logs)


def test_a_test_that_fails_on_one_job_of_gitlabs_queue_fails_all(place: Place, project: GitProject) -> None:
    project.write(FILES[3], FAILING)
    project.commit()

    with private_server() as server:
        variables = {"PASSMUSTER_BROKER_URL": server.url, "PASSMUSTER_SECRET": "s" * 32}
        logs = Pipeline(place=place, variables=variables).run(EXAMPLES / "gitlab-queue.yml")

    assert [log.result for log in logs["tests"]] == ["failure"] * 4, told(logs)
    for number in range(1, 5):
        assert suites(place, f"1/tests {number}/4") == {name: name != FILES[3] for name in FILES}


@pytest.mark.parametrize("heading", HEADINGS)
def test_the_jobs_that_are_shown_for_other_cis_split_and_merge_what_failed_too(
    place: Place, project: GitProject, heading: str
) -> None:
    snippet, statuses = snippet_of(heading), []
    project.write(FILES[0], FAILING)
    project.commit()
    base = place.folder("jobs")
    python = {
        "PATH": f"{place.python}{os.pathsep}{os.environ['PATH']}",
        "VIRTUAL_ENV": str(place.python.parent),
    }
    merged = base / "merge"
    place.clone(merged)

    for index in range(2):
        workspace = base / f"shard-{index}"
        place.clone(workspace)
        environ = {**python, "HOME": str(base), "XDG_RUNTIME_DIR": str(base), **snippet.numbers(index, 2)}
        status, output = place.run("\n".join(snippet.shard), cwd=workspace, environ=environ)
        assert "[INFO] Running: " in output
        statuses.append(status)
        target = merged / snippet.folder.format(index=index)
        shutil.copytree(workspace / "records", target, dirs_exist_ok=True)
    status, output = place.run("\n".join(snippet.merge), cwd=merged, environ={**python, "HOME": str(base)})

    # On CircleCI a job that fails keeps nothing for the next one.
    assert sorted(statuses) == ([0, 0] if heading == "CircleCI" else [0, 1])
    assert status == 1, output
    assert "Merging 2 of 2 record(s): 8 file(s)" in output
    assert "SUMMARY: 7 passed, 1 failed\nFAILED TESTS:\ntests/test_0.py\n" in output
