"""The same command on several machines: one verdict, whatever happens to the machines meanwhile."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import closing

import pytest

from passmuster.wire.run_store import WorkerDirectory, connect
from tests.e2e.support.joined import (
    FAILS_UNTIL_MENDED,
    Machines,
    counted,
    ends,
    has_ended,
    junit_cases,
    kill,
    leader_of,
    waits,
)
from tests.e2e.support.processes import wait_until

Make = Callable[[int], Machines]

NAMES = tuple(f"test_{number}" for number in range(6))
PLAIN = {f"tests/{name}.py": counted(name, "time.sleep(0.1)") for name in NAMES}
FAILING = {"tests/test_fails.py": FAILS_UNTIL_MENDED}
SLOW = {f"tests/test_slow_{number}.py": waits(f"test_slow_{number}") for number in range(2)}
"""As many as one machine runs at once."""

STATUSES = {f"tests/{name}.py": "PASS" for name in NAMES}


def test_all_machines_come_to_the_verdict_of_one(machines: Make) -> None:
    count = 4
    all_of_them = machines(count)
    all_of_them.write({**PLAIN, **FAILING})
    env = all_of_them.environment(0, PASSMUSTER_BROKER_URL=None)
    local = all_of_them.projects[0].run("-j", "2", "--junit-xml", "../local.xml", env=env)
    wanted = junit_cases(all_of_them.projects[0].base / "local.xml")
    before = {name: all_of_them.runs_of(name) for name in NAMES}

    outcomes = ends({number: all_of_them.start(number) for number in range(count)})

    for number, outcome in outcomes.items():
        assert outcome.code == local.code == 1, str(outcome)
        assert outcome.statuses() == local.statuses(), str(outcome)
        assert all_of_them.junit(number) == wanted
    # Each file once more; where a failure is checked, or a fork confirmed, some also twice.
    assert all(all_of_them.runs_of(name) > before[name] for name in NAMES)
    assert sum("leads run" in outcome.stderr for outcome in outcomes.values()) == count


def test_the_leader_is_killed_and_another_one_goes_on(machines: Make) -> None:
    two = machines(2)
    two.write({**PLAIN, **SLOW})
    running = {number: two.start(number, "--isolation", "spawn") for number in range(2)}
    first = leader_of(running)
    two.wait_for("test_slow_0.waits")
    two.wait_for("test_slow_1.waits")
    # The others have ended, and that is written down.
    wait_until(lambda: all(two.runs_of(name) for name in NAMES), "the other files do not run", within_s=60)
    wait_until(lambda: has_ended(running[first].events, len(NAMES)), "they do not end", within_s=60)

    kill(running.pop(first))
    (other,) = running
    assert leader_of(running) == other
    two.tell("go")
    outcome = ends(running)[other]

    assert outcome.code == 0, str(outcome)
    assert outcome.statuses() == {**STATUSES, **dict.fromkeys(SLOW, "PASS")}
    assert "6 of 8 files have already run" in outcome.stderr
    assert {name: two.runs_of(name) for name in NAMES} == dict.fromkeys(NAMES, 1)


def test_a_follower_is_killed_and_its_files_run_elsewhere(machines: Make) -> None:
    two = machines(2)
    two.write({**PLAIN, **SLOW})
    running = {number: two.start(number) for number in range(2)}
    first = leader_of(running)
    two.wait_for("test_slow_0.waits")

    kill(running.pop(1 - first))
    two.tell("go")
    outcome = ends(running)[first]

    assert outcome.code == 0, str(outcome)
    assert outcome.statuses() == {**STATUSES, **dict.fromkeys(SLOW, "PASS")}


def test_late_machines_work_too_or_get_what_there_is(machines: Make) -> None:
    three = machines(3)
    three.write({**PLAIN, **SLOW, "tests/test_slow_2.py": waits("test_slow_2")})
    early = three.start(0)
    three.wait_for("test_slow_0.waits")
    three.wait_for("test_slow_1.waits")

    later = three.start(1)
    three.wait_for("test_slow_2.waits")  # There was no room on the first.
    three.tell("go")
    outcomes = ends({0: early, 1: later})
    count = sum(map(three.runs_of, NAMES))
    outcomes |= ends({2: three.start(2)})

    assert [outcomes[number].code for number in range(3)] == [0, 0, 0], str(outcomes)
    assert outcomes[0].statuses() == outcomes[1].statuses() == outcomes[2].statuses()
    assert three.junit(0) == three.junit(1) == three.junit(2)
    assert sum(map(three.runs_of, NAMES)) == count


@pytest.mark.parametrize("attempts", [("1", "2"), (None, None)], ids=["numbered", "by its index"])
def test_a_retry_runs_only_what_failed(machines: Make, attempts: tuple[str | None, str | None]) -> None:
    two = machines(2)
    two.write({**PLAIN, **FAILING})
    first = ends({number: two.start(number, PASSMUSTER_ATTEMPT=attempts[0]) for number in range(2)})
    before = {name: two.runs_of(name) for name in NAMES}
    failures = two.runs_of("test_fails")

    two.tell("mended")
    again = ends({0: two.start(0, PASSMUSTER_ATTEMPT=attempts[1])})
    again |= ends({1: two.start(1, PASSMUSTER_ATTEMPT=attempts[1])})

    assert [first[number].code for number in range(2)] == [1, 1], str(first)
    assert [again[number].code for number in range(2)] == [0, 0], str(again)
    assert {name: two.runs_of(name) for name in NAMES} == before
    assert two.runs_of("test_fails") > failures
    assert again[0].statuses() == again[1].statuses() == {**STATUSES, "tests/test_fails.py": "PASS"}
    assert two.junit(0) == two.junit(1)


def test_a_late_machine_is_no_retry(machines: Make) -> None:
    two = machines(2)
    two.write({**PLAIN, **FAILING})
    assert ends({0: two.start(0)})[0].code == 1

    two.tell("mended")
    late = ends({1: two.start(1)})[1]

    assert late.code == 1, str(late)
    assert late.statuses()["tests/test_fails.py"] == "FAIL"


def test_a_leader_that_stood_still_does_no_harm(machines: Make) -> None:
    two = machines(2)
    two.write({**PLAIN, **SLOW})
    running = {number: two.start(number) for number in range(2)}
    first = leader_of(running)
    two.wait_for("test_slow_0.waits")

    running[first].send(signal.SIGSTOP)
    assert leader_of({1 - first: running[1 - first]}) == 1 - first
    running[first].send(signal.SIGCONT)
    two.tell("go")
    outcomes = ends(running)

    assert {outcome.code for outcome in outcomes.values()} == {0}, str(outcomes)
    assert "lost the leader lease" in outcomes[first].stderr
    assert outcomes[0].statuses() == outcomes[1].statuses() == {**STATUSES, **dict.fromkeys(SLOW, "PASS")}
    assert two.junit(0) == two.junit(1)


def test_a_leader_that_is_interrupted_leaves_the_run_to_the_others(machines: Make) -> None:
    two = machines(2)
    two.write({**PLAIN, **SLOW})
    running = {number: two.start(number) for number in range(2)}
    first = leader_of(running)
    two.wait_for("test_slow_0.waits")
    wait_until(lambda: others_are_there(two), "the other machine does not come", within_s=60)

    running[first].send(signal.SIGINT)
    left = running.pop(first).end()
    two.tell("go")
    outcome = ends(running)[1 - first]

    assert left.code == 130, str(left)
    assert " left run " in left.stderr
    assert outcome.code == 0, str(outcome)
    assert outcome.statuses() == {**STATUSES, **dict.fromkeys(SLOW, "PASS")}


def test_the_only_machine_is_interrupted_and_the_same_command_goes_on(machines: Make) -> None:
    one = machines(1)
    one.write({**PLAIN, **SLOW})
    running = one.start(0, "--isolation", "spawn")
    one.wait_for("test_slow_0.waits")
    one.wait_for("test_slow_1.waits")

    running.send(signal.SIGINT)
    interrupted = running.end()
    one.tell("go")
    outcome = ends({0: one.start(0, "--isolation", "spawn")})[0]

    assert interrupted.code == 130, str(interrupted)
    assert "give the same command again" in interrupted.stderr
    assert outcome.code == 0, str(outcome)
    ended = [label for label, status in interrupted.statuses().items() if status == "PASS"]
    assert f"{len(ended)} of 8 files have already run" in outcome.stderr or not ended
    assert {name: one.runs_of(name) for name in NAMES} == dict.fromkeys(NAMES, 1)


def test_a_machine_that_differs_leaves_before_it_works(machines: Make) -> None:
    two = machines(2)
    two.write({**PLAIN, **SLOW})
    running = two.start(0)
    two.wait_for("test_slow_0.waits")

    secret = ends({1: two.start(1, PASSMUSTER_SECRET="another")})[1]
    asks = ends({1: two.start(1, "--retries", "2")})[1]
    some = ends({1: two.start(1, "tests/test_0.py")})[1]
    two.projects[1].write({"tests/test_0.py": counted("other")})
    other = ends({1: two.start(1)})[1]
    two.tell("go")
    outcome = ends({0: running})[0]

    for refused, code, words in (
        (secret, 3, ("wrong signature", "secret")),
        (asks, 2, ("--retries 2 here, 0 there", "same arguments")),
        (some, 2, ("files 1 (", " here, 8 (")),
        (other, 3, ("tests/test_0.py differ", "cannot join run")),
    ):
        assert refused.code == code, str(refused)
        (line,) = refused.stderr.splitlines()
        assert all(word in line for word in words), line
    assert outcome.code == 0, str(outcome)
    assert two.runs_of("other") == 0
    assert "joined run" not in "".join(one.stderr for one in (secret, asks, some, other))


def test_a_broker_that_comes_back_empty_costs_no_result(machines: Make) -> None:
    two = machines(2)
    two.write({**PLAIN, **SLOW})
    running = {number: two.start(number) for number in range(2)}
    leader_of(running)
    two.wait_for("test_slow_0.waits")

    with closing(connect(two.url, timeout_s=5)) as client:
        client.flushall()
    two.tell("go")
    outcomes = ends(running)

    assert {outcome.code for outcome in outcomes.values()} == {0}, str(outcomes)
    assert outcomes[0].statuses() == outcomes[1].statuses() == {**STATUSES, **dict.fromkeys(SLOW, "PASS")}


def others_are_there(machines: Machines) -> bool:
    """Return whether two workers serve the run."""
    with closing(connect(machines.url, timeout_s=5)) as client:
        return sum(bool(card.runs) for card in WorkerDirectory(client).statuses()) == 2
