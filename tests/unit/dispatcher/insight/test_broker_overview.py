"""What is on a broker, as people and as programs are told; nothing of it is an instruction."""

from __future__ import annotations

import json

import pytest
from msgspec import structs

from dispatcher.insight.status_report import BrokerState, status_json, status_lines
from passmuster.host.machine_claims import LivingClaims
from passmuster.wire.broker_keys import LEASE_S
from passmuster.wire.broker_messages import RunningFileStatus, RunStatus, WorkerStatus

RUN = RunStatus(
    run_id="r1", started_at=0.0, seconds=125.0, heartbeat_age_s=0.4, waiting=12, running=2, done=30
)
CARD = WorkerStatus(
    name="w1",
    host="box",
    slots=4,
    busy=2,
    budget_bytes=2 << 30,
    used_bytes=300 << 20,
    version="0.1.0",
    runs=("r1",),
    files=(
        RunningFileStatus(run_id="r1", path="tests/test_a.py", seconds=12.0, used_bytes=100 << 20),
        RunningFileStatus(run_id="r1", path="tests/test_b.py", seconds=0.5, used_bytes=0),
    ),
)
HOSTILE = "x\x1b[2J\n\u202e\udcff"


def state(*runs: RunStatus, workers: tuple[WorkerStatus, ...] = ()) -> BrokerState:
    return BrokerState(broker="redis://h:6379/0", runs=runs, workers=workers)


def test_runs_and_workers_are_printed_as_lines() -> None:
    lines = status_lines(state(RUN, workers=(CARD,)))

    head, _, rest = lines[3].partition(": since ")
    assert head == "  r1"
    assert rest[19:] == " (2m 05s), dispatcher alive, files: 12 waiting, 2 running, 30 done"
    assert lines[:3] == ["Broker: redis://h:6379/0", "", "Runs: 1"]
    assert lines[4:] == [
        "",
        "Workers: 1",
        "  w1 on box: 2/4 slots, memory 300 MiB of 2 GiB, version 0.1.0, runs: r1",
        "    tests/test_a.py of r1: 12.0s, 100 MiB",
        "    tests/test_b.py of r1: 0.50s",
    ]


def test_a_damaged_run_is_listed_with_the_others() -> None:
    damaged = RunStatus(run_id="r0", damage="it is damaged \x1b[2J")

    lines = status_lines(state(damaged, RUN))

    assert lines[3] == "  r0: it is damaged "
    assert lines[4].startswith("  r1: since ")
    assert json.loads(status_json(state(damaged), LivingClaims()))["runs"][0]["damage"] == damaged.damage


def test_an_empty_broker_is_reported_as_empty() -> None:
    assert status_lines(state()) == ["Broker: redis://h:6379/0", "", "Runs: 0", "", "Workers: 0"]


def test_a_worker_line_counts_the_files_that_it_does_not_name() -> None:
    card = structs.replace(CARD, busy=9, runs=())

    lines = status_lines(state(workers=(card,)))

    assert lines[5].endswith("runs: none")
    assert lines[-1] == "    and 7 more"


@pytest.mark.parametrize(("silent_s", "word"), [(LEASE_S - 0.1, "alive"), (LEASE_S, "silent")])
def test_a_dispatcher_is_silent_once_a_lease_would_be_over(silent_s: float, word: str) -> None:
    run = structs.replace(RUN, heartbeat_age_s=silent_s)

    assert f", dispatcher {word}" in status_lines(state(run))[3]
    assert json.loads(status_json(state(run), LivingClaims()))["runs"][0]["dispatcher"] == word


def test_what_came_from_the_wire_moves_no_cursor() -> None:
    run = structs.replace(RUN, run_id=HOSTILE, started_at=1e15)
    file = RunningFileStatus(run_id=HOSTILE, path=HOSTILE, seconds=1.0, used_bytes=1)
    card = structs.replace(CARD, name=HOSTILE, host=HOSTILE, version=HOSTILE, runs=(HOSTILE,), files=(file,))

    lines = status_lines(state(run, workers=(card,)))

    assert len(lines) == 8
    assert all(line.isprintable() for line in lines)
    assert "since an unknown time" in lines[3]


def test_programs_get_the_same_on_one_line() -> None:
    text = status_json(state(RUN, workers=(structs.replace(CARD, host="\udcff"),)), LivingClaims())

    assert text.count(b"\n") == 1
    found = json.loads(text)
    assert found["escaped"] is True
    assert found["broker"] == "redis://h:6379/0"
    assert found["runs"] == [
        {
            "run_id": "r1",
            "started_at": 0.0,
            "duration_s": 125.0,
            "dispatcher": "alive",
            "damage": "",
            "heartbeat_age_s": 0.4,
            "waiting": 12,
            "running": 2,
            "done": 30,
        }
    ]
    [worker] = found["workers"]
    assert worker["host"] == "\\udcff"
    assert worker["files"][0] == {
        "run_id": "r1",
        "path": "tests/test_a.py",
        "duration_s": 12.0,
        "used_bytes": 100 << 20,
    }
