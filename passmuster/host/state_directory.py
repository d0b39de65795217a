"""The directory `.passmuster/` in a project's root, which holds the state kept between runs. Git ignores
it."""

from __future__ import annotations

import os
from pathlib import Path

STATE_DIRECTORY = ".passmuster"


def ignore_by_git(state_dir: Path) -> None:
    """Keep the directory out of the user's commits, whatever their `.gitignore` says."""
    ignore = state_dir / ".gitignore"
    if not os.path.lexists(ignore) and os.access(state_dir, os.W_OK):
        ignore.write_text("*\n", encoding="utf-8")
