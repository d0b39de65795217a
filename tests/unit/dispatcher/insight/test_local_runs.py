"""The runs on this machine, as people and programs are told."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from msgspec import structs

from dispatcher.insight.status_report import (
    local_lines,
    local_records,
    local_runs,
    status_json,
    waits_of,
)
from passmuster.host.machine_claims import LivingClaims, RunClaim, UnreadableClaim, encode

MIB = 1024**2
CLAIM = RunClaim(
    run="r",
    pid=os.getpid(),
    root="/home/a/shop",
    started_at=1000.0,
    budget_bytes=4096 * MIB,
    files=2,
    reserved_bytes=300 * MIB,
    used_bytes=200 * MIB,
    cpus=1.52,
)
WAITS = RunClaim(
    run="s",
    pid=1,
    root="/b\x1b[2J",
    started_at=1e9,
    waits_for="memory",
    wanted_bytes=MIB,
    waiting_since_at=1e9,
)


def test_each_run_is_printed_with_what_it_holds_and_waits_for() -> None:
    lines = local_lines(LivingClaims(runs=(CLAIM, WAITS)), now_at=1e9 + 5)
    assert lines[0] == "Runs on this machine: 2"
    assert lines[1].startswith(f"  /home/a/shop: process {os.getpid()}, since ")
    assert lines[2] == (
        "    2 file(s) running, memory 200 MiB used and 300 MiB reserved of 4 GiB, 1.5 processor(s)"
    )
    assert lines[3].startswith("  /b: process 1, since ")
    assert lines[5].startswith("    waiting for memory (1 MiB) since ")
    assert lines[5].endswith(" (5.0s)")
    assert lines[6].startswith(f"    held by /home/a/shop (process {os.getpid()}, since ")
    assert lines[6].endswith("): 300 MiB")
    assert len(lines) == 7


def test_programs_are_told_the_same() -> None:
    first, second = local_records(LivingClaims(runs=(CLAIM, WAITS)))
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert (first["root"], first["files"], first["waiting_since_at"]) == ("/home/a/shop", 2, None)
    assert (second["waits_for"], second["waiting_since_at"]) == ("memory", 1e9)


def _lock(folder: Path, claim: RunClaim) -> int:
    claim_fd = os.open(folder / f"{claim.run}.claim", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(claim_fd, fcntl.LOCK_EX)
    os.write(claim_fd, encode(claim))
    return claim_fd


def test_only_living_runs_are_shown_the_oldest_first(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    folder = tmp_path / "passmuster-pool"
    folder.mkdir(mode=0o700)
    (folder / "dead.claim").write_bytes(encode(CLAIM))
    descriptors = [_lock(folder, WAITS), _lock(folder, CLAIM)]
    try:
        assert local_runs(None, {"XDG_RUNTIME_DIR": str(tmp_path)}) == LivingClaims(runs=(CLAIM, WAITS))
        assert local_runs(folder, {}) == LivingClaims(runs=(CLAIM, WAITS))
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def test_a_damaged_claim_is_named_and_hides_none_of_the_others(tmp_path: Path) -> None:
    damaged = tmp_path / "7-abc.claim"
    descriptors = [_lock(tmp_path, WAITS), os.open(damaged, os.O_RDWR | os.O_CREAT, 0o600)]
    fcntl.flock(descriptors[1], fcntl.LOCK_EX)
    os.write(descriptors[1], b"{}")
    try:
        local = local_runs(tmp_path, {})
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    problem = "another version of Passmuster wrote it"
    assert local == LivingClaims(
        runs=(WAITS,), unreadable=(UnreadableClaim(path=str(damaged), problem=problem),)
    )
    lines = local_lines(local, now_at=1e9)
    assert lines[0] == "Runs on this machine: 2"
    assert lines[-1] == f"  {damaged}: the claim of this run cannot be read: {problem}"
    assert json.loads(status_json(None, local))["unreadable_claims"] == [
        {"path": str(damaged), "problem": problem}
    ]


def test_what_the_runs_of_a_project_wait_for_names_who_holds_it(tmp_path: Path) -> None:
    local = LivingClaims(runs=(CLAIM, structs.replace(WAITS, root="/home/a/blog"), WAITS))
    ((pid, waits),) = waits_of(Path("/home/a/blog"), local, now_at=1e9 + 5)
    assert pid == WAITS.pid
    assert str(waits).startswith("has waited 5.0s for 1 MiB of memory, held by /home/a/shop (process ")
    assert waits_of(Path("/home/a/shop"), local, now_at=1e9) == ()


def test_a_folder_that_is_not_the_users_own_is_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "precious.claim").write_text("x")
    (tmp_path / "passmuster-pool").symlink_to(foreign)
    assert local_runs(None, {"XDG_RUNTIME_DIR": str(tmp_path)}) == LivingClaims()
    assert (foreign / "precious.claim").exists()
