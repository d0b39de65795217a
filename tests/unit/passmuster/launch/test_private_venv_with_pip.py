"""The first start, with the real venv and pip, which installs from a directory."""

from __future__ import annotations

import ensurepip
import os
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from passmuster.launch import environment

REPOSITORY = Path(__file__).resolve().parents[4]


def checkout_with_a_wheel(home: Path) -> dict[str, str]:
    """Make `home` startable with a package that pip can install without a network; return its variables."""
    (home / "requirements").mkdir(parents=True)
    (home / "passmuster").symlink_to(REPOSITORY / "passmuster")
    (home / "requirements" / "runtime.txt").write_text("tiny-thing==1.0\n")
    (home / "start.py").write_text(
        "from passmuster.launch.bootstrap import ensure_environment\n"
        f"ensure_environment(home={str(home)!r})\n"
        "import tiny_thing\nprint(tiny_thing.__file__)\n"
    )
    about = "tiny_thing-1.0.dist-info"
    wheels = home / "wheels"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "tiny_thing-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny_thing.py", "")
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: tiny-thing\nVersion: 1.0\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", f"tiny_thing.py,,\n{about}/METADATA,,\n{about}/WHEEL,,\n")
    hostile = {"PIP_USER": "1", "PIP_TARGET": str(home / "elsewhere"), "PYTHONPATH": str(home / "users")}
    return {**os.environ, **hostile, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}


def begin(home: Path, environ: Mapping[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [environment.base_python(), str(home / "start.py")],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


class Started(NamedTuple):
    """A checkout whose first start was killed, and that two starts at once then made ready."""

    home: Path
    environ: dict[str, str]
    statuses: list[int]
    said: list[tuple[str, str]]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Started:
    home = tmp_path_factory.mktemp("started") / "home"
    environ = checkout_with_a_wheel(home)
    killed = begin(home, environ)
    wait_until((home / ".venv" / "pyvenv.cfg").exists, "the environment to be begun")
    killed.send_signal(signal.SIGKILL)
    killed.communicate()

    both = [begin(home, environ), begin(home, environ)]
    said = [process.communicate(timeout=100) for process in both]
    return Started(home, environ, [process.returncode for process in both], said)


@pytest.mark.slow
def test_with_the_real_pip_a_killed_start_is_repaired_and_two_at_once_share_the_work(
    started: Started,
) -> None:
    assert started.statuses == [0, 0], started.said
    [installed] = (started.home / ".venv").glob("lib/python*/site-packages/tiny_thing.py")
    assert [out for out, _ in started.said] == [f"{installed}\n"] * 2
    assert sum("Private environment ready" in err for _, err in started.said) == 1
    assert sum("waiting for it" in err for _, err in started.said) >= 1
    assert not (started.home / "elsewhere").exists()


@pytest.mark.slow
def test_with_the_real_pip_an_unavailable_package_is_one_line(started: Started) -> None:
    (started.home / "requirements" / "runtime.txt").write_text("tiny-thing==2.0\n")

    start = begin(started.home, started.environ)
    _, said = start.communicate(timeout=100)

    assert start.returncode == 3
    [line] = [line for line in said.splitlines() if not line.startswith("[INFO] ")]
    assert line.startswith("passmuster: could not install tiny-thing==2.0: ")
    assert f"does PIP_FIND_LINKS ({started.environ['PIP_FIND_LINKS']}) have them?" in line


@pytest.mark.slow
def test_an_isolated_python_runs_pip_from_its_wheel() -> None:
    folders = [Path(ensurepip.__file__).with_name("_bundled"), Path("/usr/share/python-wheels")]
    wheel = next(wheel for folder in folders for wheel in folder.glob("pip-*.whl"))

    ran = subprocess.run(
        [environment.base_python(), "-I", f"{wheel}/pip", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert f"from {wheel}/pip" in ran.stdout
