"""What files took on this machine is remembered, and shapes the first estimate for an unknown project."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from passmuster.host.machine_peaks import MAX_PEAKS, MAX_PEAKS_OF_RUN, add_peaks, load_peaks
from worker.budget.memory_ledger import MemoryLedger
from worker.budget.memory_policy import UNKNOWN_BYTES, usual_machine_bytes

MIB = 1024**2


def _own(folder: Path) -> Path:
    return folder / f"peaks-{os.getuid()}.json"


def test_peaks_of_several_runs_come_back_the_newest_last(tmp_path: Path) -> None:
    add_peaks(tmp_path, [3, 1, 2])
    add_peaks(tmp_path, [])
    add_peaks(tmp_path, [5])
    assert load_peaks(tmp_path) == (1, 2, 3, 5)
    assert [path.name for path in tmp_path.iterdir()] == [_own(tmp_path).name]
    assert _own(tmp_path).stat().st_mode & 0o777 == 0o600


def test_a_large_run_adds_a_sample_of_its_small_and_large_files(tmp_path: Path) -> None:
    add_peaks(tmp_path, range(1, 1001))
    peaks = load_peaks(tmp_path)
    assert len(peaks) == MAX_PEAKS_OF_RUN
    assert peaks[0] < 60
    assert peaks[-1] > 940
    for _ in range(15):
        add_peaks(tmp_path, range(1, 1001))
    assert len(load_peaks(tmp_path)) == MAX_PEAKS


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[" * 10_000,
        b"[1, 2]",
        b'{"version": 2, "peaks_bytes": [1]}',
        b'{"version": 1, "peaks_bytes": [1, "2"]}',
        b'{"version": 1, "peaks_bytes": [-1]}',
        b'{"version": 1, "peaks_bytes": [true]}',
        b'{"version": 1, "peaks_bytes": [1e9]}',
        b'{"version": 1, "peaks_bytes": [' + b"9" * 5000 + b"]}",
    ],
)
def test_what_is_damaged_does_not_count_and_is_replaced(tmp_path: Path, content: bytes) -> None:
    _own(tmp_path).write_bytes(content)
    assert load_peaks(tmp_path) == ()
    add_peaks(tmp_path, [7])
    assert load_peaks(tmp_path) == (7,)


def test_what_is_no_file_of_the_user_is_not_read(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text(json.dumps({"version": 1, "peaks_bytes": [1]}))
    _own(tmp_path).symlink_to(other)
    assert load_peaks(tmp_path) == ()
    _own(tmp_path).unlink()
    os.mkfifo(_own(tmp_path))
    assert load_peaks(tmp_path) == ()
    if os.getuid() == 0:
        other.rename(_own(tmp_path))
        os.chown(_own(tmp_path), 12345, -1)
        assert load_peaks(tmp_path) == ()


def test_a_folder_that_is_gone_costs_nothing(tmp_path: Path) -> None:
    add_peaks(tmp_path / "gone", [1])
    assert load_peaks(tmp_path / "gone") == ()


def test_an_unknown_file_is_taken_to_need_what_files_of_this_machine_do() -> None:
    usual_bytes = usual_machine_bytes([20 * MIB, 20 * MIB, 40 * MIB, 900 * MIB, 20 * MIB])
    assert usual_bytes == 46 * MIB
    ledger = MemoryLedger(slots=4, budget_bytes=4096 * MIB, limit_bytes=None, usual_bytes=usual_bytes)
    assert ledger.unknown_bytes() == usual_bytes


def test_a_few_files_say_nothing_of_a_machine() -> None:
    assert usual_machine_bytes([MIB] * 3) is None
    ledger = MemoryLedger(slots=4, budget_bytes=4096 * MIB, limit_bytes=None, usual_bytes=None)
    assert ledger.unknown_bytes() == UNKNOWN_BYTES
