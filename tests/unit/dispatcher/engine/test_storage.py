"""Tests the directories that outlive a run."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from dispatcher.engine.storage import open_storage, prune_runs


def test_a_run_gets_a_private_directory_that_git_ignores(tmp_path: Path) -> None:
    storage = open_storage(tmp_path, "run-1", wanted=True)

    assert storage.run_dir == tmp_path / ".passmuster" / "runs" / "run-1"
    assert stat.S_IMODE(storage.run_dir.stat().st_mode) == 0o700
    assert (tmp_path / ".passmuster" / ".gitignore").read_text(encoding="utf-8") == "*\n"
    assert (storage.state_dir, storage.notice) == (tmp_path / ".passmuster", "")
    assert not storage.is_temporary


def test_a_gitignore_of_the_users_own_stays(tmp_path: Path) -> None:
    (tmp_path / ".passmuster").mkdir()
    (tmp_path / ".passmuster" / ".gitignore").write_text("mine\n", encoding="utf-8")

    open_storage(tmp_path, "run-1", wanted=True)

    assert (tmp_path / ".passmuster" / ".gitignore").read_text(encoding="utf-8") == "mine\n"


@pytest.mark.parametrize("wanted", [True, False])
def test_a_temporary_directory_serves_if_nothing_can_or_shall_be_kept(tmp_path: Path, wanted: bool) -> None:
    (tmp_path / ".passmuster").touch()

    storage = open_storage(tmp_path, "run-1", wanted=wanted)

    assert storage.is_temporary
    assert storage.run_dir.is_dir()
    assert storage.state_dir is None
    assert ("are not kept" in storage.notice) is wanted
    directory = storage.run_dir
    del storage
    assert not directory.exists()


def make_runs(directory: Path, count: int) -> None:
    for number in range(count):
        run = directory / f"run-{number}"
        (run / "deep").mkdir(parents=True)
        (run / "deep" / "a.log").touch()
        os.utime(run, (number, number))


def test_the_oldest_runs_beyond_the_limit_are_removed(tmp_path: Path) -> None:
    make_runs(tmp_path, 5)
    (tmp_path / "a-file").touch()
    assert set(prune_runs(tmp_path, keep=2)) == {tmp_path / f"run-{number}" for number in range(3)}
    assert {path.name for path in tmp_path.iterdir()} == {"run-3", "run-4", "a-file"}
    assert prune_runs(tmp_path, keep=2) == ()


def test_pruning_never_follows_a_link(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    make_runs(elsewhere, 2)
    runs = tmp_path / "runs"
    make_runs(runs, 1)
    (runs / "run-0" / "inner").symlink_to(elsewhere)
    os.utime(runs / "run-0", (0, 0))
    (runs / "link").symlink_to(elsewhere)
    (tmp_path / "linked-runs").symlink_to(elsewhere)
    assert prune_runs(tmp_path / "linked-runs", keep=0) == ()
    assert prune_runs(runs, keep=1) == ()
    assert prune_runs(runs, keep=0) == (runs / "run-0",)
    assert (runs / "link").is_symlink()
    assert len(list(elsewhere.iterdir())) == 2


def test_nothing_to_prune_is_no_error(tmp_path: Path) -> None:
    assert prune_runs(tmp_path / "missing", keep=3) == ()


def test_a_run_in_progress_is_not_pruned(tmp_path: Path) -> None:
    runs = tmp_path / ".passmuster" / "runs"
    make_runs(runs, 1)
    storage = open_storage(tmp_path, "run-live", wanted=True)
    os.utime(storage.run_dir, (0, 0))

    assert prune_runs(runs, keep=0) == (runs / "run-0",)
    assert storage.run_dir.is_dir()

    del storage

    assert prune_runs(runs, keep=0) == (runs / "run-live",)


def test_a_directory_that_another_run_removes_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open
    removed: list[str] = []

    def open_late(path: str | Path, flags: int, *rest: int) -> int:
        descriptor = opened(path, flags, *rest)
        if not removed and os.fspath(path).endswith("run-1"):
            removed.append(os.fspath(path))
            Path(path).rmdir()
        return descriptor

    monkeypatch.setattr(os, "open", open_late)
    storage = open_storage(tmp_path, "run-1", wanted=True)

    assert removed
    assert storage.run_dir.is_dir()
    assert prune_runs(storage.run_dir.parent, keep=0) == ()
