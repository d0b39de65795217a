"""An answer of pytest is used again only while all that it depends on is as it was."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dispatcher.discovery.answer_cache import AnswerCache, PytestAnswer


class Asked:
    """A project, and the answer that pytest once gave."""

    def __init__(self, base: Path) -> None:
        self.root, self.packages, self.state = base / "project", base / "site-packages", base / "state"
        for folder in (self.root / "tests" / "deep", self.packages, self.state):
            folder.mkdir(parents=True)
        self.write("pytest.ini", "[pytest]\n")
        self.write("tests/conftest.py", "import helper\n")
        self.write("helper.py", "")
        self.write("tests/test_a.py", "")
        self.environ = {"PYTEST_ADDOPTS": "", "OTHER": "1", "PWD": "here"}
        self.reads_environment = False
        self.python = base / "python"
        self.python.write_text("")

    def write(self, name: str, text: str) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text)

    def cache(self, *paths: str) -> AnswerCache:
        return AnswerCache(self.state, str(self.python), self.environ, workdir=self.root, paths=paths)

    @property
    def answer(self) -> PytestAnswer:
        folders = (self.root, self.root / "tests", self.root / "tests" / "deep")
        return PytestAnswer(
            files=(str(self.root / "tests/test_a.py"),),
            warnings=("odd",),
            inifile=str(self.root / "pytest.ini"),
            folders={str(folder): folder.stat().st_mtime_ns for folder in folders},
            modules=(str(self.root / "tests/conftest.py"), str(self.root / "helper.py")),
            search_path=(str(self.packages),),
            reads_environment=self.reads_environment,
        )


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    return Asked(tmp_path)


def test_an_answer_is_cached_whole(asked: Asked) -> None:
    answer = asked.answer
    asked.cache().store(answer)

    assert asked.cache().load() == answer


def test_each_question_has_its_own_answer(asked: Asked) -> None:
    asked.cache("/a").store(asked.answer)

    assert asked.cache().load() is None
    assert asked.cache("/b").load() is None
    assert asked.cache("/a").load() is not None


def put_a_folder(asked: Asked) -> None:
    (asked.root / "tests/test_a.py").unlink()
    (asked.root / "tests/test_a.py").mkdir()


CHANGES: dict[str, Callable[[Asked], object]] = {
    "a new file": lambda asked: asked.write("tests/deep/test_b.py", ""),
    "a file that is gone": lambda asked: (asked.root / "tests/test_a.py").unlink(),
    "a new folder": lambda asked: (asked.root / "tests/new").mkdir(),
    "a file that is a folder now": put_a_folder,
    "the configuration": lambda asked: asked.write("pytest.ini", "[pytest]\naddopts = -q\n"),
    "a stronger configuration": lambda asked: asked.write("pytest.toml", "[pytest]\n"),
    "one above": lambda asked: (asked.root.parent / "tox.ini").write_text("[pytest]\n"),
    "a conftest": lambda asked: asked.write("tests/conftest.py", "collect_ignore = ['test_a.py']\n"),
    "what a conftest imports": lambda asked: asked.write("helper.py", "value = 1\n"),
    "an installed package": lambda asked: (asked.packages / "plugin.dist-info").mkdir(),
    "a variable of pytest": lambda asked: asked.environ.update(PYTEST_ADDOPTS="-q"),
    "the path of Python": lambda asked: asked.environ.update(PYTHONPATH="/x"),
    "the interpreter": lambda asked: asked.python.write_text("another"),
    "a damaged file": lambda asked: [path.write_text("{") for path in asked.state.rglob("*.json")],
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_an_answer_depends_on_makes_it_be_asked_again(asked: Asked, name: str) -> None:
    asked.cache().store(asked.answer)
    assert asked.cache().load() is not None

    CHANGES[name](asked)

    assert asked.cache().load() is None


def test_entries_that_come_and_go_with_runs_keep_the_cache_valid(asked: Asked) -> None:
    asked.cache().store(asked.answer)

    for name in ("__pycache__", ".pytest_cache", ".passmuster"):
        (asked.root / "tests" / name).mkdir()
        (asked.root / name).mkdir()
    asked.write(".coverage.host.1", "")
    asked.write("tests/test_a.py", "def test_a(): pass\n")
    asked.environ.update(PWD="there", OTHER="2")

    assert asked.cache().load() is not None


def test_a_conftest_that_reads_variables_makes_all_of_them_count(asked: Asked) -> None:
    asked.reads_environment = True
    asked.cache().store(asked.answer)
    asked.environ.update(PWD="there")
    assert asked.cache().load() is not None

    asked.environ.update(OTHER="2")

    assert asked.cache().load() is None


def test_an_answer_is_not_kept_when_a_folder_changed_meanwhile_or_it_is_an_error(asked: Asked) -> None:
    stale = asked.answer
    os.utime(asked.root / "tests", ns=(1, 1))
    asked.cache().store(stale)
    assert asked.cache().load() is None

    asked.cache().store(PytestAnswer(files=(), errors=("tests: broken",), folders={}))
    assert asked.cache().load() is None


def test_a_missing_cache_directory_is_no_error(asked: Asked) -> None:
    cache = AnswerCache(None, str(asked.python), asked.environ, workdir=asked.root, paths=())
    cache.store(asked.answer)

    assert cache.load() is None
    asked.state.rmdir()
    asked.cache().store(asked.answer)
    assert asked.cache().load() is None
