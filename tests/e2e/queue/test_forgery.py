"""Whoever can write to the broker, but does not know the secret, makes no file pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from passmuster.model.result import TestResult
from passmuster.model.status import Status
from passmuster.wire.broker_keys import lease_key, meta_key, queue_keys, results_key, state_key
from passmuster.wire.broker_messages import result_kind
from passmuster.wire.codec import RESULT_CODEC
from passmuster.wire.envelope import Envelope
from passmuster.wire.run_store import RunStore, connect
from tests.e2e.support.outcome import Outcome
from tests.e2e.support.project import Project
from tests.e2e.support.queue_runs import SECRET, Worker
from tests.e2e.support.sources import script
from tests.support.broker_server import BrokerServer, broker_server

WAITS_AND_FAILS = script("""
open('is_running', 'w').write('yes')
while not os.path.exists('go_on'):
    time.sleep(0.01)
sys.exit(1)
""")


NO_PASSWORD = "user default on nopass ~* &* +@all"


@pytest.fixture
def server() -> Iterator[BrokerServer]:
    with broker_server(NO_PASSWORD) as server:
        yield server


@pytest.mark.parametrize("way", ["as a worker does", "past the protocol"])
def test_a_forged_pass_is_named_and_the_real_result_counts(
    project: Project, server: BrokerServer, way: str
) -> None:
    url = f"redis://127.0.0.1:{server.port}"
    env = {"PASSMUSTER_BROKER_URL": url, "PASSMUSTER_SECRET": SECRET}
    path = "tests/test_a.py"
    project.write({path: WAITS_AND_FAILS})

    with Worker(project, env=env) as worker:
        worker.wait_until_ready()
        running = project.start(env=env)
        running.wait_for_file("is_running")
        client: Any = connect(url, timeout_s=5)
        (run_id,) = RunStore.active_runs(client)
        take = int(str(client.hget(state_key(run_id), path)).split(":")[1])
        result = TestResult(file_path=path, status=Status.PASS, worker="forger")
        body = Envelope("a guess").sign(result_kind(run_id), RESULT_CODEC.encode(result), "")
        if way == "as a worker does":
            assert RunStore(client, run_id).finish(path, take, "forger", body)
        else:
            entry = {"kind": "finished", "path": path, "delivery": take, "worker": "forger", "body": body}
            client.xadd(results_key(run_id), entry)
        client.close()
        (project.root / "go_on").touch()
        outcome = running.end()

    assert outcome.code == 1, f"{outcome}\n{worker.log}"
    assert outcome.statuses() == {path: "FAIL"}
    said = outcome.stdout + outcome.stderr
    assert f"rejected a result of {path} that names worker forger" in said
    assert "wrong signature" in said


def of_another_type(client: Any, key: str) -> None:
    client.delete(key)
    client.set(key, "somebody else's")


def entry(**fields: str) -> Callable[[Any, str], object]:
    return lambda client, run: client.xadd(results_key(run), fields)


MANY_DIGITS = "1" * 5000
DAMAGE: dict[str, Callable[[Any, str], object]] = {
    "an entry without fields": entry(x="y"),
    "an entry with 5,000 digits": entry(kind="started", path="a", delivery=MANY_DIGITS, worker="w", body=""),
    "a lease that is none": lambda client, run: client.zadd(lease_key(run), {"x": 1}),
    "leases of another type": lambda client, run: of_another_type(client, lease_key(run)),
    "meta of another type": lambda client, run: of_another_type(client, meta_key(run)),
    "results of another type": lambda client, run: of_another_type(client, results_key(run)),
    "states of another type": lambda client, run: of_another_type(client, state_key(run)),
    "a state of 5,000 digits": lambda client, run: client.hset(
        state_key(run), mapping=dict.fromkeys(client.hkeys(state_key(run)), f"Q:{MANY_DIGITS}")
    ),
    "the queue of another type": lambda client, run: of_another_type(client, queue_keys(run)[1]),
}


class Damaged(NamedTuple):
    """A run that ended after its data on the broker was damaged."""

    outcome: Outcome
    worker_log: str
    report: str
    left_keys: list[str]


def run_damaged(project: Project, damage: str) -> Damaged:
    project.write({"tests/test_a.py": script("pass"), "tests/test_b.py": WAITS_AND_FAILS})
    with broker_server(NO_PASSWORD) as server:
        url = f"redis://127.0.0.1:{server.port}"
        env = {"PASSMUSTER_BROKER_URL": url, "PASSMUSTER_SECRET": SECRET}
        with Worker(project, "--grace-period", "300ms", env=env) as worker:
            worker.wait_until_ready()
            running = project.start("--junit-xml", "report.xml", "--grace-period", "300ms", env=env)
            running.wait_for_file("is_running")
            client: Any = connect(url, timeout_s=5)
            (run_id,) = RunStore.active_runs(client)
            DAMAGE[damage](client, run_id)
            outcome = running.end()
            left = [key for key in client.scan_iter("pm:*") if run_id in key]
            client.close()
    project.check_nothing_is_left()
    return Damaged(outcome, worker.log, (project.root / "report.xml").read_text(), left)


@pytest.fixture(scope="module")
def damaged(
    tmp_path_factory: pytest.TempPathFactory, bare_environment: Path
) -> Iterator[dict[str, Future[Damaged]]]:
    """All damaged runs, three at a time: each waits some seconds for its broker."""
    with ThreadPoolExecutor(3) as pool:
        yield {
            damage: pool.submit(
                run_damaged,
                Project(base=tmp_path_factory.mktemp("damaged"), python_home=bare_environment),
                damage,
            )
            for damage in DAMAGE
        }
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_to_a_run_is_named_and_ends_it_with_its_reports(
    damaged: dict[str, Future[Damaged]], damage: str
) -> None:
    ended = damaged[damage].result()

    said = ended.outcome.stdout + ended.outcome.stderr
    assert ended.outcome.code == 3, f"{said}\n{ended.worker_log}"
    assert "Traceback" not in said + ended.worker_log
    assert "the data on the broker is damaged" in said
    assert "tests/test_b.py" in ended.report
    assert ended.left_keys == []
