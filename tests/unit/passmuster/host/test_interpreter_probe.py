"""A probe of an unknown program ends in time; its answer is cached until the program changes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
import venv
from collections.abc import Mapping
from pathlib import Path

import pytest

from passmuster.host.interpreter_probe import (
    FILE_NAME,
    ProbeError,
    PythonBuild,
    coverage_problem,
    probe,
    probe_content,
    probe_packages,
    probe_pytest,
)

VERSION = sys.version_info[:3]
ENTRY = ["cpython", "cpython-399", 3, 99, 1]
OWN_ENTRY = ["cpython", sys.implementation.cache_tag, *VERSION]


def script(path: Path, body: str) -> str:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def problem(path: str, environ: Mapping[str, str], *, timeout_s: float = 20.0) -> str:
    with pytest.raises(ProbeError) as caught:
        probe(path, environ, timeout_s=timeout_s)
    return str(caught.value)


def is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def test_a_python_answers_with_its_version() -> None:
    assert probe(sys.executable, {}) == PythonBuild(
        version=VERSION, implementation=sys.implementation.name, cache_tag=sys.implementation.cache_tag or ""
    )


def test_variables_that_would_break_the_interpreters_start_do_not_matter() -> None:
    assert probe(sys.executable, {"PYTHONHOME": "/gone", "PYTHONSTARTUP": "/gone"}).version == VERSION


def test_a_program_that_never_answers_is_stopped_at_the_limit(tmp_path: Path) -> None:
    path = script(tmp_path / "py", f"echo $$ > {tmp_path}/pid; sleep 1000")
    assert problem(path, os.environ, timeout_s=0.5) == "did not answer within 0.5 s"
    assert is_gone(int((tmp_path / "pid").read_text()))


def test_a_program_that_never_stops_printing_is_stopped() -> None:
    assert problem("/usr/bin/yes", {}) == "does not answer as a Python interpreter does"


def test_what_the_program_leaves_behind_neither_delays_the_answer_nor_survives(tmp_path: Path) -> None:
    body = f"sleep 1000 & echo $! > {tmp_path}/pid; echo passmuster-probe cpython cpython-312 3 12 1"
    answer = probe(script(tmp_path / "py", body), os.environ)
    assert answer.version == (3, 12, 1)
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while not is_gone(pid) and time.monotonic() < deadline:
        signal.sigtimedwait([], 0.01)
    assert is_gone(pid)


def test_a_program_that_cannot_be_started_is_a_problem(tmp_path: Path) -> None:
    assert problem(str(tmp_path / "gone"), {}) == "cannot be started (No such file or directory)"


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """Return a copy of the interpreter, so that a test may change it."""
    path = tmp_path / "python"
    shutil.copy2(os.path.realpath(sys.executable), path)
    return path


def poison(cache: Path, version: list[object]) -> None:
    """Change the cached answers, so that an answer shows whether it came from the cache."""
    path = cache / FILE_NAME
    entries = json.loads(path.read_text())
    path.write_text(json.dumps(dict.fromkeys(entries, version)))


def test_an_answer_is_cached(tmp_path: Path, python: Path) -> None:
    cache = tmp_path / "new" / "cache"
    assert probe(str(python), {}, cache_dir=cache).version == VERSION
    poison(cache, ENTRY)
    assert probe(str(python), {}, cache_dir=cache).version == (3, 99, 1)
    assert [path.name for path in cache.iterdir()] == [FILE_NAME]


def test_links_to_one_interpreter_share_a_cached_answer(tmp_path: Path, python: Path) -> None:
    probe(str(python), {}, cache_dir=tmp_path)
    poison(tmp_path, ENTRY)
    (tmp_path / "link").symlink_to(python)
    assert probe(str(tmp_path / "link"), {}, cache_dir=tmp_path).version == (3, 99, 1)


def test_an_interpreter_that_changed_is_asked_again(tmp_path: Path, python: Path) -> None:
    probe(str(python), {}, cache_dir=tmp_path)
    poison(tmp_path, ENTRY)
    os.utime(python, ns=(1, 1))
    assert probe(str(python), {}, cache_dir=tmp_path).version == VERSION


@pytest.mark.parametrize("content", ["", "{", "[1]", "\x00", "[" * 50_000])
def test_a_broken_cache_is_replaced(tmp_path: Path, python: Path, content: str) -> None:
    (tmp_path / FILE_NAME).write_text(content)
    assert probe(str(python), {}, cache_dir=tmp_path).version == VERSION
    assert list(json.loads((tmp_path / FILE_NAME).read_text()).values()) == [OWN_ENTRY]


@pytest.mark.parametrize(
    "entry", [OWN_ENTRY[:-1], ["cpython", 3, 9, 1], ["cpython", "x", "3", 9, 1], None, {"a": 1}, "3.9.1"]
)
def test_an_entry_of_another_shape_is_ignored(tmp_path: Path, python: Path, entry: object) -> None:
    probe(str(python), {}, cache_dir=tmp_path)
    path = tmp_path / FILE_NAME
    path.write_text(json.dumps(dict.fromkeys(json.loads(path.read_text()), entry)))
    assert probe(str(python), {}, cache_dir=tmp_path).version == VERSION


def test_a_cache_that_cannot_be_written_does_no_harm(tmp_path: Path, python: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    assert probe(str(python), {}, cache_dir=blocked / "cache").version == VERSION


def test_without_a_directory_nothing_is_cached(tmp_path: Path, python: Path) -> None:
    assert probe(str(python), {}, cache_dir=None).version == VERSION
    assert list(tmp_path.iterdir()) == [python]


def test_a_script_that_chooses_an_interpreter_is_asked_every_time(tmp_path: Path) -> None:
    shim = tmp_path / "shim"
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    shim.chmod(0o755)
    assert probe(str(shim), {}, cache_dir=tmp_path / "cache").version == VERSION
    assert not (tmp_path / "cache").exists()


def test_a_problem_is_not_cached(tmp_path: Path) -> None:
    with pytest.raises(ProbeError):
        probe("/bin/cat", {}, cache_dir=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_the_cache_stays_small(tmp_path: Path, python: Path) -> None:
    (tmp_path / FILE_NAME).write_text(json.dumps({f"/old{n}": [*OWN_ENTRY[:-1], n] for n in range(100)}))
    probe(str(python), {}, cache_dir=tmp_path)
    entries = json.loads((tmp_path / FILE_NAME).read_text())
    assert len(entries) == 32
    assert next(reversed(entries)).startswith(f"{python}|")


def install_pytest(folder: Path, version: str) -> None:
    (folder / "pytest.py").write_text("")
    (folder / f"pytest-{version}.dist-info").mkdir()
    metadata = f"Metadata-Version: 2.1\nName: pytest\nVersion: {version}\n"
    (folder / f"pytest-{version}.dist-info" / "METADATA").write_text(metadata)


def test_pytest_is_looked_for_again_after_a_package_was_installed(tmp_path: Path, python: Path) -> None:
    cache, packages, root = tmp_path / "cache", tmp_path / "packages", tmp_path / "root"
    for folder in (cache, packages, root):
        folder.mkdir()
    environ = {"PYTHONPATH": str(packages)}

    def ask() -> str:
        answer = probe_pytest(str(python), environ, root, cache_dir=cache)
        assert answer is not None
        return answer.version

    first = ask()
    assert first != "8.0.99"
    (root / "test_a.py").write_text("")  # The project's own folder is not searched for packages.
    cached = (cache / FILE_NAME).read_text()
    assert (ask(), (cache / FILE_NAME).read_text()) == (first, cached)

    install_pytest(packages, "8.0.99")
    assert ask() == "8.0.99"


def test_a_noisy_interpreter_still_reports_its_pytest(tmp_path: Path, python: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('hello ' * 3000)\n")
    install_pytest(tmp_path, "8.0.99")

    answer = probe_pytest(str(python), {"PYTHONPATH": str(tmp_path)}, tmp_path, cache_dir=None)

    assert answer is not None
    assert answer.version == "8.0.99"


def test_a_program_that_is_not_python_reports_no_pytest(tmp_path: Path) -> None:
    assert probe_pytest("/bin/true", {}, tmp_path, cache_dir=tmp_path) is None
    assert not (tmp_path / FILE_NAME).exists()


def test_only_an_interpreter_with_coverage_can_measure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    bare = str(tmp_path / "bare/bin/python")
    (tmp_path / "coverage").mkdir()
    monkeypatch.chdir(tmp_path)

    assert coverage_problem(sys.executable, os.environ) is None
    found = coverage_problem(bare, os.environ)
    assert found is not None
    assert "(ModuleNotFoundError: No module named 'coverage')" in found
    assert f"install it with {bare} -m pip install coverage" in found
    assert "/no/such/python cannot be executed" in str(coverage_problem("/no/such/python", os.environ))


def test_interpreters_with_other_packages_have_another_digest(tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    bare = str(tmp_path / "bare/bin/python")

    digest = probe_packages(bare, os.environ)
    assert digest is not None
    assert len(digest) == 12
    assert probe_packages(sys.executable, os.environ) not in (digest, None)
    assert probe_packages("/bin/false", os.environ) is None
    assert probe_packages("/nowhere/python", os.environ) is None


def test_the_digest_of_packages_follows_an_edited_link_to_another_folder(tmp_path: Path) -> None:
    packages, cache = tmp_path / "packages", tmp_path / "cache"
    packages.mkdir()
    cache.mkdir()
    link = packages / "editable.pth"
    link.write_text("/one")
    environ = {"PYTHONPATH": str(packages)}
    before = probe_content(sys.executable, environ, cache_dir=cache)

    assert probe_content(sys.executable, environ, cache_dir=cache) == before != ""
    link.write_text("/two")  # The time of the folder stays the same.
    os.utime(link, ns=(1, 1))
    assert probe_content(sys.executable, environ, cache_dir=cache) not in (before, "")
