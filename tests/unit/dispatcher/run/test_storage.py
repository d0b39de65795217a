"""What outlives a run lies in the root, ignored by git, or nowhere."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from dispatcher.run.storage import open_storage


def test_a_run_gets_a_private_directory_that_git_ignores(tmp_path: Path) -> None:
    storage = open_storage(tmp_path, "run-1", wanted=True)

    assert storage.run_dir == tmp_path / ".passmuster" / "runs" / "run-1"
    assert stat.S_IMODE(storage.run_dir.stat().st_mode) == 0o700
    assert (tmp_path / ".passmuster" / ".gitignore").read_text(encoding="utf-8") == "*\n"
    assert (storage.state_dir, storage.temporary, storage.notice) == (tmp_path / ".passmuster", None, "")


def test_a_gitignore_of_the_users_own_stays(tmp_path: Path) -> None:
    (tmp_path / ".passmuster").mkdir()
    (tmp_path / ".passmuster" / ".gitignore").write_text("mine\n", encoding="utf-8")

    open_storage(tmp_path, "run-1", wanted=True)

    assert (tmp_path / ".passmuster" / ".gitignore").read_text(encoding="utf-8") == "mine\n"


@pytest.mark.parametrize("wanted", [True, False])
def test_where_nothing_can_or_shall_be_kept_a_temporary_directory_serves(
    tmp_path: Path, wanted: bool
) -> None:
    (tmp_path / ".passmuster").touch()

    storage = open_storage(tmp_path, "run-1", wanted=wanted)

    assert storage.temporary is not None
    assert storage.run_dir.is_dir()
    assert storage.state_dir is None
    assert ("are not kept" in storage.notice) is wanted
    storage.temporary.cleanup()
    assert not storage.run_dir.exists()
