"""Folders of trees are used by one worker at a time, share what they have, and do not pile up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dispatcher.queue.tree_upload import upload_tree
from passmuster.model.errors import InfrastructureError
from passmuster.source.manifest import TreeError, digest_of
from tests.support.tree_shelf import TreeShelf
from worker.trees.cache import KEPT_TREES, TreeCache, default_base


@pytest.fixture
def shelf() -> TreeShelf:
    return TreeShelf()


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "trees"


@pytest.fixture
def cache(base: Path) -> TreeCache:
    return TreeCache(base)


def shipped(shelf: TreeShelf, tmp_path: Path, **files: str) -> str:
    """Ship a tree with these files, and return its digest."""
    root = tmp_path / f"source-{len(list(tmp_path.iterdir()))}"
    root.mkdir()
    for name, text in files.items():
        (root / name).write_text(text)
    return upload_tree(shelf, root).digest


def test_a_tree_is_laid_down(cache: TreeCache, shelf: TreeShelf, tmp_path: Path) -> None:
    folder = cache.open(shipped(shelf, tmp_path, a="1", b="2"))

    assert folder.restore(shelf) == 2

    assert sorted(path.name for path in folder.path.iterdir()) == ["a", "b"]
    assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.close()


def test_a_second_worker_gets_a_folder_of_its_own_and_copies(
    cache: TreeCache, shelf: TreeShelf, base: Path, tmp_path: Path
) -> None:
    digest = shipped(shelf, tmp_path, a="1", b="2")
    first = cache.open(digest)
    first.restore(shelf)
    shelf.fetched.clear()

    second = TreeCache(base).open(digest)
    second.restore(shelf)

    assert second.path != first.path
    assert shelf.fetched == [digest], "only the list; the rest is here"
    (second.path / "a").write_text("a test was here")
    assert (first.path / "a").read_text() == "1", "no hard link"
    first.close()
    second.close()


def test_a_folder_that_is_free_again_is_used_again_and_made_right(
    cache: TreeCache, shelf: TreeShelf, tmp_path: Path
) -> None:
    digest = shipped(shelf, tmp_path, a="1", b="2")
    first = cache.open(digest)
    first.restore(shelf)
    (first.path / "a").write_text("a test was here")
    (first.path / "left").write_text("a test was here")
    first.close()
    shelf.fetched.clear()

    second = cache.open(digest)
    assert second.path == first.path
    second.restore(shelf)

    assert (second.path / "a").read_text() == "1"
    assert not (second.path / "left").exists()
    assert shelf.fetched == [digest_of(b"1")]
    second.close()


def test_what_another_tree_has_is_copied_unless_a_test_changed_it(
    cache: TreeCache, shelf: TreeShelf, tmp_path: Path
) -> None:
    other = cache.open(shipped(shelf, tmp_path, a="1", b="2", c="3"))
    other.restore(shelf)
    (other.path / "b").write_text("x")
    (other.path / "c").unlink()
    digest = shipped(shelf, tmp_path, a="1", b="2", c="3", d="4")
    shelf.fetched.clear()

    folder = cache.open(digest)
    folder.restore(shelf)

    assert set(shelf.fetched) == {digest, *map(digest_of, (b"2", b"3", b"4"))}
    assert {path.name: path.read_text() for path in folder.path.iterdir()} == dict(
        zip("abcd", "1234", strict=True)
    )
    folder.close()
    other.close()


def test_what_setup_made_stays(cache: TreeCache, shelf: TreeShelf, tmp_path: Path) -> None:
    folder = cache.open(shipped(shelf, tmp_path, a="1"))
    folder.restore(shelf)
    (folder.path / "made").mkdir()
    folder.keep_setup_files()
    (folder.path / "later").write_text("x")

    folder.restore(shelf)

    assert sorted(path.name for path in folder.path.iterdir()) == ["a", "made"]
    folder.close()


def test_old_trees_go_but_never_one_in_use(
    cache: TreeCache, shelf: TreeShelf, base: Path, tmp_path: Path
) -> None:
    oldest = cache.open(shipped(shelf, tmp_path, a="oldest"))
    oldest.restore(shelf)
    os.utime(oldest.path.parent, (1, 1))
    paths = []
    for number in range(KEPT_TREES + 2):
        folder = cache.open(shipped(shelf, tmp_path, a=f"{number}"))
        folder.restore(shelf)
        (folder.path / "closed").mkdir(mode=0o000)
        folder.close()
        os.utime(folder.path.parent, (10 + number, 10 + number))
        paths.append(folder.path)

    last = cache.open(shipped(shelf, tmp_path, a="last"))

    left = {path for path in (*paths, oldest.path) if path.exists()}
    assert left == {oldest.path, *paths[-KEPT_TREES + 1 :]}
    assert (oldest.path / "a").read_text() == "oldest"
    last.close()
    oldest.close()


def test_a_list_that_was_changed_is_not_believed(
    cache: TreeCache, shelf: TreeShelf, base: Path, tmp_path: Path
) -> None:
    digest = shipped(shelf, tmp_path, a="1")
    other = shipped(shelf, tmp_path, b="2")
    folder = cache.open(digest)
    folder.restore(shelf)
    folder.close()
    (folder.path.parent / "list").write_bytes(shelf.contents[other])

    again = cache.open(digest)
    again.restore(shelf)

    assert [path.name for path in again.path.iterdir()] == ["a"]
    again.close()


@pytest.mark.parametrize("digest", ["", "../x", "/etc", "a" * 63, "A" * 64])
def test_only_a_digest_is_taken_for_one(cache: TreeCache, base: Path, digest: str) -> None:
    with pytest.raises(TreeError, match="is not the digest"):
        cache.open(digest)
    assert list(base.iterdir()) == []


def test_a_tree_that_is_not_there_is_an_error(cache: TreeCache, shelf: TreeShelf) -> None:
    folder = cache.open("0" * 64)
    with pytest.raises(TreeError, match="not there"):
        folder.restore(shelf)
    folder.close()


def test_a_folder_that_others_can_write_is_not_used(base: Path) -> None:
    base.mkdir(parents=True)
    base.chmod(0o777)

    with pytest.raises(InfrastructureError, match="not private to you"):
        TreeCache(base)


def test_a_link_is_not_used(base: Path, tmp_path: Path) -> None:
    base.parent.mkdir(parents=True)
    base.symlink_to(tmp_path)

    with pytest.raises(InfrastructureError, match="not private to you"):
        TreeCache(base)


def test_trees_lie_in_the_users_cache(tmp_path: Path) -> None:
    named, home = tmp_path / "cache", tmp_path / "home"
    home.mkdir()

    assert default_base({"XDG_CACHE_HOME": str(named)}) == named / "passmuster" / "trees"
    assert default_base({"HOME": str(home)}) == home / ".cache" / "passmuster" / "trees"
    assert default_base({"HOME": "/proc/nowhere"}).name == f"passmuster-trees-{os.getuid()}"
    assert default_base({}).name == f"passmuster-trees-{os.getuid()}"
