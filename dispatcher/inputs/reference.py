"""Finds what differs between the project's tree and a commit by git: committed, uncommitted, untracked."""

from __future__ import annotations

import os
from collections.abc import Iterable, Set
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

from dispatcher.inputs.tree_state import (
    ABOVE,
    FILE,
    GENERATED,
    LINKS,
    MODULE,
    folders_of,
    split_key,
)
from passmuster.model.errors import ConfigurationError, InfrastructureError
from passmuster.settings.values import MERGE_BASE, on_one_line
from passmuster.source.git import git_prefix, run_git

_MAIN_BRANCHES = (
    *("refs/remotes/origin/HEAD", "refs/remotes/origin/main", "refs/remotes/origin/master"),
    *("refs/heads/main", "refs/heads/master"),
)


class NoReferenceError(Exception):
    """There is no commit to compare with; the message says why.

    Args:
        has_git: whether the project is in a git repository.
    """

    def __init__(self, message: str, *, has_git: bool) -> None:
        super().__init__(message)
        self.has_git = has_git


class Changes:
    """What differs from a commit.

    Args:
        reference: the commit, as shown to the user.
        changed: paths relative to the root whose content differs; a submodule stands for what is in it.
        moved: those of them that exist only in the commit or only in the tree.
    """

    def __init__(self, reference: str, changed: Iterable[str], moved: Iterable[str]) -> None:
        self.reference = reference
        # Git names a repository inside the project with a slash at its end.
        self._changed, self._moved = frozenset(path.rstrip("/") for path in changed), frozenset(moved)

    def concern(self, key: str) -> bool:
        """Return whether an input differs; the modules of a `sys.path` are asked for by `modules_in`."""
        kind, folder, name = split_key(key)
        if kind in (ABOVE, LINKS):
            return False  # It is the same as in the last passing run.
        if kind == FILE:
            # A changed submodule, or another repository, stands for everything in it.
            return name in self._changed or not self._changed.isdisjoint(folders_of(name))
        if kind == MODULE:
            return name in self.modules_in(folder)
        prefix = "" if folder == "." else f"{folder}/"
        return any(
            _matches(path.removeprefix(prefix), name) for path in self._moved if path.startswith(prefix)
        )

    def modules_in(self, folder: str) -> Set[str]:
        """Return the names of modules in a folder that exist only in the commit, or only in the tree."""
        return self._modules.get("" if folder == "." else folder, frozenset())

    @cached_property
    def _modules(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for path in self._moved:
            folder, _, name = path.rpartition("/")
            found.setdefault(folder, set()).add(name.partition(".")[0])
            if name.startswith("__init__."):
                above, _, package = folder.rpartition("/")
                found.setdefault(above, set()).add(package)
        return found


def _matches(path: str, pattern: str) -> bool:
    """Return whether a path, or a folder that it leads through, matches a pattern."""
    parts, patterns = path.split("/"), pattern.split("/")
    return len(parts) >= len(patterns) and all(map(fnmatchcase, parts, patterns))


def find_changes(root: Path, reference: str, *, origin: str) -> Changes:
    """Return what differs from a commit.

    Args:
        reference: a name of the commit that git knows, or `MERGE_BASE`.
        origin: where the name comes from, for messages.

    Raises:
        ConfigurationError: git does not know the commit.
        NoReferenceError: `MERGE_BASE` was asked for, and there is no such commit.
        InfrastructureError: git fails.
    """
    if git_prefix(root) is None:
        if reference == MERGE_BASE:
            raise NoReferenceError("the project is not in a git repository", has_git=False)
        raise ConfigurationError(
            f"cannot compare with the commit {on_one_line(reference)} (from {origin}): {root} is not in a "
            "git repository; give --changed without a commit to compare with the last passing runs"
        )
    commit, shown = _merge_base(root) if reference == MERGE_BASE else _named(root, reference, origin)
    status = _fields(
        run_git(
            root,
            *("diff", "--name-status", "-z", "--no-renames", "--no-ext-diff", "--relative"),
            *("--ignore-submodules=none", commit, "--", "."),
        )
    )
    kinds = dict(zip(status[1::2], status[::2], strict=True))
    others = _fields(run_git(root, "ls-files", "-z", "--others", "--exclude-standard"))
    untracked = [path for path in others if GENERATED.isdisjoint(path.split("/"))]
    moved = (path for path, kind in kinds.items() if kind in ("A", "D"))
    return Changes(shown, (*kinds, *untracked), (*moved, *untracked))


def _named(root: Path, reference: str, origin: str) -> tuple[str, str]:
    commit = _commit(root, reference)
    if commit is None:
        raise ConfigurationError(
            f"git does not know the commit {on_one_line(reference)} (from {origin}): name a branch, tag, or "
            "a commit that this clone has, or fetch it first"
        )
    return commit, on_one_line(reference)


def _merge_base(root: Path) -> tuple[str, str]:
    """Return the commit that the tree shares with the main branch, and its name for people."""
    if _commit(root, "HEAD") is None:
        raise NoReferenceError("the git repository has no commit yet", has_git=True)
    known = run_git(root, "for-each-ref", "--format=%(refname)", *_MAIN_BRANCHES).decode().split()
    branch = next((name for name in _MAIN_BRANCHES if name in known and _commit(root, name)), None)
    if branch is None:
        raise NoReferenceError(
            "git knows no main branch here (origin/HEAD, main, master): fetch it, or name a commit with "
            "--changed=REF",
            has_git=True,
        )
    shown = branch.removeprefix("refs/remotes/").removeprefix("refs/heads/")
    try:
        base = run_git(root, "merge-base", "HEAD", branch).decode().strip()
    except InfrastructureError:
        raise NoReferenceError(
            f"this clone has no common commit with {shown}: it may be shallow (git fetch --unshallow)",
            has_git=True,
        ) from None
    return base, f"{base[:10]}, which it shares with {shown}"


def _commit(root: Path, name: str) -> str | None:
    """Return the ID of a commit by one of its names; None: git does not know it."""
    if not name or "\0" in name:
        return None
    words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    try:
        return run_git(root, *words).decode().strip()
    except InfrastructureError:
        return None


def _fields(answer: bytes) -> list[str]:
    return [os.fsdecode(field) for field in answer.split(b"\0") if field]
