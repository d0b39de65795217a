"""Detects from settings and test files whether a project uses pytest, or Django's `manage.py test`.

Runs nothing of the project.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from enum import IntEnum
from pathlib import Path

from dispatcher.config.file import FILE_NAME
from dispatcher.config.model import TestConfig
from passmuster.model.status import RunnerKind
from passmuster.settings.values import on_one_line

MAX_FILES_READ = 500
"""Test files that are read for a sign of pytest: a project of pytest shows one in its first few."""

_SECTIONS = {
    "pytest.toml": None,
    ".pytest.toml": None,
    "pytest.ini": None,
    ".pytest.ini": None,
    "pyproject.toml": re.compile(
        rb"^[ \t]*\[[ \t]*tool[ \t]*\.[ \t]*(pytest(?:[ \t]*\.[ \t]*ini_options)?)", re.M
    ),
    "tox.ini": re.compile(rb"^\[(pytest)\]", re.M),
    "setup.cfg": re.compile(rb"^\[(tool:pytest)\]", re.M),
}
"""Files that configure pytest, the one it prefers first; None: by their name alone, else by a section."""

CONFIGURATION_FILES = tuple(_SECTIONS)

_IMPORTS_PYTEST = re.compile(rb"^[ \t]*(?:import|from)[ \t]+pytest\b", re.M)
_FUNCTION = re.compile(rb"^(?:async[ \t]+)?def[ \t]+test(?!_suite\b)", re.M)
"""A test function; `test_suite` returns unittest's tests to other runners, such as zope.testrunner."""
_PLAIN_CLASS = re.compile(
    rb"^class[ \t]+Test\w*[ \t]*(?:\([ \t]*(?:object)?[ \t]*\))?[ \t]*:"
    rb"(?:[^\n]*\n(?!class\b|def\b|async\b|@|if\b))*?[ \t]+(?:async[ \t]+)?def[ \t]+test",
    re.M,
)
"""A class without bases that holds a test; many a helper of unittest files is named `TestObject`."""
_TEST_METHOD = re.compile(rb"^[ \t]+(?:async[ \t]+)?def[ \t]+test", re.M)
_GUARD = re.compile(rb"^if\b[^\n]*__name__[^\n]*__main__", re.M)


class Sign(IntEnum):
    """How clearly a test file uses pytest."""

    NONE = 0
    """It holds nothing that only pytest runs."""
    WEAK = 1
    """It defines functions or classes that only pytest collects, and can run as a script too."""
    STRONG = 2
    """It defines such tests, and without pytest they cannot run."""
    EXPLICIT = 3
    """It imports pytest."""


def find_configurations(folder: Path) -> tuple[str, ...]:
    """Return what configures pytest in a directory, `NAME` or `[SECTION] in NAME`; the first one counts."""
    found = []
    for name, section in _SECTIONS.items():
        if section is None:
            with suppress(OSError):
                found += [name] if (folder / name).is_file() else []
        elif match := section.search(_read(folder / name)):
            prefix = "tool." if name == "pyproject.toml" else ""
            found.append(f"[{prefix}{match[1].decode()}] in {name}")
    return tuple(found)


def _read(path: Path) -> bytes:
    """Return the content of a file; empty if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def sign_in(source: bytes) -> Sign:
    """Return how clearly the text of a test file uses pytest."""
    if _IMPORTS_PYTEST.search(source):
        return Sign.EXPLICIT
    if _FUNCTION.search(source) or _PLAIN_CLASS.search(source):
        return Sign.WEAK if _GUARD.search(source) else Sign.STRONG
    return Sign.NONE


def clearest_sign(root: Path, files: Iterable[str]) -> tuple[Sign, str]:
    """Return the clearest sign in test files, and the first file that shows it.

    Args:
        files: in reading order; at most 500 of them are read.
    """
    best, where = Sign.NONE, ""
    for number, path in enumerate(files):
        if number == MAX_FILES_READ:
            break
        sign = sign_in(_read(root / path))
        if sign > best:
            best, where = sign, path
        if best is Sign.EXPLICIT:
            break
    return best, where


def defines_unittests(file: Path) -> bool:
    """Whether the text of a file seems to define unittest tests."""
    return _has_unittests(_read(file))


def _has_unittests(source: bytes) -> bool:
    return _TEST_METHOD.search(source) is not None and (b"unittest" in source or b"TestCase" in source)


def is_plain_script(file: Path) -> bool:
    """Whether a file is only meant for `python FILE`: it has a `__main__` guard and defines no test."""
    source = _read(file)
    is_script = _GUARD.search(source) is not None and sign_in(source) is Sign.NONE
    return is_script and not _has_unittests(source)


_SETTINGS = "DJANGO_SETTINGS_MODULE"
"""Names the settings: in `manage.py`, and for pytest in its configuration or a conftest."""

_CONFIGURES = (_SETTINGS, "settings.configure(", "django.setup(")
"""One of these is in the file that configures Django for pytest."""

COMMANDS = {
    "manage.py": '["{python}", "manage.py", "test", "--noinput", "{module}"]',
    "runtests.py": '["{python}", "runtests.py", "--noinput", "{module}"]',
}
"""Scripts that run Django's own test runner with their arguments, and the command for one test file."""


def django_advice(config: TestConfig, workdir: Path) -> str | None:
    """Return the command that a Django project should configure; None if none is needed."""
    if config.usual_runner is not RunnerKind.AUTO or _SETTINGS in os.environ:
        return None
    script = next((name for name in COMMANDS if _runs_django(workdir / name)), None)
    if script is None:
        return None
    if any(
        _holds(workdir / place, _CONFIGURES)
        for place in (*CONFIGURATION_FILES, "conftest.py", "tests/conftest.py")
    ):
        return None
    file = on_one_line(str(config.root / FILE_NAME))
    return (
        "this is a Django project without settings for pytest (pytest-django): to run its tests by "
        f"{script}, add command = {COMMANDS[script]} to [tool.passmuster] in {file}"
    )


def _runs_django(script: Path) -> bool:
    """Whether a script names Django's settings and hands its arguments to Django's commands."""
    return _holds(script, (_SETTINGS,)) and (
        script.name == "manage.py" or _holds(script, ("execute_from_command_line",))
    )


def _holds(path: Path, words: Sequence[str]) -> bool:
    text = _read(path)
    return any(word.encode() in text for word in words)
