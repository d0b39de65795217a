"""A real Sentinel that watches a server and its replica, all with passwords."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import redis

from dispatcher.queue.embedded_server import find_server
from tests.e2e.support.processes import wait_until
from tests.support.broker_server import START_S, BrokerServer, broker_server, free_port

PASSWORD, SENTINEL_PASSWORD = "the-servers", "the-sentinels"
MASTER_NAME = "tests.main"

_SETTINGS = (
    f"requirepass {PASSWORD}",
    f"masterauth {PASSWORD}",
    "repl-diskless-sync-delay 0",
    "maxmemory-policy noeviction",
)


class SentinelGroup:
    """The two servers, and the Sentinel, which promotes the replica soon after the loss of the master."""

    def __init__(
        self, master: BrokerServer, replica: BrokerServer, process: subprocess.Popen[bytes], port: int
    ) -> None:
        self.master, self.replica, self.sentinel, self._port = master, replica, process, port

    @property
    def url(self) -> str:
        """The address for Passmuster; nothing listens at the first of its Sentinels."""
        nodes = f"sentinel://:{PASSWORD}@127.0.0.1:{free_port()};sentinel://127.0.0.1:{self._port}"
        return f"{nodes}/1?master_name={MASTER_NAME}&sentinel_password={SENTINEL_PASSWORD}"

    def master_port(self) -> int:
        """Return the port of the server that the Sentinel names."""
        with contextlib.closing(self._client()) as client:
            return int(client.sentinel_get_master_addr_by_name(MASTER_NAME)[1])

    def knows_replica(self) -> bool:
        """Whether the Sentinel could promote the replica, which has the master's data."""
        with contextlib.closing(self._client()) as client, contextlib.suppress(redis.RedisError):
            replicas: Any = client.sentinel_slaves(MASTER_NAME)
            return [one["master-link-status"] for one in replicas] == ["ok"]
        return False

    def _client(self) -> Any:
        return redis.Redis(port=self._port, password=SENTINEL_PASSWORD, socket_timeout=5)


@contextmanager
def sentinel_group() -> Iterator[SentinelGroup]:
    """Give a fresh group that can fail over."""
    with contextlib.ExitStack() as undo:
        master = undo.enter_context(broker_server(*_SETTINGS))
        replica = undo.enter_context(broker_server(*_SETTINGS, f"replicaof 127.0.0.1 {master.port}"))
        folder, port = undo.enter_context(TemporaryDirectory(prefix="sentinel-")), free_port()
        settings = Path(folder) / "sentinel.conf"  # It is written to.
        settings.write_text(
            f"port {port}\nbind 127.0.0.1\nrequirepass {SENTINEL_PASSWORD}\nlogfile {folder}/log\n"
            f"sentinel monitor {MASTER_NAME} 127.0.0.1 {master.port} 1\n"
            f"sentinel auth-pass {MASTER_NAME} {PASSWORD}\n"
            f"sentinel down-after-milliseconds {MASTER_NAME} 500\n"
        )
        # First: the Sentinel asks only once in ten seconds.
        wait_until(lambda: _is_in_sync(replica), "the replica has the data", within_s=START_S)
        process = subprocess.Popen([str(find_server()), str(settings), "--sentinel"], cwd=folder)
        undo.callback(process.wait)
        undo.callback(process.kill)
        group = SentinelGroup(master, replica, process, port)
        wait_until(group.knows_replica, "the Sentinel knows the replica", within_s=START_S)
        yield group


def _is_in_sync(replica: BrokerServer) -> bool:
    with contextlib.closing(replica.admin()) as client:
        found: Any = client.info("replication")
        return bool(found["master_link_status"] == "up")
