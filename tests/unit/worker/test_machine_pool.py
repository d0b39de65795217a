"""Runs on one machine share its memory: real files, real locks, real dead processes."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from worker.capacity import DEFAULT_BUDGET_BYTES, GIB
from worker.machine_pool import FRESH_S, INSIDE_A_TEST, READ_EVERY_S, MachinePool, open_pool

REPOSITORY = Path(__file__).parents[3]
AVAILABLE = 10 * GIB
CEILING = 8 * GIB


class Clock:
    """A clock that stands still unless told."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Runs:
    """Lets runs take seats in one directory, and closes them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = Clock()
        self.pools: list[MachinePool] = []

    def join(self, *, is_default: bool = False, available_bytes: int = AVAILABLE) -> MachinePool:
        """Let a run take a seat."""
        pool = MachinePool(
            self.directory,
            is_default=is_default,
            available_bytes=lambda: available_bytes,
            clock=self.clock,
        )
        self.pools.append(pool)
        return pool

    def later(self, seconds: float = READ_EVERY_S * 2) -> None:
        """Let time pass."""
        self.clock.now_s += seconds


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    directory = tmp_path / "pool"
    directory.mkdir(mode=0o700)
    runs = Runs(directory)
    yield runs
    for pool in runs.pools:
        pool.close()


def _reserve(pool: MachinePool, need_gib: float, *, reserved_gib: float = 0, used_gib: float = 0) -> bool:
    return pool.try_reserve(
        int(need_gib * GIB), reserved_bytes=int(reserved_gib * GIB), used_bytes=int(used_gib * GIB)
    )


def test_a_run_alone_may_reserve_four_fifths_of_what_is_available(runs: Runs) -> None:
    pool = runs.join()
    assert pool.allowance_bytes() == CEILING
    assert _reserve(pool, 7)
    assert _reserve(pool, 1, reserved_gib=7)
    assert not _reserve(pool, 0.1, reserved_gib=8)


def test_two_runs_do_not_double_what_is_available(runs: Runs) -> None:
    first, second = runs.join(), runs.join()
    assert _reserve(first, 5)
    assert not _reserve(second, 4)
    assert _reserve(second, 3)
    runs.later()
    assert first.allowance_bytes() == 5 * GIB
    assert second.allowance_bytes() == 3 * GIB
    assert first.others == second.others == 1


def test_runs_with_the_default_budget_share_one_default_budget(runs: Runs) -> None:
    first, second, explicit = runs.join(is_default=True), runs.join(is_default=True), runs.join()
    assert _reserve(first, 3)
    runs.later()
    assert second.allowance_bytes() == DEFAULT_BUDGET_BYTES - 3 * GIB
    assert not _reserve(second, 2)
    assert _reserve(second, 1)
    assert _reserve(explicit, 4)


def test_what_the_runs_use_themselves_still_counts_as_theirs(runs: Runs) -> None:
    pool = runs.join(available_bytes=AVAILABLE - 6 * GIB)
    assert _reserve(pool, 2, reserved_gib=6, used_gib=6)
    assert not _reserve(pool, 1, reserved_gib=8, used_gib=6)


def test_a_run_that_leaves_gives_its_share_back(runs: Runs) -> None:
    first, second = runs.join(), runs.join()
    assert _reserve(first, 8)
    assert not _reserve(second, 1)
    first.close()
    first.close()
    assert _reserve(second, 8)
    assert [path.suffix for path in runs.directory.iterdir()].count(".claim") == 1


def test_a_file_that_ends_gives_its_share_back(runs: Runs) -> None:
    first, second = runs.join(), runs.join()
    assert _reserve(first, 8)
    first.report(reserved_bytes=2 * GIB, used_bytes=GIB)
    assert _reserve(second, 6)
    assert second.allowance_bytes() == int(0.8 * 11 * GIB) - 2 * GIB


def test_a_waiting_run_keeps_others_from_starting_until_it_got_its_turn(runs: Runs) -> None:
    first, second = runs.join(), runs.join()
    assert _reserve(first, 4)
    assert not _reserve(second, 6)
    runs.later()
    assert not _reserve(first, 1, reserved_gib=4)
    first.report(reserved_bytes=0, used_bytes=0)
    assert not _reserve(first, 1)
    assert _reserve(second, 6)


def test_a_run_that_hangs_while_it_waits_does_not_hold_up_others(runs: Runs) -> None:
    first, second = runs.join(), runs.join()
    assert _reserve(first, 4)
    assert not _reserve(second, 6)
    runs.later(FRESH_S + 1)
    assert _reserve(first, 1, reserved_gib=4)


def test_wanting_something_holds_others_to_their_share(runs: Runs) -> None:
    first, second = runs.join(), runs.join()
    assert _reserve(first, 5)
    assert _reserve(second, 1)
    second.want(1 * GIB)
    assert not _reserve(first, 1, reserved_gib=5)


def test_a_claim_that_cannot_be_read_is_ignored(runs: Runs) -> None:
    pool = runs.join()
    claim_fd = os.open(runs.directory / "9-abc.claim", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(claim_fd, fcntl.LOCK_EX)
        os.write(claim_fd, b'{"pid": "no')
        assert _reserve(pool, 8)
        assert (runs.directory / "9-abc.claim").exists()
    finally:
        os.close(claim_fd)


def test_threads_of_one_run_do_not_tread_on_each_other(runs: Runs) -> None:
    pool, other = runs.join(), runs.join()
    errors: list[Exception] = []

    def work() -> None:
        try:
            for _ in range(50):
                pool.try_reserve(1, reserved_bytes=5, used_bytes=0)
                pool.report(reserved_bytes=5, used_bytes=0)
                pool.allowance_bytes()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    runs.later()
    assert other.allowance_bytes() == CEILING - 5


_RUN = """
import sys, time
from pathlib import Path
from worker.machine_pool import MachinePool
pool = MachinePool(Path(sys.argv[1]), is_default=False, available_bytes=lambda: 10 * 2**30)
print(pool.try_reserve(6 * 2**30, reserved_bytes=0, used_bytes=0), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("ending", [signal.SIGKILL, None])
def test_another_process_shares_and_gives_back_even_when_it_is_killed(
    runs: Runs, ending: signal.Signals | None
) -> None:
    pool = runs.join()
    with subprocess.Popen(
        [sys.executable, "-c", _RUN, str(runs.directory)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        assert not _reserve(pool, 3)
        assert _reserve(pool, 2)
        if ending is None:
            other.communicate(timeout=20)
        else:
            other.send_signal(ending)
            other.wait(20)
    assert _reserve(pool, 8)
    assert len(list(runs.directory.glob("*.claim"))) == 1


def test_while_the_lock_is_held_by_a_stopped_process_nothing_is_granted_and_nothing_hangs(runs: Runs) -> None:
    pool = runs.join()
    lock_fd = os.open(runs.directory / "lock", os.O_RDWR)
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX)
        assert not _reserve(pool, 1)
        pool.report(reserved_bytes=1, used_bytes=1)
    finally:
        os.close(lock_fd)
    assert _reserve(pool, 1)


def test_a_claim_tells_a_curious_person_whose_it_is(runs: Runs) -> None:
    pool = runs.join(is_default=True)
    _reserve(pool, 1)
    (path,) = runs.directory.glob("*.claim")
    record = json.loads(path.read_text())
    assert (record["pid"], record["reserved_bytes"], record["default_budget"]) == (os.getpid(), GIB, True)
    assert path.stat().st_mode & 0o077 == 0


def _open(directory: Path, **environment: str) -> tuple[MachinePool | None, str]:
    return open_pool(
        is_default=True, available_bytes=lambda: AVAILABLE, environment=environment, directory=directory
    )


def test_the_directory_is_made_for_the_user_alone(tmp_path: Path) -> None:
    pool, notice = _open(tmp_path / "new")
    assert pool is not None
    assert notice == ""
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    again, _ = _open(tmp_path / "new")
    assert again is not None
    pool.close()
    again.close()


def test_a_run_inside_a_test_takes_no_part(tmp_path: Path) -> None:
    assert _open(tmp_path / "new", **{INSIDE_A_TEST: "3"}) == (None, "")
    assert not (tmp_path / "new").exists()


def test_the_runtime_directory_is_preferred_and_shared(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    pool, notice = open_pool(
        is_default=True, available_bytes=lambda: AVAILABLE, environment={"XDG_RUNTIME_DIR": str(tmp_path)}
    )
    assert pool is not None
    assert notice == ""
    assert len(list(tmp_path.glob("*/*.claim"))) == 1
    pool.close()


def test_a_directory_that_somebody_else_could_have_made_is_refused(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir(mode=0o700)
    link = tmp_path / "link"
    link.symlink_to(real)
    pool, notice = _open(link)
    assert pool is None
    assert (
        notice
        == f"memory is not shared with other runs on this machine: {link} is not a directory; remove it"
    )
    real.chmod(0o755)
    pool, notice = _open(real)
    assert pool is None
    assert "open to other users" in notice


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir(mode=0o700)
    os.chown(foreign, 12345, -1)
    pool, notice = _open(foreign)
    assert pool is None
    assert "belongs to user 12345" in notice


def test_without_a_place_for_it_sharing_is_off_with_a_notice(tmp_path: Path) -> None:
    pool, notice = _open(tmp_path / "missing" / "deep")
    assert pool is None
    assert notice.startswith("memory is not shared with other runs on this machine: ")
