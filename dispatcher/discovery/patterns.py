"""The rules for names: which files are tests, and which directories a walk never enters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fnmatch import translate
from itertools import accumulate

from msgspec import Struct

SCRIPT_PATTERNS = ("test_*.py",)
"""What the shell scripts ran."""

ORDINARY_PATTERNS = ("test_*.py", "*_test.py")
"""What an ordinary repository calls its test files."""

COMMAND_PATTERNS = (*ORDINARY_PATTERNS, "tests.py")
"""The same if a command of the project runs them: Django's applications start with a `tests.py`."""

UNITTEST_PATTERNS = ("test*.py",)
"""What `python -m unittest` discovers by default."""

SCRIPT_EXCLUDED_NAMES = frozenset(("venv", "node_modules", "prototype"))
ORDINARY_EXCLUDED_NAMES = SCRIPT_EXCLUDED_NAMES | {"build", "dist", "__pycache__", "site-packages"}

ENVIRONMENT_MARK = "pyvenv.cfg"
"""The file in every virtual environment, by which a walk recognizes one under any name."""


class DiscoveryRules(Struct, frozen=True, kw_only=True):
    """What a walk takes and what it leaves out.

    Args:
        excluded_patterns: matches names, of directories and files, that the user excluded; None: none.
        excluded_paths: excluded paths, relative to the root.
    """

    files: re.Pattern[str]
    excluded_names: frozenset[str]
    excluded_patterns: re.Pattern[str] | None = None
    excluded_paths: frozenset[str] = frozenset()
    skips_hidden: bool = False

    def takes(self, name: str, path: str) -> bool:
        """Return whether the file `path` (relative to the root), called `name`, is a test file."""
        return self.files.match(name) is not None and not self._is_left_out(name, path)

    def enters(self, name: str, path: str) -> bool:
        """Return whether a walk enters the directory `path` (relative to the root), called `name`."""
        if name in self.excluded_names or (self.skips_hidden and name.startswith(".")):
            return False
        return not self._is_left_out(name, path)

    def leads_to(self, path: str) -> bool:
        """Return whether a walk from the root could reach the directory `path`."""
        return path == "" or all(self.enters(name, above) for name, above in _ancestors(path))

    def leaves_out(self, path: str) -> bool:
        """Return whether `path`, or a directory above it, is excluded by the user or by its path."""
        return any(self._is_left_out(name, above) for name, above in _ancestors(path))

    def _is_left_out(self, name: str, path: str) -> bool:
        if path in self.excluded_paths:
            return True
        return self.excluded_patterns is not None and self.excluded_patterns.match(name) is not None


def _ancestors(path: str) -> Iterator[tuple[str, str]]:
    """Yield name and path of each directory above `path`, and of `path` itself."""
    parts = path.split("/")
    return zip(parts, accumulate(parts, "{}/{}".format), strict=True)


def compile_names(patterns: Iterable[str]) -> re.Pattern[str]:
    """Return one expression that matches a name of any of the shell patterns."""
    return re.compile("|".join(map(translate, patterns)))
