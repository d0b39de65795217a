"""Resolves the relative paths of a configuration.

A path from an argument or a variable is relative to the caller's current directory; a path from the
configuration file is relative to the project's root, which contains that file.
"""

from __future__ import annotations

import os
from pathlib import Path

from msgspec import Struct


def is_directory(path: Path | str) -> bool:
    """Return whether `path` is a directory; False also if it is too long or cannot be inspected."""
    try:
        return Path(path).is_dir()
    except OSError:
        return False


class PathResolver(Struct, frozen=True, kw_only=True):
    """Resolves paths against two absolute directories."""

    cwd: Path
    root: Path
    home: str = ""  # the user's home for a leading `~/`; empty: unknown, and `~` is a plain name

    def locate(self, text: str, *, from_file: bool) -> Path:
        """Return `text` as an absolute path. It need not exist."""
        if self.home and (text == "~" or text.startswith("~/")):
            text = self.home + text[1:]
        path = (self.root if from_file else self.cwd) / text
        # `..` after a symlink means the target's parent, so only the file system can take it out.
        return Path(os.path.realpath(path)) if ".." in path.parts else path

    def locate_interpreter(self, text: str, *, from_file: bool) -> str:
        """Return an interpreter as an absolute path, or unchanged if it is a name to look up on PATH.

        A symlink at its end is never followed: a virtual environment's `python` is one, and its target
        does not know the environment.
        """
        path = (self.root if from_file else self.cwd) / text
        if "/" not in text:
            return str(path) if os.path.lexists(path / "bin" / "python") else text
        if text.startswith("~/") and self.home:
            path = Path(self.home) / text[2:]
        return str(Path(os.path.realpath(path.parent)) / path.name) if ".." in path.parts else str(path)
