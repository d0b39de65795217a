"""A Python as a CI sets it up, which finds this checkout when it is told `pip install passmuster`."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def make_python(base: Path) -> tuple[Path, dict[str, str]]:
    """Make an environment and a wheel of this checkout; return the folder of its programs and pip's settings.

    What the package needs is that of the tests' own environment, so that nothing but our wheel is installed,
    and from nowhere else.
    """
    environment, wheels = base / "python", base / "wheels"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    commands: tuple[list[str | Path], ...] = (
        [sys.executable, "-m", "venv", environment],
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-input", "--no-deps", "-w", wheels, REPOSITORY],
    )
    for command in commands:
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, env=environ, timeout=110)
    [packages] = environment.glob("lib/python*/site-packages")
    (packages / "of_the_tests.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return environment / "bin", pip
