"""What git says differs from a commit, in real repositories."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dispatcher.inputs.reference import Changes, NoReferenceError, find_changes
from dispatcher.inputs.tree_state import file_key
from passmuster.model.errors import ConfigurationError
from passmuster.settings.values import MERGE_BASE


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=x", "-c", "user.email=x@localhost", "-c", "protocol.file.allow=always")
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A branch with a commit of its own, on top of one that it shares with main."""
    root = tmp_path / "repository"
    (root / "sub").mkdir(parents=True)
    git(root, "init", "-q", "-b", "main")
    for name in ("same.py", "committed.py", "uncommitted.py", "deleted.py", "renamed.py", "sub/a.py"):
        (root / name).write_text(name * 20)
    git(root, "add", "-A")
    git(root, "commit", "-qm", "shared")
    git(root, "checkout", "-qb", "branch")
    (root / "committed.py").write_text("x")
    (root / "sub/a.py").write_text("x")
    git(root, "commit", "-qam", "mine")
    git(root, "mv", "renamed.py", "new_name.py")
    (root / "uncommitted.py").write_text("x")
    (root / "deleted.py").unlink()
    (root / "untracked.py").write_text("x")
    (root / "__pycache__").mkdir()
    (root / "__pycache__/same.pyc").write_text("x")
    return root


def concerned(changes: Changes, *names: str) -> set[str]:
    return {name for name in names if changes.concern(file_key(name))}


ALL = ("same.py", "committed.py", "uncommitted.py", "deleted.py", "renamed.py", "new_name.py", "untracked.py")


def test_committed_uncommitted_and_untracked_differences_count(repository: Path) -> None:
    of_branch = find_changes(repository, MERGE_BASE, origin="x")
    of_head = find_changes(repository, "HEAD", origin="x")

    assert concerned(of_branch, *ALL) == {*ALL} - {"same.py"}
    assert of_branch.reference.endswith("which it shares with main")
    assert of_branch.modules_in(".") == {"deleted", "renamed", "new_name", "untracked"}
    assert concerned(of_head, *ALL) == {*ALL} - {"same.py", "committed.py"}
    assert of_head.reference == "HEAD"


def test_paths_are_relative_to_a_root_below_the_repository(repository: Path) -> None:
    assert concerned(find_changes(repository / "sub", "main", origin="x"), "a.py", "committed.py") == {"a.py"}


@pytest.mark.parametrize("name", ["nowhere", "-x", "--all", "HEAD:same.py", ""])
def test_an_unknown_commit_is_an_error_that_names_it(repository: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"git does not know the commit {name} .from --changed"):
        find_changes(repository, name, origin="--changed")


def test_without_git_a_commit_is_an_error_and_the_merge_base_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not in a git repository"):
        find_changes(tmp_path, "main", origin="--changed")
    with pytest.raises(NoReferenceError, match="not in a git repository") as found:
        find_changes(tmp_path, MERGE_BASE, origin="--changed")
    assert not found.value.has_git


def test_no_commit_no_main_branch_and_no_shared_commit_are_said(repository: Path, tmp_path: Path) -> None:
    empty, shallow = tmp_path / "empty", tmp_path / "shallow"
    empty.mkdir()
    git(empty, "init", "-q")
    git(repository, "checkout", "-qf", "main")
    git(repository, "commit", "-q", "--allow-empty", "-m", "later")
    git(tmp_path, "clone", "-q", "--no-single-branch", "--depth=1", f"file://{repository}", "shallow")
    git(shallow, "checkout", "-q", "branch")
    git(repository, "branch", "-m", "main", "trunk")

    for root, message in (
        (empty, "no commit yet"),
        (shallow, "no common commit with origin/HEAD: it may be shallow"),
        (repository, "git knows no main branch here"),
    ):
        with pytest.raises(NoReferenceError, match=message) as found:
            find_changes(root, MERGE_BASE, origin="x")
        assert found.value.has_git
