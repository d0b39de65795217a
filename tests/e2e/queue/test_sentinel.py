"""A run over a broker whose master is killed, and whose replica a real Sentinel promotes."""

from __future__ import annotations

from collections import Counter

from tests.e2e.support.processes import wait_until
from tests.e2e.support.project import Project
from tests.e2e.support.queue_runs import SECRET, Worker
from tests.e2e.support.sentinel_group import sentinel_group
from tests.e2e.support.sources import script

COUNTED = "with open('starts', 'a') as file: file.write(os.path.basename(__file__) + '\\n')\n"
HELD = COUNTED + "while not os.path.exists('go_on'): time.sleep(0.01)\n"


def test_a_failover_in_the_middle_of_a_run_costs_no_result(project: Project) -> None:
    project.write({f"tests/test_held_{number}.py": script(HELD) for number in range(2)})
    project.write({f"tests/test_next_{number}.py": script(COUNTED) for number in range(6)})
    project.write({"tests/test_fails.py": script(COUNTED + "sys.exit(1)")})

    with sentinel_group() as group:
        env = {"PASSMUSTER_BROKER_URL": group.url, "PASSMUSTER_SECRET": SECRET}
        with Worker(project, env=env) as worker:
            worker.wait_until_ready()
            running = project.start("--run-timeout", "50s", env=env)
            wait_until(
                lambda: starts(project).keys() >= {"test_held_0.py", "test_held_1.py"}, "two files run"
            )
            group.master.process.kill()
            wait_until(lambda: group.master_port() == group.replica.port, "failover", within_s=60)
            (project.root / "go_on").touch()
            outcome = running.end()
            worker.end()
        group.sentinel.kill()
        group.sentinel.wait()
        without = project.run("status", env=env, events=False)

    statuses = outcome.statuses()
    assert len(statuses) == 9, f"{outcome}\n{worker.log}"
    assert {name for name in statuses if statuses[name] != "PASS"} == {"tests/test_fails.py"}, str(outcome)
    assert outcome.code == 1, str(outcome)
    # What ran twice, because the replica did not know that it ran, is named.
    again = {name for name, count in starts(project).items() if count > 1}
    assert all(f"{name} " in outcome.stdout + outcome.stderr for name in again), f"{outcome}\n{worker.log}"
    assert "broker unavailable: " in outcome.stdout + outcome.stderr
    # Celery would print the whole client at each attempt to reconnect, and a warning of its own.
    assert "consumer" not in worker.log, worker.log
    assert without.code == 3, str(without)
    [line] = without.stderr.splitlines()
    assert "cannot be reached: no Sentinel names an available master 'tests.main'" in line
    assert "the-" not in outcome.stdout + outcome.stderr + worker.log + line


def starts(project: Project) -> Counter[str]:
    """Return how often each file started."""
    path = project.root / "starts"
    return Counter(path.read_text().split() if path.exists() else ())
