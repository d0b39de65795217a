"""Reimplements the discovery of the shell scripts, which used `find`.

It uses nothing of `dispatcher.discovery`, on purpose: what is compared must not share its mistakes. A test
directory that is a link is followed, as `find` does with a path that ends in a slash. Links below it are not
followed, and a link is not a regular file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from msgspec import Struct

_WORKDIR = "mvp_site"
_UNIT = "tests"
_EXTRA = (
    ".claude/commands/tests",
    "orchestration/tests",
    "claude_command_scripts/commands",
    "claude-bot-commands/tests",
)
_INTEGRATION = ("test_integration", "tests/test_integration")
_ALWAYS = "test_integration/test_integration_mock.py"
_NOT_UNIT = ("tests/manual_tests/*", "tests/test_integration/*")
_NEVER = ("*/venv/*", "*/node_modules/*", "*/prototype/*")


class LegacyFiles(Struct, frozen=True, kw_only=True):
    """The files that the scripts ran, by path relative to the root.

    Args:
        unit: without an argument.
        integration: with `--integration`.
    """

    unit: frozenset[str]
    integration: frozenset[str]


def find_legacy_files(root: Path) -> LegacyFiles:
    """Return the test files that the shell scripts found below the project root."""
    workdir = root / _WORKDIR if (root / _WORKDIR).is_dir() else root
    unit = {
        path
        for start in (_UNIT, *_EXTRA)
        for path in _find(workdir, start)
        if not any(fnmatchcase(path, pattern) for pattern in _NOT_UNIT)
    }
    if (workdir / _ALWAYS).is_file():
        unit.add(_ALWAYS)
    integration = {path for start in _INTEGRATION for path in _find(workdir, start)}
    prefix = "" if workdir == root else f"{_WORKDIR}/"
    return LegacyFiles(
        unit=frozenset(prefix + path for path in unit),
        integration=frozenset(prefix + path for path in unit | integration),
    )


def _find(workdir: Path, start: str) -> Iterator[str]:
    """Yield what `find START/ -type f -name 'test_*.py' ! -path ...` prints."""
    for folder, _, names in os.walk(workdir / start):
        for name in names:
            path = Path(folder, name)
            relative = path.relative_to(workdir).as_posix()
            is_never = any(fnmatchcase(f"/{relative}", pattern) for pattern in _NEVER)
            if fnmatchcase(name, "test_*.py") and not is_never and not path.is_symlink() and path.is_file():
                yield relative
