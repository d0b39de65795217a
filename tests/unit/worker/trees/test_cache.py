"""Directories of trees belong to one worker at a time, share content, and are pruned."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from dispatcher.queue.tree_upload import upload_tree
from passmuster.model.errors import InfrastructureError
from passmuster.source.manifest import TreeError, digest_of
from tests.support.tree_shelf import TreeShelf
from worker.trees.cache import KEPT_TREES, TreeCache, default_base


@pytest.fixture
def store() -> TreeShelf:
    return TreeShelf()


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "trees"


@pytest.fixture
def cache(base: Path) -> TreeCache:
    return TreeCache(base)


def shipped(store: TreeShelf, tmp_path: Path, **files: str) -> str:
    """Ship a tree with these files, and return its digest."""
    root = tmp_path / f"source-{len(list(tmp_path.iterdir()))}"
    root.mkdir()
    for name, text in files.items():
        (root / name).write_text(text)
    return upload_tree(store, root).digest


def test_a_tree_is_materialized(cache: TreeCache, store: TreeShelf, tmp_path: Path) -> None:
    folder = cache.open(shipped(store, tmp_path, a="1", b="2"))

    assert folder.restore(store) == 2

    assert sorted(path.name for path in folder.path.iterdir()) == ["a", "b"]
    assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.close()


def test_a_second_worker_gets_its_own_directory_and_copies_content(
    cache: TreeCache, store: TreeShelf, base: Path, tmp_path: Path
) -> None:
    digest = shipped(store, tmp_path, a="1", b="2")
    first = cache.open(digest)
    first.restore(store)
    store.fetched.clear()

    second = TreeCache(base).open(digest)
    second.restore(store)

    assert second.path != first.path
    assert store.fetched == [digest], "only the list; the rest is here"
    (second.path / "a").write_text("a test was here")
    assert (first.path / "a").read_text() == "1", "no hard link"
    first.close()
    second.close()


def test_a_directory_that_cannot_be_used_is_released(
    cache: TreeCache, store: TreeShelf, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = shipped(store, tmp_path, a="1")

    def fail(_: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patch:
        patch.setattr(os, "utime", fail)
        with pytest.raises(InfrastructureError, match="Read-only file system"):
            cache.open(digest)

    folder = cache.open(digest)
    assert [path.name for path in base.iterdir() if path.is_dir()] == [folder.path.parent.name]
    folder.close()


def test_a_released_directory_is_reused_and_restored(
    cache: TreeCache, store: TreeShelf, tmp_path: Path
) -> None:
    digest = shipped(store, tmp_path, a="1", b="2")
    first = cache.open(digest)
    first.restore(store)
    (first.path / "a").write_text("a test was here")
    (first.path / "left").write_text("a test was here")
    first.close()
    store.fetched.clear()

    second = cache.open(digest)
    assert second.path == first.path
    second.restore(store)

    assert (second.path / "a").read_text() == "1"
    assert not (second.path / "left").exists()
    assert store.fetched == [digest_of(b"1")]
    second.close()


def test_content_of_other_trees_is_copied_unless_a_test_changed_it(
    cache: TreeCache, store: TreeShelf, tmp_path: Path
) -> None:
    other = cache.open(shipped(store, tmp_path, a="1", b="2", c="3"))
    other.restore(store)
    (other.path / "b").write_text("x")
    (other.path / "c").unlink()
    digest = shipped(store, tmp_path, a="1", b="2", c="3", d="4")
    store.fetched.clear()

    folder = cache.open(digest)
    folder.restore(store)

    assert set(store.fetched) == {digest, *map(digest_of, (b"2", b"3", b"4"))}
    assert {path.name: path.read_text() for path in folder.path.iterdir()} == dict(
        zip("abcd", "1234", strict=True)
    )
    folder.close()
    other.close()


def test_files_made_by_setup_stay(cache: TreeCache, store: TreeShelf, tmp_path: Path) -> None:
    folder = cache.open(shipped(store, tmp_path, a="1"))
    folder.restore(store)
    (folder.path / "made").mkdir()
    folder.keep_setup_files()
    (folder.path / "later").write_text("x")

    folder.restore(store)

    assert sorted(path.name for path in folder.path.iterdir()) == ["a", "made"]
    folder.close()


def test_old_trees_are_removed_unless_in_use(
    cache: TreeCache, store: TreeShelf, base: Path, tmp_path: Path
) -> None:
    oldest = cache.open(shipped(store, tmp_path, a="oldest"))
    oldest.restore(store)
    os.utime(oldest.path.parent, (1, 1))
    paths = []
    for number in range(KEPT_TREES + 2):
        folder = cache.open(shipped(store, tmp_path, a=f"{number}"))
        folder.restore(store)
        (folder.path / "closed").mkdir(mode=0o000)
        folder.close()
        os.utime(folder.path.parent, (10 + number, 10 + number))
        paths.append(folder.path)

    last = cache.open(shipped(store, tmp_path, a="last"))

    left = {path for path in (*paths, oldest.path) if path.exists()}
    assert left == {oldest.path, *paths[-KEPT_TREES + 1 :]}
    assert (oldest.path / "a").read_text() == "oldest"
    last.close()
    oldest.close()


def test_a_changed_manifest_is_not_used(
    cache: TreeCache, store: TreeShelf, base: Path, tmp_path: Path
) -> None:
    digest = shipped(store, tmp_path, a="1")
    other = shipped(store, tmp_path, b="2")
    folder = cache.open(digest)
    folder.restore(store)
    folder.close()
    (folder.path.parent / "list").write_bytes(store.contents[other])

    again = cache.open(digest)
    again.restore(store)

    assert [path.name for path in again.path.iterdir()] == ["a"]
    again.close()


@pytest.mark.parametrize("digest", ["", "../x", "/etc", "a" * 63, "A" * 64])
def test_only_a_digest_is_accepted(cache: TreeCache, base: Path, digest: str) -> None:
    with pytest.raises(TreeError, match="is not the digest"):
        cache.open(digest)
    assert list(base.iterdir()) == []


def test_a_missing_tree_is_an_error(cache: TreeCache, store: TreeShelf) -> None:
    folder = cache.open("0" * 64)
    with pytest.raises(TreeError, match="not there"):
        folder.restore(store)
    folder.close()


def test_a_directory_that_other_users_can_write_is_not_used(base: Path) -> None:
    base.mkdir(parents=True)
    base.chmod(0o777)

    with pytest.raises(InfrastructureError, match="not private to you"):
        TreeCache(base)


def test_a_link_is_not_used(base: Path, tmp_path: Path) -> None:
    base.parent.mkdir(parents=True)
    base.symlink_to(tmp_path)

    with pytest.raises(InfrastructureError, match="not private to you"):
        TreeCache(base)


def test_trees_are_in_the_user_s_cache(tmp_path: Path) -> None:
    named, home = tmp_path / "cache", tmp_path / "home"
    home.mkdir()

    assert default_base({"XDG_CACHE_HOME": str(named)}) == named / "passmuster" / "trees"
    assert default_base({"HOME": str(home)}) == home / ".cache" / "passmuster" / "trees"
    assert default_base({"HOME": "/proc/nowhere"}).name == f"passmuster-trees-{os.getuid()}"
    assert default_base({}).name == f"passmuster-trees-{os.getuid()}"
