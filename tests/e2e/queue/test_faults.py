"""A few seeds of the fault harness; `tests/faults/README.md` says how to do many."""

from __future__ import annotations

import pytest

from tests.faults.harness import one_seed, shown

SEEDS = (101, 102, 305)
"""Workers, the server and dispatchers fail in these, and one dispatcher goes on with --resume."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_survives_what_goes_wrong(seed: int) -> None:
    report = one_seed(seed)

    assert not report.violations, shown(report)
    assert report.starts > 0
