"""Files that need a real worker for themselves, or more memory than it has."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from passmuster.model.status import Status
from passmuster.wire.broker_keys import WORKER_QUEUE_TTL_S, worker_queue_keys
from passmuster.wire.run_store import WorkerDirectory
from tests.support.queue_worker import Run, Start, until

OTHERS = 24
GIB = 1 << 30

NOTED = """
import os, time
with open("log", "a") as log:
    log.write("+%s\\n")
time.sleep(0.15)
with open("log", "a") as log:
    log.write("-%s\\n")
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("alone.py", *(f"f{number}.py" for number in range(OTHERS))):
        (tmp_path / name).write_text(NOTED % (name, name), encoding="utf-8")
    return tmp_path


def test_a_file_to_run_alone_gets_its_turn_while_others_keep_coming(
    run: Run, start: Start, root: Path
) -> None:
    start()
    names = [f"f{number}.py" for number in range(OTHERS)]
    tasks = [run.task(name) for name in names]
    tasks.insert(4, run.task("alone.py", exclusive=True))

    run.submit(*tasks)
    results = run.wait(OTHERS + 1)

    assert {result.status for result in results.values()} == {Status.PASS}
    assert results["alone.py"].was_alone
    log = (root / "log").read_text(encoding="utf-8").splitlines()
    place = log.index("+alone.py")
    assert log[place + 1] == "-alone.py"
    assert place < len(log) // 2, "it waited until nothing else was there"


def test_a_file_too_big_for_one_worker_runs_on_the_one_that_has_room(run: Run, start: Start) -> None:
    small = start("--memory-budget", "1GiB")
    run.seed(*(run.task(name) for name in ("alone.py", "f0.py")))
    until(lambda: small.name in serving(run), "the small one serves the run")
    big = start("--memory-budget", "3GiB")
    until(lambda: big.name in serving(run), "the big one serves the run")

    run.publish(run.task("alone.py", predicted_bytes=2 * GIB), 101)
    run.publish(run.task("f0.py", predicted_bytes=2 * GIB), 101)

    assert {result.worker for result in run.wait(2).values()} == {big.name}


def test_a_message_put_back_is_no_traceback_in_the_log(run: Run, start: Start) -> None:
    small = start("--memory-budget", "1GiB")
    big = start("--memory-budget", "3GiB")
    tasks = [run.task(f"f{number}.py", predicted_bytes=2 * GIB) for number in range(6)]
    run.seed(*tasks)
    until(lambda: serving(run) == {small.name, big.name}, "both serve the run")
    # While it stands still the big one takes one message at most: the small one takes some of them.
    big.signal(signal.SIGSTOP)
    for task in tasks:
        run.publish(task, 101)
    until(lambda: run.record.queue_length() <= len(tasks) - 2, "the small one has taken a message")
    big.signal(signal.SIGCONT)
    assert {result.worker for result in run.wait(len(tasks)).values()} == {big.name}

    small.signal(signal.SIGTERM)
    status, output = small.end()

    assert status == 0, output
    assert output.splitlines()[-1] == "ran 0 file(s)"
    assert "Traceback" not in output
    assert "rejected" not in output


def test_a_file_too_big_for_all_workers_runs_where_it_is(run: Run, start: Start) -> None:
    small = start("--memory-budget", "1GiB")

    run.submit(run.task("f0.py", predicted_bytes=2 * GIB), run.task("f1.py"))

    results = run.wait(2)
    assert {result.worker for result in results.values()} == {small.name}
    assert results["f0.py"].was_alone


def serving(run: Run) -> set[str]:
    return {card.name for card in WorkerDirectory(run.client).statuses() if run.run_id in card.runs}


def test_what_is_published_for_one_worker_runs_there_alone(run: Run, start: Start) -> None:
    workers = [start(), start()]
    tasks = [run.task(f"f{number}.py") for number in range(8)]
    run.seed(*tasks)
    until(lambda: serving(run) == {worker.name for worker in workers}, "both serve the run")

    for number, task in enumerate(tasks):
        run.publish_for(workers[number % 2].name, task, 101)

    results = run.wait(len(tasks))
    assert [results[f"f{number}.py"].worker for number in range(8)] == [one.name for one in workers] * 4


def test_what_a_worker_puts_back_onto_its_own_queue_expires_after_its_death(run: Run, start: Start) -> None:
    small, big = start("--memory-budget", "1GiB"), start("--memory-budget", "3GiB")
    task = run.task("f0.py", predicted_bytes=2 * GIB)
    run.seed(task)
    until(lambda: serving(run) == {small.name, big.name}, "both serve the run")
    key = worker_queue_keys(run.run_id, small.name)[1]
    client: Any = run.client
    client.config_set("notify-keyspace-events", "Kgl")
    with client.pubsub() as changes:
        changes.subscribe(f"__keyspace@0__:{key}")
        run.publish_for(small.name, task, 101)
        # The worker takes the message again within milliseconds; only it sets a lifetime.
        until(lambda: (changes.get_message() or {}).get("data") in ("expire", "pexpire"), "it was put back")

    small.signal(signal.SIGSTOP)  # It might have the message at this moment.
    small.signal(signal.SIGKILL)

    assert run.client.pttl(key) <= WORKER_QUEUE_TTL_S * 1000
    assert run.client.ttl(key) != -1
    run.record.end()
    assert run.client.exists(*worker_queue_keys(run.run_id, small.name)) == 0
