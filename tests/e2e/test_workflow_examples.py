"""The example workflows do what they say: their own commands are run, on a small project under git."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.ci_place import JobLog, Place
from tests.support.ci_python import make_python
from tests.support.git_project import GitProject
from tests.support.workflow_runner import Run, result_of

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "examples" / "ci"

PASSING = "import unittest\n\n\nclass It(unittest.TestCase):\n    def test_it(self):\n        pass\n"
FAILING = PASSING.replace("pass\n", "self.fail('on purpose')\n")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    return make_python(tmp_path_factory.mktemp("ci"))


@pytest.fixture
def project(tmp_path: Path) -> GitProject:
    made = GitProject(tmp_path / "project")
    for number in range(8):
        made.write(f"tests/test_{number}.py", PASSING)
    made.write(".gitignore", ".passmuster/\n__pycache__/\nrecords/\n")
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


def told(logs: dict[str, list[JobLog]]) -> str:
    """Return everything that was printed, for the message of a failure."""
    return "\n".join(f"#### {log.name}: {log.result}\n{log.output}" for job in logs.values() for log in job)


def results(logs: dict[str, list[JobLog]]) -> dict[str, str]:
    return {name: result_of(job) for name, job in logs.items()}


def test_shards_run_every_file_once_and_are_reported_as_one_run(place: Place) -> None:
    logs = Run(place=place).run(EXAMPLES / "github-shards.yml")

    assert results(logs) == {"history": "success", "shard": "success", "merge": "success"}, told(logs)
    [merge] = logs["merge"]
    print(merge.output)
    pytest.fail(merge.output)
