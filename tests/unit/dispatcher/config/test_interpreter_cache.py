"""An interpreter is asked once, and again when it changed; the memory of it may break without harm."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from dispatcher.config.interpreter import FILE_NAME, ask_once, ask_pytest_once

VERSION = sys.version_info[:3]


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """Return a copy of the interpreter, so that a test may change it."""
    path = tmp_path / "python"
    shutil.copy2(os.path.realpath(sys.executable), path)
    return path


def poison(cache: Path, version: list[object]) -> None:
    """Change what is remembered, so that an answer shows whether it was remembered."""
    path = cache / FILE_NAME
    entries = json.loads(path.read_text())
    path.write_text(json.dumps(dict.fromkeys(entries, version)))


def test_an_answer_is_remembered(tmp_path: Path, python: Path) -> None:
    cache = tmp_path / "new" / "cache"
    assert ask_once(str(python), {}, cache_dir=cache).version == VERSION
    poison(cache, ["cpython", 3, 99, 1])
    assert ask_once(str(python), {}, cache_dir=cache).version == (3, 99, 1)
    assert [path.name for path in cache.iterdir()] == [FILE_NAME]


def test_links_to_one_interpreter_share_what_is_remembered(tmp_path: Path, python: Path) -> None:
    ask_once(str(python), {}, cache_dir=tmp_path)
    poison(tmp_path, ["cpython", 3, 99, 1])
    (tmp_path / "link").symlink_to(python)
    assert ask_once(str(tmp_path / "link"), {}, cache_dir=tmp_path).version == (3, 99, 1)


def test_an_interpreter_that_changed_is_asked_again(tmp_path: Path, python: Path) -> None:
    ask_once(str(python), {}, cache_dir=tmp_path)
    poison(tmp_path, ["cpython", 3, 99, 1])
    os.utime(python, ns=(1, 1))
    assert ask_once(str(python), {}, cache_dir=tmp_path).version == VERSION


@pytest.mark.parametrize("content", ["", "{", "[1]", "\x00", "[" * 50_000])
def test_a_broken_memory_is_replaced(tmp_path: Path, python: Path, content: str) -> None:
    (tmp_path / FILE_NAME).write_text(content)
    assert ask_once(str(python), {}, cache_dir=tmp_path).version == VERSION
    assert list(json.loads((tmp_path / FILE_NAME).read_text()).values()) == [["cpython", *VERSION]]


@pytest.mark.parametrize("entry", [["cpython", 3, 9], ["cpython", "3", 9, 1], None, {"a": 1}, "3.9.1"])
def test_an_entry_of_another_shape_is_not_believed(tmp_path: Path, python: Path, entry: object) -> None:
    ask_once(str(python), {}, cache_dir=tmp_path)
    path = tmp_path / FILE_NAME
    path.write_text(json.dumps(dict.fromkeys(json.loads(path.read_text()), entry)))
    assert ask_once(str(python), {}, cache_dir=tmp_path).version == VERSION


def test_a_memory_that_cannot_be_written_does_no_harm(tmp_path: Path, python: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    assert ask_once(str(python), {}, cache_dir=blocked / "cache").version == VERSION


def test_without_a_place_nothing_is_remembered(tmp_path: Path, python: Path) -> None:
    assert ask_once(str(python), {}, cache_dir=None).version == VERSION
    assert list(tmp_path.iterdir()) == [python]


def test_a_script_that_chooses_an_interpreter_is_asked_every_time(tmp_path: Path) -> None:
    shim = tmp_path / "shim"
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    shim.chmod(0o755)
    assert ask_once(str(shim), {}, cache_dir=tmp_path / "cache").version == VERSION
    assert not (tmp_path / "cache").exists()


def test_a_problem_is_not_remembered(tmp_path: Path) -> None:
    assert ask_once("/bin/cat", {}, cache_dir=tmp_path / "cache").problem
    assert not (tmp_path / "cache").exists()


def test_the_memory_stays_small(tmp_path: Path, python: Path) -> None:
    (tmp_path / FILE_NAME).write_text(json.dumps({f"/old{n}": ["cpython", 3, 9, n] for n in range(100)}))
    ask_once(str(python), {}, cache_dir=tmp_path)
    entries = json.loads((tmp_path / FILE_NAME).read_text())
    assert len(entries) == 32
    assert next(reversed(entries)).startswith(f"{python}|")


def install_pytest(folder: Path, version: str) -> None:
    (folder / "pytest.py").write_text("")
    (folder / f"pytest-{version}.dist-info").mkdir()
    metadata = f"Metadata-Version: 2.1\nName: pytest\nVersion: {version}\n"
    (folder / f"pytest-{version}.dist-info" / "METADATA").write_text(metadata)


def test_which_pytest_there_is_is_asked_again_when_something_was_installed(
    tmp_path: Path, python: Path
) -> None:
    cache, packages, root = tmp_path / "cache", tmp_path / "packages", tmp_path / "root"
    for folder in (cache, packages, root):
        folder.mkdir()
    environ = {"PYTHONPATH": str(packages)}

    def ask() -> str:
        answer = ask_pytest_once(str(python), environ, root, cache_dir=cache)
        assert answer is not None
        return answer.version

    first = ask()
    assert first != "8.0.99"
    (root / "test_a.py").write_text("")  # The project's own folder is no place where packages are installed.
    remembered = (cache / FILE_NAME).read_text()
    assert (ask(), (cache / FILE_NAME).read_text()) == (first, remembered)

    install_pytest(packages, "8.0.99")
    assert ask() == "8.0.99"


def test_a_noisy_interpreter_still_says_which_pytest_it_has(tmp_path: Path, python: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('hello ' * 3000)\n")
    install_pytest(tmp_path, "8.0.99")

    answer = ask_pytest_once(str(python), {"PYTHONPATH": str(tmp_path)}, tmp_path, cache_dir=None)

    assert answer is not None
    assert answer.version == "8.0.99"


def test_what_is_no_python_does_not_say(tmp_path: Path) -> None:
    assert ask_pytest_once("/bin/true", {}, tmp_path, cache_dir=tmp_path) is None
    assert not (tmp_path / FILE_NAME).exists()
