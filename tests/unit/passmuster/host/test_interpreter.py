"""The project's interpreter is found where a user expects it, and anything broken is named."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from passmuster.host import interpreter
from passmuster.host.interpreter import ProjectInterpreter, find_interpreter
from passmuster.host.interpreter_probe import PythonBuild
from passmuster.launch.environment import base_python
from passmuster.model.errors import ConfigurationError
from passmuster.settings.origins import Origin, Source

REPOSITORY = Path(__file__).resolve().parents[4]
OPTION = Origin(source=Source.ARGUMENT, name="--python")


def find(root: Path, *, python: str | None = None, **environ: str) -> ProjectInterpreter:
    return find_interpreter(python, root, environ, origin=OPTION)


def problem(root: Path, *, python: str | None = None, **environ: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        find(root, python=python, **environ)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def environment(directory: Path, target: str = sys.executable, name: str = "python") -> Path:
    path = directory / "bin" / name
    path.parent.mkdir(parents=True)
    path.symlink_to(target)
    return path


def script(path: Path, body: str, mode: int = 0o755) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(mode)
    return path


def test_a_project_without_an_environment_uses_the_runners_and_does_not_ask_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interpreter, "base_python", lambda: "/usr/bin/env")  # Asking it would fail.

    found = find(tmp_path)

    assert (found.path, found.origin) == ("/usr/bin/env", "the runner's own interpreter")
    assert found.build.version == sys.version_info[:3]


def test_an_active_environment_is_used_also_if_passmuster_is_installed_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = environment(tmp_path / "active")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "active"))
    assert find(tmp_path, VIRTUAL_ENV=str(tmp_path / "active")).path == str(python)


def test_the_private_environment_of_a_checkout_is_never_the_tests(tmp_path: Path) -> None:
    assert find(tmp_path, VIRTUAL_ENV=str(REPOSITORY / ".venv")).path == base_python()


def test_the_order_is_argument_then_venv_then_dot_venv_then_the_active_one(tmp_path: Path) -> None:
    active = environment(tmp_path / "active")
    found = [find(tmp_path, VIRTUAL_ENV=str(tmp_path / "active")).path]
    dot = environment(tmp_path / ".venv")
    found.append(find(tmp_path, VIRTUAL_ENV=str(tmp_path / "active")).path)
    plain = environment(tmp_path / "venv")
    found.append(find(tmp_path, VIRTUAL_ENV=str(tmp_path / "active")).path)
    found.append(find(tmp_path, python=sys.executable).path)
    assert found == [str(active), str(dot), str(plain), sys.executable]


def test_the_path_keeps_its_link_and_the_version_is_the_real_one(tmp_path: Path) -> None:
    python = environment(tmp_path / "venv")
    found = find(tmp_path)
    assert found.path == str(python)
    assert found.build.version == sys.version_info[:3]
    assert (found.build.implementation, found.origin) == (sys.implementation.name, "venv/ of the root")


def test_an_environment_may_be_named_by_its_folder(tmp_path: Path) -> None:
    python = environment(tmp_path / "env", name="python3")
    assert find(tmp_path, python=str(tmp_path / "env")).path == str(python)


def test_a_bare_name_is_looked_up_on_the_path(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    python = environment(tmp_path, name="mypython")
    found = find(tmp_path, python="mypython", PATH=f"{tmp_path / 'empty'}:{python.parent}")
    assert (found.path, found.origin) == (str(python), "--python, found on PATH")


def test_a_package_that_is_called_venv_is_not_an_environment(tmp_path: Path) -> None:
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "__init__.py").touch()
    assert find(tmp_path).path == base_python()


def test_a_name_that_is_nowhere_is_refused(tmp_path: Path) -> None:
    message = problem(tmp_path, python="python9", PATH="/nowhere")
    assert message.startswith("interpreter 'python9' (from --python) is not on PATH")


def test_a_name_that_no_system_allows_is_refused(tmp_path: Path) -> None:
    assert "is not on PATH" in problem(tmp_path, python="x" * 300, PATH="/bin")
    assert "cannot be read: File name too long" in problem(tmp_path, python="/" + "x" * 300)


def test_a_path_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    assert problem(tmp_path, python=f"{tmp_path}/gone") == (
        f"interpreter {tmp_path}/gone (from --python) does not exist: "
        "expected Python 3.9 or later; name one with --python"
    )


def test_a_broken_environment_is_named_and_not_skipped(tmp_path: Path) -> None:
    environment(tmp_path / "venv", target="/gone/python")
    assert "venv/bin/python (from venv/ of the root) is a broken link to /gone/python" in problem(tmp_path)


def test_an_environment_without_an_interpreter_is_named(tmp_path: Path) -> None:
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "pyvenv.cfg").touch()
    assert f"{tmp_path}/.venv (from .venv/ of the root) holds no bin/python" in problem(tmp_path)


def test_an_environment_that_is_itself_a_broken_link_is_named(tmp_path: Path) -> None:
    (tmp_path / "venv").symlink_to("gone")
    assert "(from venv/ of the root) is a broken link to gone" in problem(tmp_path)


def test_an_active_environment_that_was_deleted_is_named(tmp_path: Path) -> None:
    assert "(from VIRTUAL_ENV) does not exist" in problem(tmp_path, VIRTUAL_ENV=str(tmp_path / "old"))


def test_a_file_that_is_not_executable_is_refused(tmp_path: Path) -> None:
    path = script(tmp_path / "py", "", mode=0o644)
    assert "is not executable" in problem(tmp_path, python=str(path))


def test_a_program_that_is_not_python_is_refused(tmp_path: Path) -> None:
    assert "does not answer as a Python interpreter does" in problem(tmp_path, python="/bin/cat")


def test_a_file_without_a_format_the_system_knows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "py"
    path.write_bytes(b"\0\1\2")
    path.chmod(0o755)
    assert "cannot be started (Exec format error)" in problem(tmp_path, python=str(path))


def test_an_old_python_is_refused_with_its_version(tmp_path: Path) -> None:
    path = script(tmp_path / "py", "echo passmuster-probe cpython cpython-38 3 8 20")
    assert "is Python 3.8.20, which is too old: expected Python 3.9 or later" in problem(
        tmp_path, python=str(path)
    )


def test_a_wrapper_that_prints_first_still_counts(tmp_path: Path) -> None:
    path = script(tmp_path / "py", f'echo loading; exec {sys.executable} "$@"')
    assert find(tmp_path, python=str(path)).build.version == sys.version_info[:3]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into everything")
def test_a_directory_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0)
    assert "Permission denied" in problem(tmp_path, python=f"{locked}/python")


@pytest.mark.parametrize(
    ("implementation", "identity"),
    [("cpython", "CPython 3.11.7"), ("pypy", "PyPy 3.11.7"), ("other", "other 3.11.7")],
)
def test_an_interpreter_is_named_with_its_version(implementation: str, identity: str) -> None:
    build = PythonBuild(version=(3, 11, 7), implementation=implementation, cache_tag="x-311")
    found = ProjectInterpreter(path="/p", origin="x", build=build)

    assert found.identity == identity
