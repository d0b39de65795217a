"""Tests the upload of a source tree: the files of git, and only contents that the broker lacks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dispatcher.queue import tree_upload as sources
from dispatcher.queue.tree_upload import collect_tree, list_tree, upload_tree
from passmuster.model.errors import ConfigurationError
from passmuster.source.manifest import EntryType, digest_of
from tests.support.git_project import GitProject
from tests.support.tree_shelf import TreeShelf


@pytest.fixture
def project(tmp_path: Path) -> GitProject:
    project = GitProject(tmp_path / "project")
    project.write("code.py", "x = 1\n")
    project.write("deleted.py", "x = 1\n")
    project.write("run.sh", "#!/bin/sh\n")
    (project.root / "run.sh").chmod(0o755)
    (project.root / "link").symlink_to("code.py")
    project.write(".gitignore", "ignored*\n")
    project.commit()
    (project.root / "deleted.py").unlink()
    project.write("code.py", "x = 2\n")
    project.write("new/new.py", "x = 3\n")
    project.write("ignored.bin", "large")
    return project


def test_the_tree_has_the_current_contents(project: GitProject) -> None:
    entries = {entry.path: entry for entry in collect_tree(project.root).entries}

    assert list(entries) == [".gitignore", "code.py", "link", "new/new.py", "run.sh"]
    assert entries["code.py"].sha256 == digest_of(b"x = 2\n")
    assert entries["code.py"].kind is EntryType.FILE
    assert entries["run.sh"].kind is EntryType.EXECUTABLE
    assert (entries["link"].kind, entries["link"].target) == (EntryType.LINK, "code.py")


def test_nested_repositories_are_part_of_the_tree(project: GitProject) -> None:
    inside = GitProject(project.root / "inside")
    inside.write(".gitignore", "secret\n")
    inside.write("secret", "1")
    inside.write("f.py", "1")

    paths = [entry.path for entry in collect_tree(project.root).entries]

    assert {"inside/f.py", "inside/.gitignore"} < set(paths)
    assert "inside/secret" not in paths


def test_outside_git_everything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "f.py").write_text("1")
    os.mkfifo(tmp_path / "pipe")

    assert [entry.path for entry in collect_tree(tmp_path).entries] == ["sub/f.py"]


def test_only_what_is_missing_is_sent(project: GitProject) -> None:
    shelf = TreeShelf()
    first = upload_tree(shelf, project.root)
    assert (first.files, first.sent_files) == (5, 4)
    shelf.put_digests.clear()

    assert upload_tree(shelf, project.root).sent_files == 0
    assert shelf.put_digests == []

    project.write("code.py", "x = 5\n")
    second = upload_tree(shelf, project.root)
    assert second.sent_files == 1
    assert shelf.put_digests == [digest_of(b"x = 5\n"), second.digest], "the list comes last"
    assert second.digest != first.digest


def test_the_same_content_is_sent_once(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text("same")

    assert upload_tree(TreeShelf(), tmp_path).sent_files == 1


@pytest.mark.parametrize(
    ("bound", "value", "words"),
    [
        ("MAX_FILE_BYTES", 90, "at most 90 B are allowed for one file"),
        ("MAX_TREE_BYTES", 120, "it has 133 B, at most 120 B are allowed"),
        ("MAX_FILES", 2, "it has 3 files, at most 2 are allowed"),
    ],
)
def test_a_tree_that_is_too_large_is_refused_with_the_largest_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str, value: int, words: str
) -> None:
    for name, size in (("small", 3), ("middle", 30), ("large", 100)):
        (tmp_path / name).write_bytes(bytes(size))
    monkeypatch.setattr(sources, bound, value)

    with pytest.raises(ConfigurationError) as caught:
        upload_tree(TreeShelf(), tmp_path)

    text = str(caught.value)
    assert words in text
    assert "large (100 B), middle (30 B), small (3 B)" in text
    assert caught.value.exit_code == 2


def test_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")

    with pytest.raises(ConfigurationError, match=r"--ship cannot send .*'link' is a link to '/etc/passwd'"):
        upload_tree(TreeShelf(), tmp_path)


def test_a_file_that_changes_during_the_upload_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("before")

    class Slow(TreeShelf):
        def missing(self, digests: object) -> list[str]:
            (tmp_path / "a").write_text("after")
            return list(digests)  # type: ignore[call-overload, no-any-return]

    with pytest.raises(ConfigurationError, match="changed while it was sent"):
        upload_tree(Slow(), tmp_path)


def test_the_upload_is_described_in_one_line(project: GitProject) -> None:
    shelf = TreeShelf()

    first = str(upload_tree(shelf, project.root))
    assert ": 5 file(s), " in first
    assert ", 4 sent (" in first
    assert str(upload_tree(shelf, project.root)).endswith("none new")


def test_a_file_list_can_be_stored_without_contents(project: GitProject) -> None:
    shelf = TreeShelf()

    digest = list_tree(shelf, project.root)

    assert shelf.put_digests == [digest]
    assert shelf.manifest(digest) == collect_tree(project.root)
    assert list_tree(shelf, project.root) == digest
    assert shelf.put_digests == [digest]


@pytest.mark.parametrize("why", ["files", "bytes", "link"])
def test_a_tree_that_is_too_large_or_cannot_be_represented_has_no_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    (tmp_path / "a").write_text("1234567890")
    (tmp_path / "b").write_text("1234567890")
    if why == "files":
        monkeypatch.setattr(sources, "LISTED_FILES", 1)
    elif why == "bytes":
        monkeypatch.setattr(sources, "LISTED_BYTES", 19)
    else:
        (tmp_path / "c").symlink_to("/etc/passwd")

    assert list_tree(TreeShelf(), tmp_path) == ""


def test_outputs_of_the_run_are_not_part_of_the_tree(tmp_path: Path) -> None:
    for name in ("test_a.py", "events.jsonl", "reports/index.html", "reports.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")

    manifest = collect_tree(
        tmp_path, outputs=[tmp_path / "events.jsonl", tmp_path / "reports", Path("/gone")]
    )

    assert [entry.path for entry in manifest.entries] == ["reports.py", "test_a.py"]
