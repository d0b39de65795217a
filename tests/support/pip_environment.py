"""An environment with packages from the package index, for the tests of frameworks and plugins."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest


def make_environment(requirements: Path, cache: pytest.Cache) -> Path:
    """Return the interpreter of an environment with these packages, made once and kept in pytest's cache."""
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = Path(cache.mkdir("environments")) / f"{requirements.stem}-{digest}"
    python, mark = folder / "bin" / "python", folder / "complete"
    if not mark.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", folder], check=True)
        # The tests' own pip installs, because installing another one first takes long. Nothing is compiled,
        # because the tests import only a small part of what is installed.
        words = ("--no-input", "--disable-pip-version-check", "--no-compile")
        pip = (sys.executable, "-m", "pip", "--python", python)
        subprocess.run([*pip, "install", "-q", *words, "-r", requirements], check=True)
        mark.touch()
    return python
