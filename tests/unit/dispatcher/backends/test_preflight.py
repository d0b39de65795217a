"""Which workers a run refuses."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from dispatcher.backends.preflight import check_workers, no_worker
from passmuster.errors import InfrastructureError


@dataclass(frozen=True)
class Card:
    name: str
    version: str


def test_a_worker_of_another_version_is_refused_by_name() -> None:
    check_workers([Card("w1", "1.0")], version="1.0")

    with pytest.raises(InfrastructureError, match=r"worker w2 has version 0\.9"):
        check_workers([Card("w1", "1.0"), Card("w2", "0.9")], version="1.0")


def test_the_lack_of_workers_says_how_to_start_one() -> None:
    assert "python -P -m worker" in str(no_worker(shown="x", waited_s=60))
