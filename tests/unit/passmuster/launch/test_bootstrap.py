"""The runner enters its private environment quickly, and imports nothing of the user's."""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import pytest

from passmuster.launch import bootstrap, environment
from passmuster.launch.private_venv import pins

REPOSITORY = Path(__file__).resolve().parents[4]
BASE_PYTHON = environment.base_python()
PINS = "planted==1.0\n"


def ready_home(folder: Path, *, tag: str | None = None) -> Path:
    """Make a checkout whose environment looks ready for the Python called `tag`: the running one."""
    (folder / "requirements").mkdir(parents=True)
    (folder / "requirements" / "runtime.txt").write_text(PINS)
    (folder / "passmuster").symlink_to(REPOSITORY / "passmuster")
    version = "python{}.{}".format(*sys.version_info[:2])
    packages = folder / ".venv" / "lib" / version / "site-packages"
    packages.mkdir(parents=True)
    (packages / "planted.py").write_text("")
    [(group, digest)] = environment.group_digests(str(folder), ("runtime",))
    (folder / ".venv" / environment.marker_name(group, tag or environment.python_tag(), digest)).touch()
    return folder


def start(
    home: Path,
    code: str = "",
    *,
    before: str = "",
    arguments: Sequence[str] = (),
    variables: Sequence[tuple[str, str]] = (),
    flags: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Run a script of `home` that begins with `ensure_environment`, as `run_tests.py` does."""
    script = home / "start.py"
    script.write_text(
        f"import os, sys\n{before}"
        "from passmuster.launch.bootstrap import ensure_environment\n"
        "ensure_environment(home=os.path.dirname(os.path.abspath(__file__)))\n" + code
    )
    return subprocess.run(
        [BASE_PYTHON, *flags, str(script), *arguments],
        env={**os.environ, **dict(variables)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_ready_environment_is_used_in_the_same_process(tmp_path: Path) -> None:
    home = ready_home(tmp_path / "home")

    done = start(home, "import planted\nprint(sys.executable, planted.__file__)")

    assert done.stderr == ""
    executable, module = done.stdout.split()
    assert os.path.realpath(executable) == os.path.realpath(BASE_PYTHON)
    assert module.startswith(str(home / ".venv"))


def test_modules_of_the_user_are_out_of_reach_but_the_variable_stays(tmp_path: Path) -> None:
    home = ready_home(tmp_path / "home")
    users = tmp_path / "users"
    users.mkdir()
    (users / "rich.py").write_text("")

    done = start(
        home,
        "import importlib.util\n"
        "print(importlib.util.find_spec('rich'), importlib.util.find_spec('pip'), os.environ['PYTHONPATH'])",
        variables=[("PYTHONPATH", str(users))],
    )

    assert done.stdout.split() == ["None", "None", str(users)], done.stderr


def test_the_standard_library_stays_importable(tmp_path: Path) -> None:
    # One module written in Python, one in C that lies in lib-dynload or in the interpreter.
    done = start(ready_home(tmp_path / "home"), "import json, _json, sqlite3, ctypes\nprint('imported')")

    assert done.stdout == "imported\n", done.stderr


def test_the_path_keeps_home_and_the_standard_library_alone() -> None:
    stdlib = str(Path(os.__file__).parent)
    path = ["", "/users/project", stdlib, f"{stdlib}/lib-dynload", "/usr/lib/python3/dist-packages"]

    assert bootstrap.hermetic_path(path, home="/home") == ["/home", stdlib, f"{stdlib}/lib-dynload"]


def test_a_start_loads_no_module_that_a_bare_interpreter_would_not(tmp_path: Path) -> None:
    home = ready_home(tmp_path / "home")

    done = start(home, "print(*sorted(sys.modules))")
    bare = subprocess.run(
        [BASE_PYTHON, "-c", "import sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )

    extra = set(done.stdout.split()) - set(bare.stdout.split())
    assert extra <= {
        "passmuster",
        "passmuster.launch",
        "passmuster.launch.bootstrap",
        "passmuster.launch.environment",
        "zlib",
    }, extra


OLD_PYTHON = "sys.version_info = (3, 6, 0)\ndel sys.orig_argv\n"


@pytest.mark.parametrize(("before", "flags"), [("", ["-B"]), (OLD_PYTHON, [])], ids=["another", "too old"])
def test_an_environment_of_another_python_takes_over_with_all_arguments(
    tmp_path: Path, before: str, flags: list[str]
) -> None:
    home = ready_home(tmp_path / "home", tag="cpython-399")
    interpreter = home / ".venv" / "bin" / "python"
    interpreter.parent.mkdir()
    interpreter.write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done\n')
    interpreter.chmod(0o755)

    done = start(home, before=before, arguments=["--name", "two words"], flags=flags)

    words = ["-X", "passmuster_restarted", *flags, str(home / "start.py"), "--name", "two words"]
    assert done.stdout.splitlines() == words, done.stderr


def test_an_old_python_creates_no_environment(tmp_path: Path) -> None:
    home = ready_home(tmp_path / "home", tag="cpython-399")

    done = start(home, before=OLD_PYTHON)

    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "Python 3.11 or later is needed" in done.stderr


def test_an_interpreter_that_is_not_what_its_environment_says_does_not_restart_for_ever(
    tmp_path: Path,
) -> None:
    home = ready_home(tmp_path / "home", tag="cpython-399")
    interpreter = home / ".venv" / "bin" / "python"
    interpreter.parent.mkdir()
    interpreter.symlink_to(BASE_PYTHON)

    done = start(home)

    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "remove it and start again" in done.stderr


@pytest.mark.parametrize("version", [(3, 6), (3, 10)])
def test_an_old_python_is_refused_in_one_line(
    version: tuple[int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        bootstrap.refuse_old_python(version)

    assert left.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "Python 3.11 or later is needed" in said
    assert "is Python {}.{};".format(*version) in said


def test_python_3_11_is_not_refused() -> None:
    bootstrap.refuse_old_python((3, 11))


def test_python_3_6_can_read_the_module_up_to_its_version_check() -> None:
    tree = ast.parse(Path(bootstrap.__file__).read_text(), feature_version=(3, 6))

    futures = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    imported = [alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names]
    annotations = [
        note
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        for note in [
            node.returns,
            *(argument.annotation for argument in node.args.args + node.args.kwonlyargs),
        ]
    ]
    assert futures == []
    assert imported == ["os", "sys"]
    # Anything but a plain name or a quoted text would be evaluated, and fail, when the module is imported.
    assert all(note is None or isinstance(note, ast.Name | ast.Constant) for note in annotations)


def test_a_checkout_without_pins_is_called_incomplete(tmp_path: Path) -> None:
    home = ready_home(tmp_path / "home")
    (home / "requirements" / "runtime.txt").unlink()

    done = start(home)

    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "runtime.txt (No such file or directory); the checkout is incomplete" in done.stderr


def test_other_pins_make_the_environment_not_ready(tmp_path: Path) -> None:
    home = ready_home(tmp_path / "home")
    venv, tag = str(home / ".venv"), environment.python_tag()
    assert environment.is_ready(venv, environment.group_digests(str(home), ("runtime",)), tag=tag)

    (home / "requirements" / "runtime.txt").write_text("planted==1.1\n")

    changed = environment.group_digests(str(home), ("runtime",))
    assert not environment.is_ready(venv, changed, tag=tag)
    assert environment.ready_tags(venv, changed) == []


def test_an_environment_is_ready_only_with_all_its_groups(tmp_path: Path) -> None:
    home = ready_home(tmp_path / "home", tag="cpython-399")
    (home / "requirements" / "dev.txt").write_text("-r runtime.txt\n")
    venv = str(home / ".venv")

    assert environment.ready_tags(venv, environment.group_digests(str(home), ("runtime",))) == ["cpython-399"]
    assert environment.ready_tags(venv, environment.group_digests(str(home), ("runtime", "dev"))) == []


def test_the_base_interpreter_is_never_one_of_a_virtual_environment(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    subprocess.run([BASE_PYTHON, "-m", "venv", "--without-pip", str(venv)], check=True)
    code = "import sys; sys.path.append(sys.argv[1])\nfrom passmuster.launch.environment import base_python\n"
    asked = subprocess.run(
        [str(venv / "bin" / "python"), "-c", code + "print(base_python())", str(REPOSITORY)],
        capture_output=True,
        text=True,
        check=True,
    )

    found = asked.stdout.strip()
    assert not found.startswith(str(venv))
    where = "import sys; print(sys.prefix == sys.base_prefix, sys.version_info[:2])"
    said = subprocess.run([found, "-c", where], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == f"True {sys.version_info[:2]}"


def test_every_pin_lies_in_the_range_of_the_package() -> None:
    with open(REPOSITORY / "pyproject.toml", "rb") as file:
        project = tomllib.load(file)
    ranges = [
        *project["project"]["dependencies"],
        *chain(*project["project"]["optional-dependencies"].values()),
        *project["dependency-groups"]["dev"],
    ]
    pinned = {
        name.lower(): version for name, version in pins(REPOSITORY / "requirements" / "dev.txt").items()
    }

    for wanted in ranges:
        match = re.fullmatch(r"([A-Za-z0-9_-]+)>=([0-9.]+)", wanted)
        assert match is not None, f"a range this test cannot judge: {wanted}"
        assert match[1].lower() in pinned, f"{match[1]} is not pinned"
        assert _numbers(pinned[match[1].lower()]) >= _numbers(match[2]), wanted


@pytest.mark.parametrize("group", ["runtime", "cluster", "metrics", "watch", "workflow", "dev"])
def test_every_requirement_is_pinned_exactly(group: str) -> None:
    found = pins(REPOSITORY / "requirements" / f"{group}.txt")

    assert found
    assert all(re.fullmatch(r"[0-9]+(\.(post)?[0-9]+)*", version) for version in found.values()), found


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def test_an_interrupt_ends_the_process_silently_until_it_is_handled() -> None:
    program = (
        "import os, signal, sys\n"
        "from passmuster.launch.bootstrap import end_at_interrupt, raise_at_interrupt\n"
        "end_at_interrupt()\n"
        "if sys.argv[1] == 'answered': raise_at_interrupt()\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
    )
    ended, answered = (
        subprocess.run(
            [sys.executable, "-c", program, word], cwd=REPOSITORY, capture_output=True, check=False
        )
        for word in ("early", "answered")
    )

    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, b"")
    assert b"KeyboardInterrupt" in answered.stderr


def test_a_start_does_not_import_slow_modules(tmp_path: Path) -> None:
    command = [BASE_PYTHON, "-X", "importtime", str(REPOSITORY / "run_tests.py"), "--dry-run"]
    (tmp_path / "test_a.py").write_text("import unittest\n")

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)

    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "msgspec" in imported
    assert imported.isdisjoint({"dataclasses", "inspect", "difflib", "jinja2"})
