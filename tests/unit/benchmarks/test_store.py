"""The file of results keeps everything, over sessions."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.bed.model import NotMeasured
from benchmarks.bed.store import read_ledger, with_not_measured, with_run, write_ledger
from tests.unit.benchmarks.beds import a_ledger, a_run, verdict


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    ledger = a_ledger(
        a_run("xargs"),
        a_run("ours-auto", verdict(by_file={"a.py": 2, "b.py": 1}, bad_files=("b.py",), longest_s=0.5)),
        not_measured=(NotMeasured(suite="small", runner="stestr", reason="no"),),
    )

    write_ledger(tmp_path / "deep" / "results.json", ledger)

    assert read_ledger(tmp_path / "deep" / "results.json") == ledger
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["results.json"]


def test_a_file_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert read_ledger(tmp_path / "none.json").runs == ()
    assert read_ledger(None).runs == ()


def test_another_benchmarks_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "heavy.json").write_text('{"benchmark": "heavy", "records": []}')

    with pytest.raises(ValueError, match=r"heavy\.json is no file of the bed's results"):
        read_ledger(tmp_path / "heavy.json")


def test_a_pair_is_either_measured_or_not() -> None:
    left_out = NotMeasured(
        suite="small", runner="ours-fork", reason="this version of ours has no --isolation"
    )
    other = NotMeasured(suite="small", runner="ours-fork", reason="another reason")

    ledger = with_not_measured(with_not_measured(a_ledger(), left_out), other)
    assert ledger.not_measured == (other,)

    ledger = with_run(ledger, a_run("ours-fork"))
    assert ledger.not_measured == ()
    assert with_not_measured(ledger, left_out) == ledger
