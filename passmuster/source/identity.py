"""Computes the identity of a source tree: its commit, and a digest of the differences from it.

    git:COMMIT[:FOLDER]                 as committed; the folder where the root is not the repository's top
    git:COMMIT[:FOLDER]+COUNT:DIGEST    with so many files changed, deleted, or not known to git
    files:COUNT:DIGEST                  outside git: all files

Two trees with the same identity have the same files, except for those that git ignores.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from passmuster.model.errors import InfrastructureError
from passmuster.source.files import tree_files, without_marked
from passmuster.source.git import git_prefix, run_git

_MAX_DEPTH = 20
"""Maximum nesting of repositories."""

_SAME_THERE = "check out the same commit there, with the same changes"
_OR_SHIP = "or use --ship"

_MAX_NAMED = 3
"""Maximum number of differing files in a message."""

_SHOWN_CHARS = 12
"""Characters of a digest in a message."""


def tree_identity(root: Path) -> str:
    """Return the identity of the tree below a folder.

    Raises:
        InfrastructureError: git fails, or a file cannot be read.
        ConfigurationError: outside git, there are too many files.
    """
    return _identity(root, _MAX_DEPTH)


def describe_identity(identity: str) -> str:
    """Return an identity as text for the user, on one line; an unknown form is escaped and truncated."""
    base, _, changes = identity.partition("+")
    words = base.split(":", 2)
    if words[0] == "git" and len(words) > 1:
        shown = f"commit {words[1][:_SHOWN_CHARS]}" + (f" (folder {words[2]})" if len(words) > 2 else "")
        count, _, digest = changes.partition(":")
        if changes:
            shown += f" with {count} changed file(s) ({digest[:_SHOWN_CHARS]})"
    elif words[0] == "files" and len(words) == 3:
        shown = f"{words[1]} file(s) outside git ({words[2][:_SHOWN_CHARS]})"
    else:
        shown = identity
    return shown[:200] if shown.isprintable() else ascii(shown)[:200]


def tree_mismatch(
    here: str, wanted: str, *, differing: Callable[[], Sequence[str]] | None = None, may_ship: bool = True
) -> str | None:
    """Return why the tree of this machine is not the run's tree, and what to do; None: it is.

    Args:
        differing: returns the files of the run's manifest that are missing or different here; None: the run
            has no manifest. Its result decides, unless the commits differ: different identities may only mean
            that one side has additional files, such as files that tests write and git does not ignore.
        may_ship: whether the run could upload its files.
    """
    if here == wanted:
        return None
    problem = f"its tree is at {describe_identity(here)}, the run is of {describe_identity(wanted)}"
    advice = f"{_SAME_THERE}, {_OR_SHIP}" if may_ship else _SAME_THERE
    in_git = (here.startswith("git:"), wanted.startswith("git:"))
    if differing is not None and (not all(in_git) or here.partition("+")[0] == wanted.partition("+")[0]):
        return _files_mismatch(differing(), problem, advice)
    if any(in_git) and not all(in_git):
        ship = f"; {_OR_SHIP}" if may_ship else ""
        return f"{problem}: these can be compared only if both sides have git and the repository{ship}"
    return f"{problem}: {advice}"


def _files_mismatch(paths: Sequence[str], problem: str, advice: str) -> str | None:
    if not paths:
        return None
    named = ", ".join(path if path.isprintable() else ascii(path) for path in paths[:_MAX_NAMED])
    more = f" and {len(paths) - _MAX_NAMED} more" if len(paths) > _MAX_NAMED else ""
    return f"{problem} ({named}{more} differ): {advice}"


def parse_status(answer: bytes) -> tuple[str, tuple[str, ...]]:
    """Return the commit, and the paths relative to the top that differ from it or that git does not know.

    `answer` is the output of `git status --porcelain=v2 -z --branch --no-renames`.
    """
    commit, paths = "none", set()
    fields_before_path = {"1": 8, "u": 10, "?": 1}
    for line in filter(None, os.fsdecode(answer).split("\0")):
        kind = line[0]
        if line.startswith("# branch.oid "):
            oid = line.removeprefix("# branch.oid ")
            commit = oid if oid != "(initial)" else commit
        elif kind in fields_before_path:
            paths.add(line.split(" ", fields_before_path[kind])[-1])
    return commit, tuple(sorted(paths))


def _identity(root: Path, depth: int) -> str:
    prefix = git_prefix(root)
    if prefix is None:
        paths = tree_files(root)
        return f"files:{len(paths)}:{_digest(root, paths, depth)}"
    words = ("--porcelain=v2", "-z", "--branch", "--no-renames", "--untracked-files=all")
    answer = run_git(root, "status", *words, "--ignore-submodules=none", "--no-ahead-behind", "--", ".")
    commit, found = parse_status(answer)
    paths = tuple(without_marked(path.removeprefix(prefix) for path in found))
    name = f"git:{commit}" + (f":{prefix.rstrip('/')}" if prefix else "")
    return f"{name}+{len(paths)}:{_digest(root, paths, depth)}" if paths else name


def _digest(root: Path, paths: tuple[str, ...], depth: int) -> str:
    total = hashlib.sha256()
    for path in paths:
        total.update(os.fsencode(path) + b"\0" + _state(root / path, depth) + b"\0")
    return total.hexdigest()


def _state(path: Path, depth: int) -> bytes:
    """Return the state of a path: missing, a link, a nested repository, or a file with this content."""
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            return b"link " + os.fsencode(path.readlink())
        if stat.S_ISDIR(mode):
            inside = _identity(path, depth - 1) if depth > 0 and (path / ".git").exists() else ""
            return b"folder " + os.fsencode(inside)
        if not stat.S_ISREG(mode):
            return b"neither a file nor a link"
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256")
    except (FileNotFoundError, NotADirectoryError):
        return b"gone"
    except OSError as error:
        raise InfrastructureError(
            f"{path} cannot be read, so the tree cannot be compared: {error}"
        ) from error
    return f"file {'x' if mode & stat.S_IXUSR else '-'} {content.hexdigest()}".encode()
