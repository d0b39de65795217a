"""A walk takes regular files, follows links with care, and survives what it cannot read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dispatcher.discovery.patterns import DiscoveryRules, compile_names
from dispatcher.discovery.walk import Walker


def rules(*, excluded: tuple[str, ...] = ()) -> DiscoveryRules:
    files = compile_names(("test_*.py",))
    return DiscoveryRules(
        files=files, excluded_names=frozenset(("skip",)), excluded_paths=frozenset(excluded)
    )


def walk(root: Path, start: str = "", *, excluded: tuple[str, ...] = ()) -> Walker:
    walker = Walker(root=str(root))
    walker.walk(start, rules(excluded=excluded))
    return walker


def make(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    return path


def test_links_that_lead_in_circles_end(root: Path) -> None:
    make(root, "a/test_1.py")
    (root / "a" / "self").symlink_to(".")
    (root / "a" / "up").symlink_to("..")
    (root / "one").symlink_to("two")
    (root / "two").symlink_to("one")
    walker = walk(root)
    assert (sorted(walker.files), walker.warnings) == (["a/test_1.py"], [])


def test_a_directory_is_found_by_its_own_path_and_once(root: Path) -> None:
    make(root, "z/test_1.py")
    (root / "a").symlink_to("z")
    assert sorted(walk(root).files) == ["z/test_1.py"]


def test_a_link_to_a_directory_elsewhere_in_the_root_is_followed(root: Path) -> None:
    make(root, "shared/deep/test_1.py", "tests/test_2.py")
    (root / "tests" / "link").symlink_to("../shared")
    assert sorted(walk(root, "tests").files) == ["tests/link/deep/test_1.py", "tests/test_2.py"]


def test_a_link_above_the_start_does_not_find_its_files_twice(root: Path) -> None:
    make(root, "tests/deep/test_1.py", "other/test_2.py")
    (root / "tests" / "deep" / "up").symlink_to(root)
    assert sorted(walk(root, "tests").files) == ["tests/deep/test_1.py", "tests/deep/up/other/test_2.py"]


def test_two_links_to_one_directory_are_followed_once(root: Path) -> None:
    make(root, "shared/test_1.py", "tests/x")
    (root / "tests" / "b").symlink_to("../shared")
    (root / "tests" / "a").symlink_to("../shared")
    assert sorted(walk(root, "tests").files) == ["tests/a/test_1.py"]


def test_a_link_cannot_lead_into_what_is_excluded(root: Path) -> None:
    make(root, "skip/test_1.py", "by/path/test_2.py", "tests/x")
    (root / "tests" / "a").symlink_to("../skip")
    (root / "tests" / "b").symlink_to("../by/path")
    assert walk(root, "tests", excluded=("by/path",)).files == {}


def test_a_link_out_of_the_root_is_not_followed(root: Path) -> None:
    make(root.parent, "outside/test_1.py", "root-like/test_2.py")
    (root / "directory").symlink_to("../outside")
    (root / "twin").symlink_to("../root-like")
    (root / "test_file.py").symlink_to("../outside/test_1.py")
    walker = walk(root)
    assert walker.files == {}
    assert walker.warnings == ["skipped test_file.py: the link leads outside of the root"]


def test_a_link_to_a_file_in_the_root_is_a_test_file_and_a_broken_one_is_named(root: Path) -> None:
    make(root, "real.py")
    (root / "test_link.py").symlink_to("real.py")
    (root / "test_broken.py").symlink_to("gone.py")
    (root / "broken").symlink_to("gone")
    walker = walk(root)
    assert sorted(walker.files) == ["test_link.py"]
    assert walker.warnings == ["skipped test_broken.py: broken link (No such file or directory)"]


def test_what_only_has_the_name_of_a_test_file_is_not_taken(root: Path) -> None:
    make(root, "test_directory.py/x")
    os.mkfifo(root / "test_pipe.py")
    assert walk(root).files == {}


def test_a_directory_that_cannot_be_read_is_a_warning(root: Path) -> None:
    make(root, "test_1.py")
    handle = os.open(root, os.O_RDONLY)
    # Too deep for an absolute path: this fails for root as well, unlike missing permissions.
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=handle)
        inner = os.open("d" * 250, os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = inner
    os.close(handle)
    walker = walk(root)
    assert sorted(walker.files) == ["test_1.py"]
    (warning,) = walker.warnings
    assert warning.startswith("cannot read directory ddd")
    assert warning.endswith(": File name too long")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_directory_without_permission_is_a_warning(root: Path) -> None:
    (root / "locked").mkdir(mode=0)
    assert walk(root).warnings == ["cannot read directory locked: Permission denied"]


def test_a_start_may_be_a_link_but_not_out_of_the_root_nor_to_what_was_walked(root: Path) -> None:
    make(root, "real/test_1.py", "file")
    (root / "link").symlink_to("real")
    (root / "out").symlink_to("..")
    walker = Walker(root=str(root))
    starts = ("real", "link", "out", "file", "gone")
    assert [walker.can_start(path) for path in starts] == [True, True, False, False, False]
    walker.walk("real", rules())
    assert [walker.can_start(path) for path in starts] == [True, False, False, False, False]


def test_an_environment_is_not_entered_unless_the_walk_starts_in_it(root: Path) -> None:
    make(root, "env/pyvenv.cfg", "env/test_1.py")
    assert walk(root).files == {}
    assert sorted(walk(root, "env").files) == ["env/test_1.py"]


def test_each_directory_is_read_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(root, *(f"d{number}/e/test_{number}.py" for number in range(20)))
    (root / "d0" / "loop").symlink_to("../d1")
    read: list[str] = []
    real = os.scandir

    def counted(path: str) -> os._ScandirIterator[str]:
        read.append(path)
        return real(path)

    monkeypatch.setattr(os, "scandir", counted)
    assert len(walk(root).files) == 20
    assert len(read) == len(set(read)) == 41


def test_a_path_is_inside_the_root_only_below_it() -> None:
    walker = Walker(root="/a/b")
    assert [walker.inside(path) for path in ("/a/b", "/a/b/c", "/a/bc", "/a")] == ["", "c", None, None]
    assert Walker(root="/").inside("/x") == "x"
    assert Walker(root="/").absolute("x") == "/x"
