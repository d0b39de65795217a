"""An uploaded tree is set up once, clean for each run, and released when others have come."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from dispatcher.queue.tree_upload import upload_tree
from passmuster.model.errors import InfrastructureError
from tests.support.tree_shelf import TreeShelf
from worker.queue.in_flight import InFlightFile
from worker.queue.log import LogLevel
from worker.trees.cache import KEPT_TREES, TreeCache
from worker.trees.shipped import ShippedTrees


def say(event: str, /, *, about: InFlightFile | None = None, level: LogLevel = LogLevel.INFO) -> None:
    pass


class TreeBuilder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.store = TreeShelf()
        self.base = folder / "trees"

    def ship(self, text: str, **more: str) -> str:
        root = self._folder / f"source-{text}"
        root.mkdir()
        for name, content in {"data": text, **more}.items():
            (root / name).write_text(content)
        return upload_tree(self.store, root).digest

    def trees(self, setup: str = "") -> ShippedTrees:
        return ShippedTrees(
            lambda: TreeCache(self.base),
            self.store,
            setup=setup,
            python=sys.executable,
            environ={"PATH": os.environ["PATH"]},
            say=say,
        )


@pytest.fixture
def builder(tmp_path: Path) -> TreeBuilder:
    return TreeBuilder(tmp_path)


def test_a_tree_is_set_up_once_and_clean_each_time(builder: TreeBuilder, tmp_path: Path) -> None:
    trees = builder.trees(f"echo made > made; echo once >> {tmp_path}/count")
    digest = builder.ship("1")
    for _ in range(3):
        folder = trees.prepare(digest)
        assert sorted(path.name for path in folder.iterdir()) == ["data", "made"]
        (folder / "left").write_text("by a test")
        (folder / "data").write_text("by a test")

    trees.prepare(digest)
    assert (folder / "data").read_text() == "1"
    assert (tmp_path / "count").read_text() == "once\n"
    trees.close()


def test_a_setup_that_failed_is_tried_again_in_a_clean_tree(builder: TreeBuilder, tmp_path: Path) -> None:
    trees = builder.trees(f"ls > {tmp_path}/seen; echo x > half; test -e {tmp_path}/ready")
    digest = builder.ship("1")
    with pytest.raises(InfrastructureError, match="ended with status 1"):
        trees.prepare(digest)
    (tmp_path / "ready").write_text("")

    folder = trees.prepare(digest)

    assert (tmp_path / "seen").read_text() == "data\n"
    assert (folder / "half").exists()
    trees.close()


def test_missing_packages_are_reported_only_without_a_setup(builder: TreeBuilder) -> None:
    digest = builder.ship("1", **{"requirements.txt": "no-such-thing\n"})
    trees, others = builder.trees(), builder.trees("true")

    with pytest.raises(InfrastructureError, match="no-such-thing"):
        trees.prepare(digest)
    others.prepare(digest)
    trees.close()
    others.close()


def test_a_released_tree_is_set_up_again(builder: TreeBuilder, tmp_path: Path) -> None:
    trees = builder.trees(f"cat data >> {tmp_path}/count")
    digests = [builder.ship(str(number)) for number in range(KEPT_TREES + 1)]
    for digest in (*digests, digests[0], digests[-1]):
        trees.prepare(digest)

    assert (tmp_path / "count").read_text() == "01230"
    trees.close()


def test_closing_releases_the_directories(builder: TreeBuilder) -> None:
    trees, others = builder.trees(), builder.trees()
    digest = builder.ship("1")
    folder = trees.prepare(digest)
    assert others.prepare(digest) != folder
    others.close()
    trees.close()

    again = builder.trees()
    assert again.prepare(digest) == folder
    again.close()
