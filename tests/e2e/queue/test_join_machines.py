"""Machines that join one run over a network: one is switched off in the middle, and one comes late."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.support.joined import Machines, counted, ends, has_ended, leader_of, waits
from tests.e2e.support.processes import wait_until
from tests.support.broker_server import broker_server
from tests.support.machine_net import machine_net

NAMES = tuple(f"test_{number}" for number in range(8))
FILES = {f"tests/{name}.py": counted(name, "time.sleep(0.1)") for name in NAMES}
SLOW = {f"tests/test_slow_{number}.py": waits(f"test_slow_{number}") for number in range(2)}


@pytest.mark.parametrize(
    ("count", "is_leader_lost"), [(2, True), (4, False)], ids=["2, the leader is lost", "4, another is lost"]
)
def test_one_is_switched_off_and_one_comes_late(
    tmp_path: Path, bare_environment: Path, count: int, is_leader_lost: bool
) -> None:
    with (
        machine_net(count + 1) as net,
        broker_server(
            f"bind 127.0.0.1 {net.address}", "protected-mode no", "user default on nopass ~* &* +@all"
        ) as server,
        ExitStack() as undo,
    ):
        machines = Machines(tmp_path, bare_environment, f"redis://{net.address}:{server.port}", count + 1)
        undo.callback(machines.close)
        machines.write({**FILES, **SLOW})
        running = {
            number: machines.start(number, "--isolation", "spawn", prefix=net.prefix(number))
            for number in range(count)
        }
        leader = leader_of(running)
        lost = leader if is_leader_lost else next(number for number in running if number != leader)
        machines.wait_for("test_slow_0.waits")
        events = running[leader].events
        wait_until(lambda: has_ended(events, len(NAMES)), "the other files do not end", within_s=60)

        net.kill(lost)
        running.pop(lost).end()
        machines.projects[lost].may_leave_tmp = True
        running[count] = machines.start(count, "--isolation", "spawn", prefix=net.prefix(count))
        leader_of({number: one for number, one in running.items() if number != lost})
        machines.tell("go")
        outcomes = ends(running)

        for number, outcome in outcomes.items():
            assert outcome.code == 0, str(outcome)
            assert outcome.statuses() == dict.fromkeys([*FILES, *SLOW], "PASS")
            assert machines.junit(number) == machines.junit(count)
        assert {name: machines.runs_of(name) for name in NAMES} == dict.fromkeys(NAMES, 1)
        machines.check()
