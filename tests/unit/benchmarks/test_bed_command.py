"""What the bed's command prints without running anything."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks.bed import our_runners
from benchmarks.bed.suites import SUITES
from benchmarks.commands import bed


@pytest.fixture
def no_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **_: object) -> None:
        raise AssertionError(f"it ran {arguments}")

    monkeypatch.setattr(subprocess, "run", refuse)
    monkeypatch.setattr(our_runners, "our_help", lambda: "--isolation --preload")


@pytest.mark.usefixtures("no_programs")
def test_the_list_needs_no_suite_to_be_prepared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bed.main(["--list", "--cache", str(tmp_path / "cache")]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines if not line.startswith(" ")] == list(SUITES)
    assert "  pytest: no: the suite is one of scripts" in lines
    assert not (tmp_path / "cache").exists()
