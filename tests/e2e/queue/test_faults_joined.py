"""Seeds of the fault harness for joined runs, apart from the others, so that both run at the same time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.joined import one_run

SEEDS_OF_JOINED_RUNS = (8182,)
"""The server forgets, a machine is killed, another one is asked to end, and a disk is full."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", SEEDS_OF_JOINED_RUNS)
def test_a_joined_run_survives_what_goes_wrong(seed: int, tmp_path: Path) -> None:
    happened, problems = one_run(seed, tmp_path)

    assert problems == []
    assert happened
