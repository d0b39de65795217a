"""Trees are distinguished by their content, and by nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from passmuster.model.errors import InfrastructureError
from passmuster.source.files import tree_files
from passmuster.source.identity import describe_identity, parse_status, tree_identity, tree_mismatch
from tests.support.git_project import GitProject


@pytest.fixture
def project(tmp_path: Path) -> GitProject:
    project = GitProject(tmp_path / "project")
    project.write("code.py", "x = 1\n")
    project.write("tests/test_code.py", "import code\n")
    project.write(".gitignore", "ignored/\n")
    project.commit()
    return project


def test_a_clean_checkout_is_its_commit(project: GitProject) -> None:
    commit = project.git("rev-parse", "HEAD")

    assert tree_identity(project.root) == f"git:{commit}"


def test_two_checkouts_of_a_commit_have_the_same_identity(project: GitProject, tmp_path: Path) -> None:
    clone = project.clone(tmp_path / "clone")

    assert tree_identity(clone.root) == tree_identity(project.root)


def staged(project: GitProject) -> None:
    project.write("code.py", "x = 3\n")
    project.git("add", "code.py")


def other_commit(project: GitProject) -> None:
    project.write("code.py", "x = 4\n")
    project.commit()


CHANGES: dict[str, Callable[[GitProject], object]] = {
    "changed": lambda project: project.write("code.py", "x = 2\n"),
    "staged": staged,
    "deleted": lambda project: (project.root / "code.py").unlink(),
    "deleted in the index": lambda project: project.git("rm", "-q", "tests/test_code.py"),
    "untracked": lambda project: project.write("new folder/new.py", "x = 1\n"),
    "untracked, with a strange name": lambda project: project.write("a\nb -> c.py", "x = 1\n"),
    "executable": lambda project: (project.root / "code.py").chmod(0o755),
    "a link": lambda project: (project.root / "link").symlink_to("code.py"),
    "another link": lambda project: (project.root / "link").symlink_to("tests"),
    "another commit": other_commit,
    "renamed": lambda project: project.git("mv", "code.py", "other.py"),
    "a repository inside": lambda project: GitProject(project.root / "inside").write("f", "1"),
    "another one inside": lambda project: GitProject(project.root / "inside").write("f", "2"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_changes_the_identity(project: GitProject, tmp_path: Path, name: str) -> None:
    before = tree_identity(project.root)
    clone = project.clone(tmp_path / "clone")

    CHANGES[name](project)
    if name != "another commit":
        CHANGES[name](clone)

    after = tree_identity(project.root)
    assert after != before
    if name != "another commit":
        assert tree_identity(clone.root) == after, "the same change makes the same tree"


def test_different_changes_make_different_identities(project: GitProject, tmp_path: Path) -> None:
    found = set()
    for number, change in enumerate(CHANGES.values()):
        clone = project.clone(tmp_path / f"clone-{number}")
        change(clone)
        found.add(tree_identity(clone.root))

    assert len(found) == len(CHANGES)


def test_undoing_a_change_restores_the_identity(project: GitProject) -> None:
    before = tree_identity(project.root)
    project.write("code.py", "x = 2\n")
    project.write("code.py", "x = 1\n")
    os.utime(project.root / "code.py", (1, 1))

    assert tree_identity(project.root) == before


@pytest.mark.parametrize(
    "name", ["ignored/f", "__pycache__/f.pyc", ".passmuster/history", "env/bin/python", "env/pyvenv.cfg"]
)
def test_generated_files_do_not_count(project: GitProject, name: str) -> None:
    before = tree_identity(project.root)
    project.write("env/pyvenv.cfg", "home = /usr/bin\n")
    project.write(name, "anything")

    assert tree_identity(project.root) == before
    assert name not in tree_files(project.root)


def test_only_the_root_of_a_larger_repository_is_compared(project: GitProject) -> None:
    before = tree_identity(project.root / "tests")
    project.write("code.py", "x = 2\n")

    assert tree_identity(project.root / "tests") == before
    assert before.endswith(":tests")
    project.write("tests/test_code.py", "x = 2\n")
    assert tree_identity(project.root / "tests").startswith(f"{before}+1:")


def test_a_repository_without_a_commit_has_an_identity(tmp_path: Path) -> None:
    project = GitProject(tmp_path / "fresh")
    project.write("f.py", "x = 1\n")

    assert tree_identity(project.root).startswith("git:none+1:")


def test_outside_git_all_files_count(tmp_path: Path) -> None:
    folders = []
    for name in ("one", "two"):
        folder = tmp_path / name
        (folder / "tests").mkdir(parents=True)
        (folder / "tests" / "test_a.py").write_text("x = 1\n")
        (folder / "__pycache__").mkdir()
        (folder / "__pycache__" / name).write_text(name)
        folders.append(folder)
    one, two = map(tree_identity, folders)

    assert one == two
    assert one.startswith("files:1:")
    (folders[1] / "data").write_text("x")
    assert tree_identity(folders[1]) != one


def test_a_folder_that_git_ignores_is_outside_of_it(project: GitProject) -> None:
    project.write("ignored/project/test_a.py", "x = 1\n")

    assert tree_identity(project.root / "ignored" / "project").startswith("files:1:")
    assert tree_files(project.root / "ignored" / "project") == ("test_a.py",)


def test_without_git_all_files_count(project: GitProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    assert tree_identity(project.root).startswith("files:3:")


def test_no_program_of_the_repository_is_executed(project: GitProject, tmp_path: Path) -> None:
    seen = tmp_path / "executed"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {seen}\n")
    program.chmod(0o755)
    hooks = project.root / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("post-index-change", "pre-commit", "query-watchman"):
        (hooks / name).write_bytes(program.read_bytes())
        (hooks / name).chmod(0o755)
    project.git("config", "core.fsmonitor", str(program))
    project.git("config", "diff.external", str(program))
    project.write("code.py", "x = 2\n")

    tree_identity(project.root)
    tree_files(project.root)

    assert not seen.exists()


def test_git_variables_of_a_hook_are_ignored(
    project: GitProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree_identity(project.root)
    other = GitProject(tmp_path / "other")
    monkeypatch.setenv("GIT_DIR", str(other.root / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other.root))

    assert tree_identity(project.root) == before


def test_a_repository_that_cannot_be_read_is_named(project: GitProject) -> None:
    (project.root / ".git" / "config").write_text("[nonsense")

    with pytest.raises(InfrastructureError, match=r"git rev-parse fails in .*project: "):
        tree_identity(project.root)


def test_a_status_is_read_as_git_writes_it() -> None:
    answer = b"\0".join(
        (
            b"# branch.oid 1234",
            b"# branch.head main",
            b"1 .M N... 100644 100644 100644 aa bb a file",
            b"1 D. N... 100644 000000 000000 aa 00 gone",
            b"u UU N... 100644 100644 100644 100644 a b c both sides",
            b"? new\xff",
            b"! ignored",
            b"",
        )
    )

    assert parse_status(answer) == ("1234", ("a file", "both sides", "gone", "new\udcff"))


@pytest.mark.parametrize(
    ("identity", "shown"),
    [
        ("git:0123456789abcdef", "commit 0123456789ab"),
        ("git:0123456789abcdef:sub/folder", "commit 0123456789ab (folder sub/folder)"),
        (
            "git:0123456789abcdef+2:fedcba9876543210",
            "commit 0123456789ab with 2 changed file(s) (fedcba987654)",
        ),
        ("files:7:fedcba9876543210", "7 file(s) outside git (fedcba987654)"),
        ("some\nthing", r"'some\nthing'"),
        ("", ""),
    ],
)
def test_an_identity_is_shown_as_text_for_the_user(identity: str, shown: str) -> None:
    assert describe_identity(identity) == shown


def test_a_mismatch_names_both_identities_and_what_to_do() -> None:
    why = tree_mismatch("git:aaaa", "git:bbbb+1:cccc")

    assert why == (
        "its tree is at commit aaaa, the run is of commit bbbb with 1 changed file(s) (cccc): "
        "check out the same commit there, with the same changes, or use --ship"
    )
    assert "have git" in (tree_mismatch("files:1:aaaa", "git:bbbb") or "")
    assert tree_mismatch("git:aaaa", "git:aaaa") is None
