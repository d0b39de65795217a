"""What a benchmark has written is read again, so that it can go on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.tables import read_records, write_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Some:
    name: str
    missed: tuple[str, ...]


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    output = tmp_path / "new" / "some.json"
    records = [Some(name="a", missed=()), Some(name="b", missed=("x", "y"))]

    assert read_records(output, "some", Some) == read_records(None, "some", Some) == []
    write_json(output, "some", records)

    assert read_records(output, "some", Some) == records
    assert [path.name for path in output.parent.iterdir()] == ["some.json"]
    with pytest.raises(ValueError, match="has results of some"):
        read_records(output, "other", Some)
