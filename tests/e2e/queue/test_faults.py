"""A few seeds of the fault harnesses; `tests/faults/README.md` says how to do many."""

from __future__ import annotations

import pytest

from passmuster.wire.broker_keys import RUNS_KEY, WORKER_TTL_S, worker_key
from passmuster.wire.run_store import connect
from tests.faults.breaks import BREAKS
from tests.faults.harness import one_seed, shown
from tests.faults.joined import FAULTS, Fault
from tests.faults.keys import wrong_keys
from tests.faults.plan import Kind
from tests.support.valkey import private_server

SEEDS = (7001, 7013, 7057)
"""Workers, the server and dispatchers fail in these, a disk is full, other runs of the machine are killed,
and one run is left alone by its dispatcher."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_survives_what_goes_wrong(seed: int) -> None:
    report = one_seed(seed)

    assert not report.violations, shown(report)
    assert report.starts > 0


def test_every_kind_of_fault_can_be_done() -> None:
    assert BREAKS.keys() == set(Kind)
    assert FAULTS.keys() == set(Fault)


def test_keys_that_stay_too_long_or_that_nobody_knows_are_found() -> None:
    with private_server() as server, connect(server.url, timeout_s=5) as client:
        client.set(worker_key("w1"), "card", ex=WORKER_TTL_S)
        client.set(worker_key("w2"), "card", ex=10 * WORKER_TTL_S)
        client.sadd(RUNS_KEY, "run")
        client.set("other", "value", ex=1)

        found = list(wrong_keys(client))

    assert [text.partition(" on the server")[0] for text in found] == [
        "nobody knows the key 'other'",
        "the key 'pm:runs'",
        "the key 'pm:w:w2'",
    ]
