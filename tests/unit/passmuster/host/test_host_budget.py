"""Runs on one machine share its memory and processors: real files, real locks, real dead processes."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec import structs

from passmuster.host.host_budget import (
    ASKED_S,
    FROZEN_S,
    INSIDE_A_TEST,
    LOCK_GIVE_UP_S,
    READ_EVERY_S,
    HostBudget,
    RunProfile,
    open_host_budget,
)
from passmuster.host.host_budget_policy import FileNeed, HeldResources, Shortage
from passmuster.host.host_resources import Level
from passmuster.host.machine_claims import CLAIM_SIZE_BYTES, read_living_claims
from passmuster.model.units import Amount

REPOSITORY = Path(__file__).parents[4]
GIB = 1024**3
AVAILABLE = 10 * GIB
CEILING = 8 * GIB
NOTHING = HeldResources()


class Clock:
    """A clock that stands still unless told."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Runs:
    """Lets runs take seats in one folder, and closes them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Clock()
        self.pools: list[HostBudget] = []

    def join(
        self,
        *levels: Level,
        root: str = "/project",
        machine_memory: Amount | None = None,
        available_bytes: int = AVAILABLE,
    ) -> HostBudget:
        """Let a run take a seat."""
        machine = Level(name="machine", left_bytes=available_bytes, cpus=4)
        pool = HostBudget(
            self.folder,
            RunProfile(root=root, budget_bytes=100 * GIB, slots=4, machine_memory=machine_memory),
            levels=lambda: (machine, *levels),
            clock=self.clock,
        )
        self.pools.append(pool)
        return pool

    def later(self, seconds: float = READ_EVERY_S * 2) -> None:
        """Let time pass."""
        self.clock.now_s += seconds


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    folder = tmp_path / "pool"
    folder.mkdir(mode=0o700)
    runs = Runs(folder)
    yield runs
    for pool in runs.pools:
        pool.close()


def _held(gib: float, *, files: int = 1, used: float = 0, cpus: float = 0.0) -> HeldResources:
    size = int(gib * GIB)
    return HeldResources(
        files=files, reserved_bytes=size, firm_bytes=size, used_bytes=int(used * GIB), cpus=cpus
    )


def _need(gib: float, *, cpus: float = 0.0) -> FileNeed:
    return FileNeed(memory_bytes=int(gib * GIB), cpus=cpus)


def _start(pool: HostBudget, gib: float, held: HeldResources = NOTHING) -> bool:
    return pool.try_start(_need(gib), held) is None


def test_a_run_alone_may_use_four_fifths_of_what_is_available(runs: Runs) -> None:
    pool = runs.join()
    assert pool.free_bytes(_held(1)) == CEILING - GIB
    assert _start(pool, 7)
    assert _start(pool, 1, _held(7))
    assert not _start(pool, 0.1, _held(8))


def test_two_runs_do_not_double_what_is_available(runs: Runs) -> None:
    first, second = runs.join(), runs.join()
    assert _start(first, 5)
    assert not _start(second, 4)
    assert _start(second, 3)
    runs.later()
    assert first.free_bytes(_held(5)) == second.free_bytes(_held(3)) == 0
    assert first.others == second.others == 1


def test_the_budget_of_the_machine_can_be_set(runs: Runs) -> None:
    small, half = (
        runs.join(machine_memory=Amount(size_bytes=GIB)),
        runs.join(machine_memory=Amount(fraction=0.5)),
    )
    assert small.machine_bytes(HeldResources()) == GIB
    assert half.machine_bytes(HeldResources()) == 5 * GIB


def test_what_the_runs_use_themselves_still_counts_as_theirs(runs: Runs) -> None:
    pool = runs.join(available_bytes=AVAILABLE - 6 * GIB)
    assert _start(pool, 2, _held(6, used=6))
    assert not _start(pool, 1, _held(8, used=6))


def test_runs_in_different_control_groups_share_only_what_is_above_both(runs: Runs) -> None:
    def group(name: str) -> Level:
        return Level(name=name, left_bytes=5 * GIB, cpus=1)

    inside, beside, outside = runs.join(group("1:1")), runs.join(group("1:1")), runs.join()
    assert _start(inside, 4)
    assert not _start(beside, 1)
    assert _start(outside, 3)
    assert not _start(beside, 1)


def test_a_run_that_leaves_gives_its_share_back(runs: Runs) -> None:
    first, second = runs.join(), runs.join()
    assert _start(first, 8)
    assert not _start(second, 1)
    first.close()
    first.close()
    assert _start(second, 8)
    assert [path.suffix for path in runs.folder.iterdir()].count(".claim") == 1


def test_a_file_that_ends_gives_its_share_back(runs: Runs) -> None:
    first, second = runs.join(), runs.join()
    assert _start(first, 8)
    first.report(_held(2, used=1))
    assert _start(second, 6)


def test_a_waiting_run_keeps_others_from_starting_until_it_got_its_turn(runs: Runs) -> None:
    first, second = runs.join(), runs.join()
    assert _start(first, 4)
    assert not _start(second, 6)
    runs.later()
    assert not _start(first, 1, _held(4))
    first.report(HeldResources())
    assert not _start(first, 4)
    assert _start(second, 6)


def test_a_run_that_asks_no_more_waits_no_more(runs: Runs) -> None:
    first, second = runs.join(), runs.join()
    assert _start(first, 4)
    assert not _start(second, 6)
    runs.later(ASKED_S * 2)
    second.report(HeldResources())
    assert _start(first, 1, _held(4))


def test_a_frozen_run_waits_for_nothing_and_holds_only_what_it_uses(runs: Runs) -> None:
    frozen, waiting, own = runs.join(), runs.join(), runs.join()
    assert _start(frozen, 5)
    frozen.report(_held(5, used=1))
    assert not _start(waiting, 6)
    assert not _start(own, 1, _held(3))
    runs.later(FROZEN_S + 1)
    assert _start(own, 4, _held(3))


def test_a_clock_that_another_run_has_otherwise_does_not_matter(runs: Runs) -> None:
    first, second = runs.join(), runs.join()
    second._clock = lambda: 5.0
    assert _start(first, 4)
    assert not _start(second, 6)
    assert not _start(first, 1, _held(4))


def test_processors_are_shared(runs: Runs) -> None:
    first, second = runs.join(), runs.join()
    first.report(_held(1, files=3, cpus=3.0))
    assert second.try_start(_need(0.1, cpus=1.0), HeldResources()) is None
    assert second.try_start(_need(0.1, cpus=1.0), _held(0.1, cpus=1.0)) is Shortage.PROCESSORS
    first.report(_held(1, files=3, cpus=0.3))
    runs.later()
    assert second.try_start(_need(0.1, cpus=1.0), _held(0.1, cpus=1.0)) is None


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processors cannot be chosen here")
def test_runs_on_different_processors_do_not_wait_for_each_other(runs: Runs) -> None:
    first, second = runs.join(), runs.join()
    first._claim = structs.replace(first._claim, processors=1 << 4000)
    first.report(_held(1, files=4, cpus=4.0))
    assert second.try_start(_need(0.1, cpus=1.0), _held(0.1, cpus=1.0)) is None


def test_a_waiting_run_reports_the_resource_and_its_holders(runs: Runs) -> None:
    first, second = runs.join(root="/home/a/shop"), runs.join()
    assert second.other_runs() is None
    assert _start(first, 7)
    assert not _start(second, 4)
    runs.later(0.5)
    said = str(second.other_runs())
    assert said.startswith("has waited 0.50s for 4 GiB of memory, held by /home/a/shop (process "), said
    assert said.endswith("): 7 GiB"), said
    (claim,) = (claim for claim in read_living_claims(runs.folder).runs if claim.waits_for)
    assert (claim.waits_for, claim.wanted_bytes) == ("memory", 4 * GIB)
    first.report(HeldResources())
    assert _start(second, 4)
    assert second.other_runs() is None


@pytest.mark.parametrize(
    "text",
    [
        b'{"pid": "no',
        b"[]",
        b'{"version": 1, "pid": 3, "reserved_bytes": 99999999999999}',
        b'{"version": 2, "pid": 3, "levels": [], "root": 5}',
        b"[" * CLAIM_SIZE_BYTES,
    ],
)
def test_a_claim_that_is_damaged_or_of_another_version_does_not_count(runs: Runs, text: bytes) -> None:
    claim_fd = os.open(runs.folder / "9-abc.claim", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(claim_fd, fcntl.LOCK_EX)
        os.write(claim_fd, text)
        pool = runs.join()
        assert pool.unreadable == 1
        assert _start(pool, 8)
        assert (runs.folder / "9-abc.claim").exists()
    finally:
        os.close(claim_fd)


@pytest.mark.parametrize(
    ("name", "value"),
    [("reserved_bytes", -1), ("reserved_bytes", 10**60), ("cpus", 1e400), ("files", True), ("slots", "4")],
)
def test_forged_figures_do_not_count(runs: Runs, name: str, value: object) -> None:
    pool, forger = runs.join(), runs.join()
    record = json.loads((runs.folder / f"{forger._claim.run}.claim").read_text())
    os.pwrite(forger._claim_fd, json.dumps({**record, name: value}).encode().ljust(CLAIM_SIZE_BYTES), 0)
    runs.later()
    assert _start(pool, 8)


def test_a_claim_whose_run_is_dead_is_removed(runs: Runs) -> None:
    stale = runs.folder / "9-abc.claim"
    stale.write_text("whatever")
    assert _start(runs.join(), 8)
    assert not stale.exists()


def test_threads_of_one_run_do_not_tread_on_each_other(runs: Runs) -> None:
    pool, other = runs.join(), runs.join()
    errors: list[Exception] = []
    held = _held(5, files=2)

    def work() -> None:
        try:
            for _ in range(50):
                pool.try_start(_need(0.1), held)
                pool.report(held)
                pool.free_bytes(held)
                pool.other_runs()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    runs.later()
    assert other.free_bytes(_held(0.1)) == pytest.approx(2.9 * GIB, abs=2)


def test_sixty_four_runs_at_once_each_start_a_file(runs: Runs) -> None:
    pools = [runs.join() for _ in range(64)]
    assert all(_start(pool, 0.2) for pool in pools)
    runs.later(READ_EVERY_S * 20)
    assert {pool.others for pool in pools if pool.free_bytes(_held(0.2)) == 0} == {63}


_RUN = """
import sys, time
from pathlib import Path
from passmuster.host.host_resources import Level
from passmuster.host.host_budget import HostBudget, RunProfile
from passmuster.host.host_budget_policy import FileNeed, HeldResources
levels = (Level(name="machine", left_bytes=10 * 2**30, cpus=4),)
seat = RunProfile(root="/other", budget_bytes=2**40, slots=4)
pool = HostBudget(Path(sys.argv[1]), seat, levels=lambda: levels)
print(pool.try_start(FileNeed(memory_bytes=6 * 2**30), HeldResources()), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("ending", [signal.SIGKILL, None])
def test_another_process_shares_and_gives_back_even_when_it_is_killed(
    runs: Runs, ending: signal.Signals | None
) -> None:
    pool = runs.join()
    with subprocess.Popen(
        [sys.executable, "-c", _RUN, str(runs.folder)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "None\n"
        assert not _start(pool, 3)
        assert _start(pool, 2)
        if ending is None:
            other.communicate(timeout=20)
        else:
            other.send_signal(ending)
            other.wait(20)
    assert _start(pool, 8)
    assert len(list(runs.folder.glob("*.claim"))) == 1


def test_a_lock_held_by_a_stopped_process_does_not_block_other_runs_forever(runs: Runs) -> None:
    pool = runs.join()
    lock_fd = os.open(runs.folder / "lock", os.O_RDONLY)
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX)
        assert not _start(pool, 1)
        pool.report(_held(1))
        runs.later(LOCK_GIVE_UP_S)
        assert _start(pool, 1)
    finally:
        os.close(lock_fd)
    assert _start(pool, 1)


def test_a_folder_that_is_removed_meanwhile_stops_nothing(runs: Runs) -> None:
    pool = runs.join()
    for path in runs.folder.iterdir():
        path.unlink()
    runs.folder.rmdir()
    runs.later()
    assert _start(pool, 1)
    pool.report(HeldResources())


def test_a_claim_tells_a_curious_person_whose_it_is(runs: Runs) -> None:
    pool = runs.join(root="/home/a/shop")
    _start(pool, 1)
    (path,) = runs.folder.glob("*.claim")
    record = json.loads(path.read_text())
    assert (record["pid"], record["root"], record["reserved_bytes"]) == (os.getpid(), "/home/a/shop", GIB)
    assert path.stat().st_mode & 0o077 == 0


SEAT = RunProfile(root="/project", budget_bytes=GIB, slots=2)


def _open(folder: Path | None = None, **environment: str) -> tuple[HostBudget | None, str]:
    return open_host_budget(
        SEAT,
        levels=lambda: (Level(name="machine", left_bytes=AVAILABLE, cpus=4),),
        environment=environment,
        folder=folder,
    )


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """A runtime directory, in which the user's own folder is made."""
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    return runtime


def _open_in(runtime: Path) -> tuple[HostBudget | None, str]:
    return _open(XDG_RUNTIME_DIR=str(runtime))


def test_the_users_own_folder_is_made_for_the_user_alone(runtime: Path) -> None:
    pool, notice = _open_in(runtime)
    assert pool is not None
    assert notice == ""
    (folder,) = runtime.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    again, _ = _open_in(runtime)
    assert again is not None
    assert len(list(folder.glob("*.claim"))) == 2
    pool.close()
    again.close()


def test_a_run_inside_a_test_takes_no_part(runtime: Path) -> None:
    environment = {"XDG_RUNTIME_DIR": str(runtime), INSIDE_A_TEST: "3"}
    assert open_host_budget(SEAT, levels=tuple, environment=environment) == (None, "")
    assert list(runtime.iterdir()) == []


NOT_SHARED = "memory and processors are not shared with other runs on this machine: "


def test_a_folder_that_another_user_could_have_made_is_refused(runtime: Path) -> None:
    folder = runtime / "passmuster-pool"
    folder.symlink_to(runtime)
    assert _open_in(runtime) == (None, f"{NOT_SHARED}{folder} is not a directory; remove it")
    folder.unlink()
    folder.mkdir(mode=0o755)
    assert _open_in(runtime) == (None, f"{NOT_SHARED}{folder} is open to other users; remove it")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
def test_a_folder_of_another_user_is_refused(runtime: Path) -> None:
    folder = runtime / "passmuster-pool"
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, -1)
    assert _open_in(runtime) == (None, f"{NOT_SHARED}{folder} belongs to user 12345, not to 0; remove it")
    pool, notice = _open(folder)
    assert (pool, notice) == (
        None,
        f"{NOT_SHARED}{folder} belongs to user 12345; it must belong to user 0 or to 0",
    )


def test_a_shared_folder_must_not_let_users_replace_the_claims_of_others(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    pool, notice = _open(shared)
    assert pool is None
    assert notice.endswith(f"set its sticky bit (chmod +t {shared})")
    shared.chmod(0o1777)
    pool, notice = _open(shared)
    assert (pool is not None, notice) == (True, "")
    (claim,) = shared.glob("*.claim")
    assert claim.stat().st_mode & 0o777 == (shared / "lock").stat().st_mode & 0o777 == 0o644
    assert pool is not None
    pool.close()
    pool, notice = _open(tmp_path / "missing")
    missing = tmp_path / "missing"
    assert pool is None
    assert notice == (
        f"{NOT_SHARED}{missing}: No such file or directory; see to it that the folder {missing} can be "
        "written, or name another one with --machine-folder"
    )


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_lock_that_is_not_a_file_is_named_and_blocks_no_run(
    runtime: Path, make: Callable[[Path], None]
) -> None:
    lock = runtime / "passmuster-pool" / "lock"
    lock.parent.mkdir(mode=0o700)
    make(lock)
    assert _open_in(runtime) == (None, f"{NOT_SHARED}{lock} is not a file; remove it")


def test_a_run_of_another_version_is_named(runtime: Path) -> None:
    folder = runtime / "passmuster-pool"
    folder.mkdir(mode=0o700)
    claim_fd = os.open(folder / "9-abc.claim", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(claim_fd, fcntl.LOCK_EX)
        os.write(claim_fd, b'{"pid": 9, "reserved_bytes": 5, "default_budget": true}')
        pool, notice = _open_in(runtime)
    finally:
        os.close(claim_fd)
    assert pool is not None
    pool.close()
    assert notice == (
        "1 other run(s) on this machine are of another version of Passmuster; "
        f"memory and processors are not shared with them (see {folder})"
    )


def test_a_folder_that_is_full_leaves_nothing_open(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
    pool, notice = _open_in(runtime)
    assert pool is None
    folder = runtime / "passmuster-pool"
    assert notice.startswith(f"{NOT_SHARED}{folder}: No space left on device; see to it that ")
    assert [path.name for path in (runtime / "passmuster-pool").iterdir()] == ["lock"]
    if before:
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_without_free_descriptors_nothing_is_shared_with_a_notice(runtime: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        pool, notice = _open_in(runtime)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert pool is None
    assert notice.startswith(f"{NOT_SHARED}{runtime}")
    assert ": Too many open files; " in notice
