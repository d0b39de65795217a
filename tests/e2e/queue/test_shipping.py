"""`--ship` and the comparison of trees, as a user has them: real workers in folders of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dispatcher.queue.embedded_server import EmbeddedServer
from passmuster.wire.run_store import WorkerDirectory, connect
from tests.e2e.support.processes import wait_until
from tests.e2e.support.project import REPOSITORY, Project
from tests.support.git_project import GitProject
from tests.support.pytest_environment import PYTEST_ENVIRONMENT
from tests.support.valkey import private_server

SECRET = {"PASSMUSTER_SECRET": "the tests' secret"}
WORKER = REPOSITORY / "worker" / "__main__.py"

PRINTS = 'import pathlib, shop\nif __name__ == "__main__":\n    print(pathlib.Path.cwd(), shop.PRICE)\n'
ASSERTS = 'import shop\nif __name__ == "__main__":\n    assert shop.PRICE == 2\n'

Start = Callable[..., str]


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with private_server() as server:
        yield server


@pytest.fixture
def git(project: Project) -> GitProject:
    """The project under git, with something that is not committed."""
    git = GitProject(project.root)
    git.write("tests/shop.py", "PRICE = 1\n")
    for number in range(4):
        git.write(f"tests/test_{number}.py", PRINTS)
    git.write(".gitignore", "large.bin\n")
    git.commit()
    git.write("tests/shop.py", "PRICE = 2\n")
    git.write("tests/test_new.py", ASSERTS)
    git.write("large.bin", "ignored")
    return git


@pytest.fixture
def start(project: Project, server: EmbeddedServer, tmp_path: Path) -> Iterator[Start]:
    workers: list[subprocess.Popen[bytes]] = []
    board = WorkerDirectory(connect(server.url, timeout_s=10))

    def begin(*words: str) -> str:
        """Start a worker in an empty folder of its own, and return its name."""
        name = f"worker-{os.getpid()}-{len(workers)}"
        folder = tmp_path / name
        folder.mkdir()
        log = (folder / "log").open("wb")
        workers.append(
            subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    str(WORKER),
                    "--broker",
                    server.url,
                    "--name",
                    name,
                    "--slots",
                    "1",
                    *words,
                ],
                cwd=folder,
                env=project.environment({**SECRET, "XDG_CACHE_HOME": str(folder), "PASSMUSTER_SLOT": "0"}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        )
        log.close()
        wait_until(lambda: name in {card.name for card in board.statuses()}, f"{name} is not there")
        return name

    yield begin
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.wait(30)
    wait_until(lambda: not board.statuses(), "workers are still there")


def test_what_lies_on_the_laptop_runs_where_there_is_nothing(
    project: Project, git: GitProject, server: EmbeddedServer, start: Start
) -> None:
    names = {start(), start()}

    first = project.run("--broker", server.url, "--ship", "--verbose", env=SECRET)

    assert first.code == 0, str(first)
    labels = [f"tests/test_{number}.py" for number in range(4)]
    assert first.statuses() == dict.fromkeys([*labels, "tests/test_new.py"], "PASS")
    assert {event["worker"] for event in first.of_kind("file-finished")} <= names
    assert ": 7 file(s), " in first.stderr + first.stdout
    for label in labels:
        folder, price = first.final(label).output.split()
        assert price == "2"
        assert not Path(folder).is_relative_to(project.root)

    git.write("tests/shop.py", "PRICE = 3\n")
    second = project.run("--broker", server.url, "--ship", "--verbose", env=SECRET)

    assert second.code == 1, "tests/test_new.py wants the price of before"
    assert second.final("tests/test_0.py").output.split()[1] == "3"
    assert ", 1 sent (" in second.stderr + second.stdout


def test_a_worker_of_another_commit_refuses_and_nobody_else_is_there(
    project: Project, git: GitProject, server: EmbeddedServer, start: Start, tmp_path: Path
) -> None:
    clone = git.clone(tmp_path / "clone")
    name = start("--root", str(clone.root))

    ended = project.run("--broker", server.url, "--worker-timeout", "2s", env=SECRET)

    assert ended.code == 3, str(ended)
    commit = git.git("rev-parse", "HEAD")[:12]
    said = ended.stdout + ended.stderr
    assert f"worker {name} refuses the run: its tree is at commit {commit}, the run is of" in said
    assert f"the run is of commit {commit} with 2 changed file(s) (" in said
    assert "use --ship" in said


def test_a_worker_of_the_same_tree_takes_part(
    project: Project, git: GitProject, server: EmbeddedServer, start: Start, tmp_path: Path
) -> None:
    git.commit()
    clone = git.clone(tmp_path / "clone")
    start("--root", str(clone.root))

    ended = project.run("--broker", server.url, env=SECRET)

    assert ended.code == 0, str(ended)


def test_a_copy_without_git_is_compared_file_by_file(
    project: Project, git: GitProject, server: EmbeddedServer, start: Start, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(project.root, copy, ignore=shutil.ignore_patterns(".git", "large.bin"))
    (copy / "more.txt").write_text("nobody minds")
    name = start("--root", str(copy))

    same = project.run("--broker", server.url, env=SECRET)
    git.write("tests/shop.py", "PRICE = 2  # changed\n")
    other = project.run("--broker", server.url, "--worker-timeout", "2s", env=SECRET)

    assert same.code == 0, str(same)
    assert other.code == 3, str(other)
    said = other.stdout + other.stderr
    assert f"worker {name} refuses the run: its tree is at " in said
    assert "(tests/shop.py differ): check out the same commit there" in said


def test_coverage_of_a_shipped_tree_is_that_of_the_files_here(
    project: Project, git: GitProject, server: EmbeddedServer, start: Start, tmp_path: Path
) -> None:
    python = ("--python", str(PYTEST_ENVIRONMENT / "bin" / "python"))
    start(*python)
    reports = tmp_path / "coverage"
    words = ("--coverage", "--coverage-dir", str(reports), "--coverage-source", "tests", *python)

    here = project.run(*words)
    expected = (reports / "coverage_report.txt").read_text()
    there = project.run("--broker", server.url, "--ship", *words, env=SECRET)

    assert (here.code, there.code) == (0, 0), str(there)
    assert "tests/shop.py" in expected
    assert (reports / "coverage_report.txt").read_text() == expected
    warnings = [line for line in (there.stdout + there.stderr).splitlines() if line.startswith("[WARN]")]
    assert all("read the password in --broker" in line for line in warnings), str(there)


def test_what_is_too_large_to_send_is_named(
    project: Project, git: GitProject, server: EmbeddedServer, start: Start
) -> None:
    start()
    with (project.root / "dump.bin").open("wb") as file:
        file.truncate(65 * 1024 * 1024)

    ended = project.run("--broker", server.url, "--ship", env=SECRET)

    assert ended.code == 2, str(ended)
    assert "at most 64 MiB are allowed for one file; the largest are dump.bin (65 MiB), " in ended.stderr


def test_ship_needs_a_broker(project: Project, git: GitProject) -> None:
    ended = project.run("--ship")

    assert ended.code == 2
    assert "--ship needs a broker with workers elsewhere" in ended.stderr


COMMAND = "[tool.passmuster]\ncommand = ['{python}', '-c', 'import os; print(os.getcwd())', '{file}']\n"


def test_a_worker_runs_the_command_of_the_shipped_tree(
    project: Project, git: GitProject, server: EmbeddedServer, start: Start
) -> None:
    git.write("pyproject.toml", COMMAND)
    start()

    ended = project.run("--broker", server.url, "--ship", "tests/test_0.py", env=SECRET)

    final = ended.final("tests/test_0.py")
    assert (final.status, final.runner) == ("PASS", "command"), str(ended)
    assert not Path(final.output.strip()).is_relative_to(project.root)


def test_a_worker_whose_own_project_has_no_command_runs_nothing_instead(
    project: Project, git: GitProject, server: EmbeddedServer, start: Start, tmp_path: Path
) -> None:
    git.write(".gitignore", "large.bin\npyproject.toml\n")
    git.commit()
    clone = git.clone(tmp_path / "clone")
    git.write("pyproject.toml", COMMAND)
    start("--root", str(clone.root))

    ended = project.run("--broker", server.url, "tests/test_0.py", env=SECRET)

    final = ended.final("tests/test_0.py")
    assert (ended.code, final.status) == (1, "START_ERROR"), str(ended)
    assert f"no command for it in [tool.passmuster] of {clone.root / 'pyproject.toml'}" in final.error
