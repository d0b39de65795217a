"""The directory `.passmuster/` of a project's root, which holds the state kept between runs; cache files."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

STATE_DIRECTORY = ".passmuster"


def ignore_by_git(state_dir: Path) -> None:
    """Keep the directory out of the user's commits, whatever their `.gitignore` says."""
    ignore = state_dir / ".gitignore"
    if not os.path.lexists(ignore) and os.access(state_dir, os.W_OK):
        ignore.write_text("*\n", encoding="utf-8")


def write_cache(path: Path, text: str, *, mode: int = 0o666) -> None:
    """Replace a cache file in one step: of two simultaneous runs, either's file is complete.

    A failure only costs time later, so it is not reported.
    """
    hidden = path.with_name(f".{path.name}-{os.getpid()}-{os.urandom(4).hex()}")
    with suppress(OSError):
        try:
            hidden.touch(mode=mode, exist_ok=False)
            hidden.write_text(text, encoding="ascii")
            hidden.replace(path)
        finally:
            hidden.unlink(missing_ok=True)
