"""A few seeds of the fault harnesses; `tests/faults/README.md` says how to do many."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.breaks import BREAKS
from tests.faults.harness import one_seed, shown
from tests.faults.joined import FAULTS, Fault, one_run
from tests.faults.plan import Kind

SEEDS = (7001, 7013, 7057)
"""Workers, the server and dispatchers fail in these, a disk is full, other runs of the machine are killed,
and one run is left alone by its dispatcher."""

SEEDS_OF_JOINED_RUNS = (6002,)
"""A machine is killed, another one's disk is full, and the server forgets."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_survives_what_goes_wrong(seed: int) -> None:
    report = one_seed(seed)

    assert not report.violations, shown(report)
    assert report.starts > 0


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", SEEDS_OF_JOINED_RUNS)
def test_a_joined_run_survives_what_goes_wrong(seed: int, tmp_path: Path) -> None:
    happened, problems = one_run(seed, tmp_path)

    assert problems == []
    assert happened


def test_every_kind_of_fault_can_be_done() -> None:
    assert BREAKS.keys() == set(Kind)
    assert FAULTS.keys() == set(Fault)
