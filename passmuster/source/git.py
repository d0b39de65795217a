"""Runs git queries on a tree, with a timeout and with output that does not depend on the user's
configuration.

The user's ignore rules apply. Programs from the user's configuration are not executed: no hook and no file
watcher runs, and nothing is written.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from passmuster.model.errors import InfrastructureError

GIT_S = 120.0
"""Seconds that git may take: it reads every file's status, perhaps from a cold disk."""

_OPTIONS = (
    "--no-optional-locks",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.hooksPath=/dev/null",
    # A user who runs the tests of a tree trusts it, even if another user owns it, as root often does in
    # containers.
    "-c",
    "safe.directory=*",
)

_OUTSIDE = "not a git repository"


def run_git(root: Path, *words: str) -> bytes:
    """Return the output of a git command in a tree.

    Raises:
        InfrastructureError: git cannot be executed, takes too long, or fails.
    """
    asked = _run(root, *words)
    if asked is None:
        raise InfrastructureError("git cannot be executed: it is not on PATH")
    if asked.returncode != 0:
        raise _failed(root, words[0], asked)
    return asked.stdout


def git_prefix(root: Path) -> str | None:
    """Return the path of a folder in its git repository (`sub/folder/`; empty: the top).

    Returns:
        None: it is outside git, its repository ignores it, or git is not installed.

    Raises:
        InfrastructureError: git takes too long, or cannot read the repository.
    """
    asked = _run(root, "rev-parse", "--show-prefix")
    if asked is None:
        return None
    if asked.returncode != 0:
        if _OUTSIDE.encode() in asked.stderr:
            return None
        raise _failed(root, "rev-parse", asked)
    prefix = os.fsdecode(asked.stdout.rstrip(b"\n"))
    ignored = _run(root, "check-ignore", "-q", ".") if prefix else None
    return None if ignored is not None and ignored.returncode == 0 else prefix


def _run(root: Path, *words: str) -> subprocess.CompletedProcess[bytes] | None:
    """Run git; return None if it is not installed."""
    try:
        return subprocess.run(
            ["git", *_OPTIONS, "-C", str(root), *words],
            env=_environment(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=GIT_S,
        )
    except FileNotFoundError:
        return None
    except subprocess.TimeoutExpired as error:
        raise InfrastructureError(
            f"git {words[0]} took more than {GIT_S:.0f} s in {root}: check that its disk responds"
        ) from error
    except OSError as error:
        raise InfrastructureError(f"git cannot be executed: {error}") from error


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Remove the variables that redirect git, which are set when a git hook runs the tests."""
    kept = {name: value for name, value in environ.items() if not name.startswith("GIT_")}
    return {**kept, "LC_ALL": "C", "GIT_NO_LAZY_FETCH": "1"}


def _failed(root: Path, command: str, asked: subprocess.CompletedProcess[bytes]) -> InfrastructureError:
    lines = asked.stderr.decode("utf-8", "backslashreplace").strip().splitlines()
    return InfrastructureError(
        f"git {command} fails in {root}: {lines[0] if lines else f'status {asked.returncode}'}"
    )
