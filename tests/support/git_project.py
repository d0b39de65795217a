"""A project under git, for tests: no configuration of the user's or the machine's plays a part."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


class GitProject:
    """A repository in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q")

    def git(self, *words: str) -> str:
        """Run git there and return what it prints."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        who = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.invalid")
        ran = subprocess.run(
            ["git", *who, "-C", str(self.root), *words],
            env={**environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return ran.stdout.strip()

    def write(self, name: str, text: str) -> None:
        """Write a file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def commit(self) -> str:
        """Commit everything and return the commit."""
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "A commit", "--allow-empty", "--date=2020-01-01T00:00:00Z")
        return self.git("rev-parse", "HEAD")

    def clone(self, root: Path) -> GitProject:
        """Return a fresh checkout of the same commit."""
        subprocess.run(["git", "clone", "-q", str(self.root), str(root)], check=True, timeout=60)
        return GitProject(root)
