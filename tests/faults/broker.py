"""A private server that can be killed, and come back on the same port with its data or without."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import redis

from dispatcher.queue.embedded_server import find_server

START_S = 30.0

_SETTINGS = """\
bind 127.0.0.1
port {port}
requirepass {password}
daemonize no
save ""
appendonly {keeps_data}
appendfsync everysec
maxmemory-policy noeviction
dir {folder}
logfile server.log
"""


class Broker:
    """The server.

    Args:
        folder: for its settings, its log and its data; made here.
        environ: what it gets as its environment.
        keeps_data: whether it writes its data to the disk.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str], *, keeps_data: bool) -> None:
        folder.mkdir()
        self._folder, self._environ = folder, dict(environ)
        self._password = secrets.token_urlsafe(12)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._settings = folder / "server.conf"
        self._settings.write_text(
            _SETTINGS.format(
                port=self.port,
                password=self._password,
                keeps_data="yes" if keeps_data else "no",
                folder=folder,
            )
        )
        self._binary = find_server()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def url(self, port: int) -> str:
        """Return its address over a port of the network."""
        return f"redis://:{self._password}@127.0.0.1:{port}/0"

    def client(self) -> Any:
        """Return a client that goes there directly."""
        return redis.Redis.from_url(self.url(self.port), decode_responses=True, socket_timeout=10, protocol=2)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        if self._process is not None and self._process.poll() is None:
            return
        self._process = subprocess.Popen(
            [str(self._binary), str(self._settings)],
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_S
        while True:
            with contextlib.suppress(redis.RedisError), contextlib.closing(self.client()) as client:
                client.ping()
                return
            assert self._process.poll() is None, "the server does not start"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.02)

    def kill(self, *, forget: bool) -> None:
        """Kill it; with `forget`, its data are gone too."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        if forget:
            shutil.rmtree(self._folder / "appendonlydir", ignore_errors=True)

    def command(self, *words: object) -> None:
        """Give it a command; without effect while it is away."""
        with contextlib.suppress(redis.RedisError), contextlib.closing(self.client()) as client:
            client.execute_command(*words)

    def close(self) -> None:
        """End it."""
        self.kill(forget=False)
