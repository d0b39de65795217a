"""The composition root hands what the user wants on to this machine's worker."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from pathlib import Path

import pytest
from msgspec import structs

import worker.executor.local
from dispatcher.config.choices import Oversubscription
from dispatcher.config.model import TestConfig
from dispatcher.engine.backend import BackendRequest
from passmuster.model.status import Isolation
from passmuster.model.units import parse_amount
from run_tests import LocalTarget, WarmTarget, main
from worker.executor.local import LocalExecutor
from worker.forkserver.server_pool import ServerPool
from worker.process.settings import WorkerSettings


def settings_of(config: TestConfig, monkeypatch: pytest.MonkeyPatch) -> WorkerSettings:
    """Return the settings that a backend for this configuration is made with."""
    made: list[WorkerSettings] = []

    class Watched(LocalExecutor):
        def __init__(self, settings: WorkerSettings, servers: ServerPool, *_: object) -> None:
            made.append(settings)
            super().__init__(settings, servers)

    monkeypatch.setattr(worker.executor.local, "LocalExecutor", Watched)
    # A run inside a test takes no part in what the machine's runs share.
    environ = {**os.environ, "PASSMUSTER_SLOT": "0"}
    request = BackendRequest(
        config=config,
        run_id="run",
        workdir=config.root,
        capacity=LocalTarget().capacity(config),
        interpreter=sys.executable,
        environ=environ,
    )
    LocalTarget().backend(request).close()
    return made[0]


def test_isolation_and_preloading_reach_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = TestConfig(root=tmp_path, isolation=Isolation.FORK, preload=("shop",))

    settings = settings_of(config, monkeypatch)

    assert (settings.isolation, settings.preload) == (Isolation.FORK, ("shop",))
    assert settings.state_dir == tmp_path / ".passmuster"
    assert settings.state_dir.is_dir()


def test_without_history_the_worker_learns_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(TestConfig(root=tmp_path, history=False), monkeypatch)

    assert settings.state_dir is None
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_kept_the_worker_learns_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".passmuster").write_text("in the way", encoding="utf-8")

    assert settings_of(TestConfig(root=tmp_path), monkeypatch).state_dir is None


def test_servers_stay_from_run_to_run_while_their_environment_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(TestConfig(root=tmp_path), monkeypatch)
    with closing(WarmTarget({})) as target:
        servers = target._servers(settings)

        assert target._servers(structs.replace(settings, budget_bytes=1)) is servers
        # Their variables contain the number of slots.
        assert target._servers(structs.replace(settings, slots=settings.slots + 1)) is not servers


@pytest.mark.parametrize(
    ("config", "is_on"),
    [
        (TestConfig(), True),
        (TestConfig(oversubscription=Oversubscription.OFF), False),
        (TestConfig(max_workers=3), False),
        (TestConfig(max_workers=3, oversubscription=Oversubscription.AUTO), True),
    ],
)
def test_further_files_start_unless_the_user_said_how_many(config: TestConfig, *, is_on: bool) -> None:
    capacity = LocalTarget({}).capacity(config)

    assert (capacity.idle_cpus is not None) == is_on
    assert [limit.name for limit in capacity.limits][2:] == (["further files"] if is_on else [])
    if is_on:
        value = capacity.limits[2].value
        most, waiting = 2 * capacity.slots, 4 * capacity.slots
        assert value == f"up to {most} at once while CPUs are idle, up to {waiting} if they mostly wait"


@pytest.mark.parametrize(
    ("config", "slots", "idle_cpus"),
    [
        (TestConfig(), 1, None),
        (TestConfig(max_workers=3), 3, None),
        (TestConfig(memory_budget=parse_amount("100GiB")), 1, None),
    ],
)
def test_a_run_inside_a_test_stays_within_what_that_test_may_use(
    config: TestConfig, slots: int, idle_cpus: int | None
) -> None:
    capacity = LocalTarget({"PASSMUSTER_FILE_MEMORY": "1000000"}).capacity(config)

    assert (capacity.slots, capacity.idle_cpus, capacity.budget_bytes) == (slots, idle_cpus, 800_000)


def test_a_closed_output_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)

    assert main(["--version"], program="run_tests.py") == 0
