"""A folder becomes the tree, from whatever it was, and nothing outside of it is touched."""

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


class Bench:
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
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


RIGHT = {
    "a.py": (b"x = 1\n", 0o644),
    "copy.py": (b"x = 1\n", 0o644),
    "link": Path("sub/deep"),
    "sub/c.sh": (b"#!/bin/sh\n", 0o755),
    "sub/deep/b.py": (b"x = 2\n", 0o644),
}


def test_an_empty_folder_becomes_the_tree(bench: Bench) -> None:
    assert bench.lay_down() == 5

    assert bench.seen() == RIGHT
    assert stat.S_IMODE(bench.tree.stat().st_mode) == 0o700
    assert not bench.scratch.exists()


def test_what_is_right_is_not_written_again(bench: Bench) -> None:
    bench.lay_down()
    before = {path: path.lstat().st_mtime_ns for path in bench.tree.rglob("*") if not path.is_dir()}

    assert bench.lay_down() == 0
    assert {path: path.lstat().st_mtime_ns for path in before} == before


def link_for_folder(bench: Bench) -> None:
    remove(bench.tree / "sub" / "deep")
    (bench.tree / "sub" / "deep").symlink_to(bench.outside)


def same_size_and_time(bench: Bench) -> None:
    path = bench.tree / "a.py"
    status = path.stat()
    path.write_bytes(b"x = 7\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def folder_for_file(bench: Bench) -> None:
    (bench.tree / "a.py").unlink()
    (bench.tree / "a.py" / "x").mkdir(parents=True)


def file_for_folder(bench: Bench) -> None:
    remove(bench.tree / "sub")
    (bench.tree / "sub").write_text("x")


def other_link(bench: Bench) -> None:
    (bench.tree / "link").unlink()
    (bench.tree / "link").symlink_to(bench.outside)


def link_for_file(bench: Bench) -> None:
    (bench.tree / "a.py").unlink()
    (bench.tree / "a.py").symlink_to(bench.outside / "b.py")


def pipe_for_file(bench: Bench) -> None:
    (bench.tree / "a.py").unlink()
    os.mkfifo(bench.tree / "a.py")


def occupied_scratch(bench: Bench) -> None:
    (bench.tree / "a.py").unlink()
    bench.scratch.symlink_to(bench.outside / "b.py")


DAMAGES: dict[str, Callable[[Bench], object]] = {
    "another content": lambda bench: (bench.tree / "a.py").write_bytes(b"x = 3\nmore"),
    "another content of the same size and time": same_size_and_time,
    "gone": lambda bench: (bench.tree / "sub" / "deep" / "b.py").unlink(),
    "another mode": lambda bench: (bench.tree / "a.py").chmod(0o600),
    "a further file": lambda bench: (bench.tree / "sub" / "more.py").write_text("x"),
    "a further folder": lambda bench: (bench.tree / "made" / "deep").mkdir(parents=True),
    "a closed folder": lambda bench: (bench.tree / "sub").chmod(0o000),
    "a closed tree": lambda bench: bench.tree.chmod(0o000),
    "another link": other_link,
    "a folder for a file": folder_for_file,
    "a file for a folder": file_for_folder,
    "a link for a folder": link_for_folder,
    "a link for a file": link_for_file,
    "a pipe for a file": pipe_for_file,
    "something where files are written first": occupied_scratch,
}


@pytest.mark.parametrize("name", DAMAGES)
def test_whatever_a_test_did_is_undone(bench: Bench, name: str) -> None:
    bench.lay_down()
    DAMAGES[name](bench)

    bench.lay_down()

    assert bench.seen() == RIGHT
    assert not (bench.tree / "made").exists()
    assert (bench.outside / "b.py").read_text() == "precious"
    assert [path.name for path in bench.outside.iterdir()] == ["b.py"]


def test_what_setup_made_stays_as_it_is_and_what_came_later_goes(bench: Bench) -> None:
    bench.lay_down()
    (bench.tree / ".venv" / "lib").mkdir(parents=True)
    (bench.tree / ".venv" / "lib" / "x.py").write_text("made")
    (bench.tree / "sub" / "built.so").write_text("made")
    (bench.tree / "a.py").write_text("changed by setup")
    (bench.tree / "copy.py").unlink()
    kept = local_changes(bench.tree, MANIFEST)
    assert kept == {".venv", "sub/built.so", "a.py", "copy.py"}
    (bench.tree / ".venv" / "lib" / "later.py").write_text("later")
    (bench.tree / "later.py").write_text("later")
    (bench.tree / "sub" / "later.py").write_text("later")
    (bench.tree / "sub" / "c.sh").write_text("changed by a test")

    assert bench.lay_down(kept=kept) == 1

    assert not (bench.tree / "copy.py").exists()
    assert (bench.tree / "a.py").read_text() == "changed by setup"
    assert (bench.tree / "sub" / "c.sh").read_bytes() == CONTENTS["sub/c.sh"]
    left = {path.relative_to(bench.tree).as_posix() for path in bench.tree.rglob("*later*")}
    assert left == {".venv/lib/later.py"}, "what setup made is not looked into"


def test_content_that_does_not_come_is_an_error(bench: Bench) -> None:
    with pytest.raises(TreeError, match=r"lacks the content of 'a\.py'"):
        materialize(bench.tree, MANIFEST, lambda _: (), scratch=bench.scratch)


def test_two_files_for_one_place_are_an_error(bench: Bench) -> None:
    """As where letters of both cases are one: the second finds the first."""
    manifest = TreeManifest(entries=(entry("a.py", CONTENTS["a.py"]), entry("a.py", CONTENTS["a.py"])))

    with pytest.raises(InfrastructureError, match="exists already"):
        materialize(bench.tree, manifest, supply, scratch=bench.scratch)


def test_a_folder_that_cannot_be_written_is_named(bench: Bench) -> None:
    bench.tree.write_text("a file")

    with pytest.raises(InfrastructureError, match=r"cannot be written to .*tree"):
        bench.lay_down()


def test_what_differs_is_named_and_left_alone(bench: Bench) -> None:
    bench.lay_down()
    assert differing_files(MANIFEST, bench.tree) == []
    (bench.tree / "more").write_text("x")
    (bench.tree / "copy.py").chmod(0o777)
    assert differing_files(MANIFEST, bench.tree) == []

    same_size_and_time(bench)
    other_link(bench)
    remove(bench.tree / "sub")
    before = bench.seen()

    assert differing_files(MANIFEST, bench.tree) == ["a.py", "link", "sub/c.sh", "sub/deep/b.py"]
    assert bench.seen() == before
