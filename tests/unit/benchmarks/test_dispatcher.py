"""Tests what the benchmark of the dispatcher measures and calculates."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.commands.dispatcher import simulated_s
from benchmarks.instant_run import run_once
from benchmarks.suites import trivial


def test_files_that_end_at_once_pass_and_their_cost_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trivial.write_suite(tmp_path, files=7)

    found = run_once(tmp_path, slots=3, file_s=0.0)

    assert (found.files, found.passed, found.slots) == (7, 7, 3)
    assert min(found.prepare_s, found.run_s, found.end_s) >= 0.0
    assert found.file_cpu_s > 0.0
    assert capsys.readouterr().out.count("test_trivial_003.py") >= 2


def test_slots_shorten_a_calculated_run_until_one_file_is_the_limit() -> None:
    seconds = [simulated_s(200, slots, mean_s=0.5) for slots in (1, 2, 4, 200)]

    assert seconds[0] == pytest.approx(100.0)
    assert seconds[1] == pytest.approx(50.0, rel=0.02)
    assert seconds == sorted(seconds, reverse=True)
