"""Coverage data for a message: of one process, of several, and damaged."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from coverage import CoverageData

from passmuster.model.errors import InfrastructureError
from passmuster.wire.envelope import unpack_bytes
from worker.process.settings import WorkerSettings
from worker.queue.coverage import pack_coverage


@pytest.fixture
def settings(tmp_path: Path) -> WorkerSettings:
    return WorkerSettings(
        root=tmp_path,
        workdir=tmp_path,
        interpreter=sys.executable,
        environ=dict(os.environ),
        slots=1,
        budget_bytes=1,
    )


def data_file(folder: Path, name: str, lines: list[int]) -> str:
    folder.mkdir(exist_ok=True)
    data = CoverageData(basename=str(folder / name))
    data.add_lines({"/project/shop.py": lines})
    data.write()
    data.close()
    return str(folder / name)


def unpacked(text: str, folder: Path) -> list[int]:
    (folder / "unpacked").write_bytes(unpack_bytes(text, limit_bytes=1 << 20))
    data = CoverageData(basename=str(folder / "unpacked"))
    data.read()
    return sorted(data.lines("/project/shop.py") or [])


def test_without_data_the_text_is_empty(settings: WorkerSettings) -> None:
    assert pack_coverage([], settings) == ""


def test_one_file_is_packed_and_removed(tmp_path: Path, settings: WorkerSettings) -> None:
    one = data_file(tmp_path / "00001", "data", [1, 2])

    assert unpacked(pack_coverage([one], settings), tmp_path) == [1, 2]
    assert not (tmp_path / "00001").exists()


def test_data_of_several_processes_is_combined(tmp_path: Path, settings: WorkerSettings) -> None:
    files = [data_file(tmp_path / "00001", f"data.{number}", [number]) for number in (1, 2, 3)]

    assert unpacked(pack_coverage(files, settings), tmp_path) == [1, 2, 3]
    assert not (tmp_path / "00001").exists()


def test_data_that_cannot_be_combined_is_an_error(tmp_path: Path, settings: WorkerSettings) -> None:
    good = data_file(tmp_path / "00001", "data.1", [1])
    bad = tmp_path / "00001" / "data.2"
    bad.write_text("no data", encoding="utf-8")

    with pytest.raises(InfrastructureError, match="its coverage data cannot be combined"):
        pack_coverage([good, str(bad)], settings)
    assert not (tmp_path / "00001").exists()
