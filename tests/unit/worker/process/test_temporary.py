"""A worker's temporary directory is private, is removed with it, and is swept when it was killed."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from passmuster.model.errors import InfrastructureError
from worker.process.temporary import PREFIX, PrivateTmp, sweep

REPOSITORY = Path(__file__).resolve().parents[4]


def left_in(parent: Path) -> list[str]:
    return sorted(entry.name for entry in parent.iterdir())


def test_only_the_user_can_read_the_directory_and_it_is_removed(tmp_path: Path) -> None:
    tmp = PrivateTmp(tmp_path)
    directory = tmp.make("1")
    (directory / "deep").mkdir()
    (directory / "deep" / "file").write_text("x", encoding="utf-8")

    assert stat.S_IMODE(directory.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    tmp.remove(directory)
    assert not directory.exists()
    tmp.make("2")
    tmp.close(keep=False)
    assert left_in(tmp_path) == []


def test_kept_directories_are_never_swept(tmp_path: Path) -> None:
    tmp = PrivateTmp(tmp_path)
    kept = tmp.make("1")
    (kept / "file").write_text("x", encoding="utf-8")
    tmp.close(keep=True)

    sweep(tmp_path)

    assert (kept / "file").read_text(encoding="utf-8") == "x"


def test_without_kept_directories_nothing_remains(tmp_path: Path) -> None:
    PrivateTmp(tmp_path).close(keep=True)

    assert left_in(tmp_path) == []


def test_the_next_worker_sweeps_only_the_directories_of_killed_ones(tmp_path: Path) -> None:
    (tmp_path / f"{PREFIX}somebody-elses").mkdir()
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom worker.process.temporary import PrivateTmp\n"
        "PrivateTmp(Path(sys.argv[1])).make('1').joinpath('file').write_text('x')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, tmp_path], cwd=REPOSITORY, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(left_in(tmp_path)) == 2

    living = PrivateTmp(tmp_path)
    other = PrivateTmp(tmp_path)

    assert len(left_in(tmp_path)) == 3
    living.close(keep=False)
    other.close(keep=False)
    assert left_in(tmp_path) == [f"{PREFIX}somebody-elses"]


def test_a_full_disk_is_reported_with_advice(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match="set TMPDIR to another directory"):
        PrivateTmp(tmp_path / "missing")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / ".lock").touch()
    (tmp_path / "place").mkdir()
    os.symlink(target, tmp_path / "place" / f"{PREFIX}link")  # noqa: PTH211

    sweep(tmp_path / "place")

    assert (target / ".lock").exists()


def test_a_directory_swept_before_it_is_locked_is_created_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, others = fcntl.flock, [True]

    def flock(lock: int, operation: int) -> None:
        if others:
            others.clear()
            sweep(tmp_path)
        real(lock, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    tmp = PrivateTmp(tmp_path)

    assert tmp.make("1").is_dir()
    tmp.close(keep=False)
    assert left_in(tmp_path) == []


def test_a_directory_being_swept_is_created_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, others = fcntl.flock, [True]

    def flock(lock: int, operation: int) -> None:
        if others:
            others.clear()
            raise BlockingIOError
        real(lock, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    tmp = PrivateTmp(tmp_path)

    assert tmp.make("1").is_dir()
    tmp.close(keep=False)
