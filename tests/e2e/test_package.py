"""The installed package: its commands and its API work, whatever the project holds and has installed."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.ci_python import make_python
from tests.support.valkey import private_server

pytestmark = pytest.mark.timeout(300)  # Seconds; making the environment takes most of them on a busy machine.

OWN = ("worker", "dispatcher", "run_tests", "run_ci_replica")
"""Modules of the project that are named like the runner's."""

OF_UNITTEST = """\
import sys
import unittest

sys.path.append("tests")
from own_modules import OWN


class Own(unittest.TestCase):
    def test_own(self):
        self.assertEqual(OWN, {"project"})


if __name__ == "__main__":
    unittest.main()
"""
OF_PYTEST = """\
from own_modules import OWN


def test_own():
    assert OWN == {"project"}
"""


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the commands of an environment in which the package is installed.

    In the same environment a project is installed, editable and from its folder `src`, with modules named
    like ours.
    """
    base = tmp_path_factory.mktemp("installed")
    folder, pip = make_python(base)
    sources = base / "project" / "src"
    for name in OWN:
        (sources / name).mkdir(parents=True)
        (sources / name / "__init__.py").write_text("WHOSE = 'project'\n", encoding="utf-8")
    (base / "project" / "pyproject.toml").write_text(
        textwrap.dedent(f"""\
            [build-system]
            requires = ["hatchling"]
            build-backend = "hatchling.build"
            [project]
            name = "project"
            version = "1"
            [tool.hatch.build.targets.wheel]
            packages = {[f"src/{name}" for name in OWN]}
            """),
        encoding="utf-8",
    )
    for words in ([pip["PASSMUSTER"]], ["--no-build-isolation", "--editable", base / "project"]):
        subprocess.run(
            [folder / "python", "-m", "pip", "install", "-q", "--no-input", "--no-deps", *words],
            check=True,
            stdin=subprocess.DEVNULL,
            env={**clean_environment(), **pip},
            timeout=110,
        )
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose tests fail unless they see its own modules."""
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "own_modules.py").write_text(
        f"import {', '.join(OWN)}\nOWN = {{one.WHOSE for one in ({', '.join(OWN)})}}\n", encoding="utf-8"
    )
    (tests / "test_of_unittest.py").write_text(OF_UNITTEST, encoding="utf-8")
    (tests / "test_of_pytest.py").write_text(OF_PYTEST, encoding="utf-8")
    return tmp_path


def clean_environment() -> dict[str, str]:
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("PASSMUSTER_", "PYTHON"))
    }


def call(command: Path, project: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Call a command in the project as a user does who has activated the environment."""
    return subprocess.run(
        [command, *arguments],
        cwd=project,
        env={**clean_environment(), "VIRTUAL_ENV": str(command.parent.parent), **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def assert_passed(ran: subprocess.CompletedProcess[str]) -> None:
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "2/2 files passed" in ran.stdout


def test_tests_import_the_projects_own_modules(commands: Path, project: Path) -> None:
    assert_passed(call(commands / "run-tests", project))
    assert_passed(call(commands / "run-tests", project, "--isolation", "spawn"))


def test_tests_import_the_projects_own_modules_on_a_cluster(commands: Path, project: Path) -> None:
    ran = call(commands / "run-tests", project, "--cluster", "1")

    assert_passed(ran)


@contextmanager
def installed_worker(commands: Path, project: Path, environ: dict[str, str]) -> Iterator[None]:
    with subprocess.Popen(
        [commands / "run-tests-worker", "--root", ".", "--exit-with-stdin"],
        cwd=project,
        env={**clean_environment(), "VIRTUAL_ENV": str(commands.parent), **environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    ) as worker:
        yield
        assert worker.poll() is None
        assert worker.stdin is not None
        worker.stdin.close()


def test_tests_import_the_projects_own_modules_on_a_worker(commands: Path, project: Path) -> None:
    with private_server() as server:
        environ = {"PASSMUSTER_BROKER_URL": server.url, "PASSMUSTER_SECRET": "the secret of these tests"}
        with installed_worker(commands, project, environ):
            ran = call(commands / "run-tests", project, **environ)

    assert_passed(ran)


def test_the_ci_replica_is_installed_too(commands: Path, project: Path) -> None:
    ran = call(commands / "run-ci-replica", project)

    assert_passed(ran)
    assert "[PASS] CI replica passed: CI should pass" in ran.stdout


def test_shards_are_merged(commands: Path, project: Path) -> None:
    for shard in ("1/2", "2/2"):
        ran = call(commands / "run-tests", project, "--shard", shard, "--record", "records")
        assert ran.returncode == 0, ran.stdout + ran.stderr

    assert_passed(call(commands / "run-tests", project, "merge", "records"))


def test_a_command_imports_nothing_from_the_users_path(commands: Path, project: Path) -> None:
    for name in (*OWN, "rich", "msgspec", "celery"):
        (project / f"{name}.py").write_text("raise SystemExit('the wrong module')\n", encoding="utf-8")
    (project / "tests" / "test_of_pytest.py").unlink()
    (project / "tests" / "test_of_unittest.py").write_text("if __name__ == '__main__':\n    print('ran')\n")

    ran = call(commands / "run-tests", project, PYTHONPATH=str(project), PYTHONSAFEPATH="1")

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1/1 files passed" in ran.stdout


def test_without_an_environment_of_its_own_tests_do_not_run_in_the_runners(
    commands: Path, project: Path
) -> None:
    (project / "tests" / "test_of_unittest.py").write_text(
        "if __name__ == '__main__':\n    import sys\n    print('prefix', sys.prefix)\n    sys.exit(1)\n",
        encoding="utf-8",
    )

    ran = call(commands / "run-tests", project, "tests/test_of_unittest.py", VIRTUAL_ENV="")

    assert f"prefix {sys.base_prefix}" in ran.stdout, ran.stdout + ran.stderr


USES_THE_API = """\
from pathlib import Path

import worker
from passmuster.api import RunEvent, RunFinished, TestConfig, TestRunner
import dispatcher


class Listener:
    def handle(self, event: RunEvent) -> None:
        if isinstance(event, RunFinished):
            print("listener:", len(event.results.records))

    def close(self) -> None:
        print("closed")


results = TestRunner(TestConfig(root=Path.cwd(), retries=1)).run_tests([Listener()])
print(*[record.final.status.value for record in results.records], worker.WHOSE, dispatcher.WHOSE)
"""


def test_a_program_uses_the_api_beside_its_own_modules(commands: Path, project: Path) -> None:
    (project / "program.py").write_text(USES_THE_API, encoding="utf-8")

    ran = call(commands / "python", project, "program.py")

    assert ran.stdout.splitlines() == ["listener: 2", "closed", "PASS PASS project project"], ran.stderr


def test_the_api_is_typed_for_its_users(commands: Path, project: Path) -> None:
    program = project / "program.py"
    check = (
        *(sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir=/dev/null"),
        *("--python-executable", str(commands / "python"), "program.py"),
    )

    def errors(text: str) -> list[str]:
        program.write_text(text, encoding="utf-8")
        checked = call(Path(check[0]), project, *check[1:])
        return [line for line in checked.stdout.splitlines() if line.startswith("program.py")]

    wrong = USES_THE_API.replace("import worker\n", "").replace("import dispatcher\n", "")
    wrong = wrong.replace("retries=1", "retries='one'").replace("record.final.status", "record.final.state")
    wrong = wrong[: wrong.index(", worker.WHOSE")] + ")\n"

    assert [error.split("error: ")[1] for error in errors(wrong)] == [
        'Argument "retries" to "TestConfig" has incompatible type "str"; expected "int"  [arg-type]',
        '"TestResult" has no attribute "state"  [attr-defined]',
    ]
