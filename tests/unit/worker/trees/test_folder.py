"""A directory becomes the tree, from any state, and no file outside of it changes."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from passmuster.model.errors import InfrastructureError
from passmuster.source.files import differing_files
from passmuster.source.manifest import EntryType, TreeEntry, TreeError, TreeManifest, digest_of
from worker.trees.folder import local_changes, materialize, remove

CONTENTS = {
    "a.py": b"x = 1\n",
    "sub/deep/b.py": b"x = 2\n",
    "sub/c.sh": b"#!/bin/sh\n",
    "copy.py": b"x = 1\n",
}


def entry(path: str, data: bytes) -> TreeEntry:
    kind = EntryType.EXECUTABLE if path.endswith(".sh") else EntryType.FILE
    return TreeEntry(path=path, kind=kind, size_bytes=len(data), sha256=digest_of(data))


MANIFEST = TreeManifest(
    entries=tuple(
        sorted(
            (
                *(entry(path, data) for path, data in CONTENTS.items()),
                TreeEntry(path="link", kind=EntryType.LINK, target="sub/deep"),
            ),
            key=lambda one: one.path,
        )
    )
)


def supply(sizes: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
    known = {digest_of(data): data for data in CONTENTS.values()}
    yield from ((digest, known[digest]) for digest in sizes)


class TreeBuilder:
    def __init__(self, tmp_path: Path) -> None:
        self.outside = tmp_path / "outside"
        self.outside.mkdir()
        (self.outside / "b.py").write_text("precious")
        self.tree = tmp_path / "tree"
        self.scratch = tmp_path / "part"

    def lay_down(self, manifest: TreeManifest = MANIFEST, kept: frozenset[str] = frozenset()) -> int:
        return materialize(self.tree, manifest, supply, scratch=self.scratch, kept=kept)

    def seen(self) -> dict[str, object]:
        found: dict[str, object] = {}
        for path in sorted(self.tree.rglob("*")):
            name = path.relative_to(self.tree).as_posix()
            if path.is_symlink():
                found[name] = path.readlink()
            elif path.is_file():
                found[name] = (path.read_bytes(), stat.S_IMODE(path.lstat().st_mode))
        return found


@pytest.fixture
def builder(tmp_path: Path) -> TreeBuilder:
    return TreeBuilder(tmp_path)


RIGHT = {
    "a.py": (b"x = 1\n", 0o644),
    "copy.py": (b"x = 1\n", 0o644),
    "link": Path("sub/deep"),
    "sub/c.sh": (b"#!/bin/sh\n", 0o755),
    "sub/deep/b.py": (b"x = 2\n", 0o644),
}


def test_an_empty_folder_becomes_the_tree(builder: TreeBuilder) -> None:
    assert builder.lay_down() == 5

    assert builder.seen() == RIGHT
    assert stat.S_IMODE(builder.tree.stat().st_mode) == 0o700
    assert not builder.scratch.exists()


def test_unchanged_files_are_not_written_again(builder: TreeBuilder) -> None:
    builder.lay_down()
    before = {path: path.lstat().st_mtime_ns for path in builder.tree.rglob("*") if not path.is_dir()}

    assert builder.lay_down() == 0
    assert {path: path.lstat().st_mtime_ns for path in before} == before


def link_for_folder(builder: TreeBuilder) -> None:
    remove(builder.tree / "sub" / "deep")
    (builder.tree / "sub" / "deep").symlink_to(builder.outside)


def same_size_and_time(builder: TreeBuilder) -> None:
    path = builder.tree / "a.py"
    status = path.stat()
    path.write_bytes(b"x = 7\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def folder_for_file(builder: TreeBuilder) -> None:
    (builder.tree / "a.py").unlink()
    (builder.tree / "a.py" / "x").mkdir(parents=True)


def file_for_folder(builder: TreeBuilder) -> None:
    remove(builder.tree / "sub")
    (builder.tree / "sub").write_text("x")


def other_link(builder: TreeBuilder) -> None:
    (builder.tree / "link").unlink()
    (builder.tree / "link").symlink_to(builder.outside)


def link_for_file(builder: TreeBuilder) -> None:
    (builder.tree / "a.py").unlink()
    (builder.tree / "a.py").symlink_to(builder.outside / "b.py")


def pipe_for_file(builder: TreeBuilder) -> None:
    (builder.tree / "a.py").unlink()
    os.mkfifo(builder.tree / "a.py")


def occupied_scratch(builder: TreeBuilder) -> None:
    (builder.tree / "a.py").unlink()
    builder.scratch.symlink_to(builder.outside / "b.py")


DAMAGES: dict[str, Callable[[TreeBuilder], object]] = {
    "another content": lambda builder: (builder.tree / "a.py").write_bytes(b"x = 3\nmore"),
    "another content of the same size and time": same_size_and_time,
    "gone": lambda builder: (builder.tree / "sub" / "deep" / "b.py").unlink(),
    "another mode": lambda builder: (builder.tree / "a.py").chmod(0o600),
    "a further file": lambda builder: (builder.tree / "sub" / "more.py").write_text("x"),
    "a further folder": lambda builder: (builder.tree / "made" / "deep").mkdir(parents=True),
    "a closed folder": lambda builder: (builder.tree / "sub").chmod(0o000),
    "a closed tree": lambda builder: builder.tree.chmod(0o000),
    "another link": other_link,
    "a folder for a file": folder_for_file,
    "a file for a folder": file_for_folder,
    "a link for a folder": link_for_folder,
    "a link for a file": link_for_file,
    "a pipe for a file": pipe_for_file,
    "something where files are written first": occupied_scratch,
}


@pytest.mark.parametrize("name", DAMAGES)
def test_all_changes_of_tests_are_undone(builder: TreeBuilder, name: str) -> None:
    builder.lay_down()
    DAMAGES[name](builder)

    builder.lay_down()

    assert builder.seen() == RIGHT
    assert not (builder.tree / "made").exists()
    assert (builder.outside / "b.py").read_text() == "precious"
    assert [path.name for path in builder.outside.iterdir()] == ["b.py"]


def test_files_made_by_setup_stay_and_later_ones_are_removed(builder: TreeBuilder) -> None:
    builder.lay_down()
    (builder.tree / ".venv" / "lib").mkdir(parents=True)
    (builder.tree / ".venv" / "lib" / "x.py").write_text("made")
    (builder.tree / "sub" / "built.so").write_text("made")
    (builder.tree / "a.py").write_text("changed by setup")
    (builder.tree / "copy.py").unlink()
    kept = local_changes(builder.tree, MANIFEST)
    assert kept == {".venv", "sub/built.so", "a.py", "copy.py"}
    (builder.tree / ".venv" / "lib" / "later.py").write_text("later")
    (builder.tree / "later.py").write_text("later")
    (builder.tree / "sub" / "later.py").write_text("later")
    (builder.tree / "sub" / "c.sh").write_text("changed by a test")

    assert builder.lay_down(kept=kept) == 1

    assert not (builder.tree / "copy.py").exists()
    assert (builder.tree / "a.py").read_text() == "changed by setup"
    assert (builder.tree / "sub" / "c.sh").read_bytes() == CONTENTS["sub/c.sh"]
    left = {path.relative_to(builder.tree).as_posix() for path in builder.tree.rglob("*later*")}
    assert left == {".venv/lib/later.py"}, "what setup made is not looked into"


def test_missing_content_is_an_error(builder: TreeBuilder) -> None:
    with pytest.raises(TreeError, match=r"lacks the content of 'a\.py'"):
        materialize(builder.tree, MANIFEST, lambda _: (), scratch=builder.scratch)


def test_two_files_at_one_path_are_an_error(builder: TreeBuilder) -> None:
    """As where letters of both cases are one: the second finds the first."""
    manifest = TreeManifest(entries=(entry("a.py", CONTENTS["a.py"]), entry("a.py", CONTENTS["a.py"])))

    with pytest.raises(InfrastructureError, match="exists already"):
        materialize(builder.tree, manifest, supply, scratch=builder.scratch)


def test_a_folder_that_cannot_be_written_is_named(builder: TreeBuilder) -> None:
    builder.tree.write_text("a file")

    with pytest.raises(InfrastructureError, match=r"cannot be written to .*tree"):
        builder.lay_down()


def test_differing_files_are_listed_and_not_changed(builder: TreeBuilder) -> None:
    builder.lay_down()
    assert differing_files(MANIFEST, builder.tree) == []
    (builder.tree / "more").write_text("x")
    (builder.tree / "copy.py").chmod(0o777)
    assert differing_files(MANIFEST, builder.tree) == []

    same_size_and_time(builder)
    other_link(builder)
    remove(builder.tree / "sub")
    before = builder.seen()

    assert differing_files(MANIFEST, builder.tree) == ["a.py", "link", "sub/c.sh", "sub/deep/b.py"]
    assert builder.seen() == before
