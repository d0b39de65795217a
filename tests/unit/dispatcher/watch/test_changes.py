"""Changes below a folder are noticed, whatever the system offers."""

from __future__ import annotations

import queue
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dispatcher.watch import changes
from dispatcher.watch.changes import ChangeWatcher
from dispatcher.watch.events import Changed

DEADLINE_S = 30.0


@contextmanager
def watched(root: Path, *, polls: bool) -> Iterator[tuple[Callable[[str], None], list[str]]]:
    """Watch a folder; yield a function that waits until a path was reported, and the warnings."""
    reported: queue.SimpleQueue[Changed] = queue.SimpleQueue()
    warnings: list[str] = []
    watcher = ChangeWatcher(root, reported.put, warnings.append, polls=polls)
    watcher.start()

    def wait_for(path: str) -> None:
        while path not in (paths := reported.get(timeout=DEADLINE_S).paths):
            assert paths, "it is not known what changed"

    try:
        yield wait_for, warnings
    finally:
        watcher.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "POLL_S", 0.01)


@pytest.mark.parametrize("polls", [False, True])
def test_every_kind_of_change_is_reported(tmp_path: Path, polls: bool) -> None:
    (tmp_path / "there.py").write_text("1")
    (tmp_path / "gone.py").write_text("1")
    with watched(tmp_path, polls=polls) as (wait_for, warnings):
        (tmp_path / "there.py").write_text("22")
        wait_for("there.py")
        (tmp_path / "gone.py").unlink()
        wait_for("gone.py")
        (tmp_path / "saving.tmp").write_text("333")
        (tmp_path / "saving.tmp").replace(tmp_path / "there.py")
        wait_for("there.py")
        (tmp_path / "new").mkdir()
        if not polls:
            wait_for("new")  # A folder is reported before what is in it is watched.
        (tmp_path / "__pycache__").mkdir()
        (tmp_path / "__pycache__" / "x.pyc").write_text("1")
        (tmp_path / "new" / "röh\nre.py").write_text("1")
        wait_for("new/röh\nre.py")
    assert warnings == []


def test_without_the_package_all_files_are_looked_at_and_one_line_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles._rust_notify", None)
    with watched(tmp_path, polls=False) as (wait_for, warnings):
        (tmp_path / "new.py").write_text("1")
        wait_for("new.py")
    assert len(warnings) == 1
    assert "pip install watchfiles" in warnings[0]


def test_a_name_that_the_package_cannot_read_ends_no_watch(tmp_path: Path) -> None:
    with watched(tmp_path, polls=False) as (wait_for, warnings):
        (tmp_path / "b\udcff.py").write_text("1")
        with pytest.raises(AssertionError, match="not known what changed"):
            wait_for("b\udcff.py")
        (tmp_path / "next.py").write_text("1")
        wait_for("next.py")
    assert len(warnings) == 1
