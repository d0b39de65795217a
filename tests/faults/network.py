"""A network that can be broken: a port for each peer of the server, and what happens between the two."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable

_CHUNK_BYTES = 65536


class Network:
    """The ways to one server. Runs in a thread of its own; all methods may be called from any.

    Args:
        port: of the server.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._thread.start()
        self._ways: list[Way] = []

    def open(self) -> Way:
        """Return a new way to the server."""
        way = Way(self._port, self._loop)
        asyncio.run_coroutine_threadsafe(way.listen(), self._loop).result()
        self._ways.append(way)
        return way

    def close(self) -> None:
        """Close all ways."""
        for way in self._ways:
            asyncio.run_coroutine_threadsafe(way.end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Way:
    """One peer's way to the server."""

    def __init__(self, server_port: int, loop: asyncio.AbstractEventLoop) -> None:
        self.port = 0
        self._server_port, self._loop = server_port, loop
        self._flows = asyncio.Event()
        self._flows.set()
        self._delay_s = 0.0
        self._cuts = self._delays = 0
        self._generation = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def cut(self) -> None:
        """Let nothing through; what is sent meanwhile arrives later. Once more for each call."""
        self._do(lambda: self._count_cuts(+1))

    def heal(self) -> None:
        """Take one `cut` back."""
        self._do(lambda: self._count_cuts(-1))

    def strand(self) -> None:
        """Let nothing more through the connections that there are, without a word; new ones work."""
        self._do(self._strand)

    def slow(self, delay_s: float) -> None:
        """Let everything through, but late."""
        self._do(lambda: self._count_delays(+1, delay_s))

    def hasten(self) -> None:
        """Take one `slow` back."""
        self._do(lambda: self._count_delays(-1, self._delay_s))

    def reset(self) -> None:
        """Reset all connections."""
        self._do(self._reset)

    async def listen(self) -> None:
        """Begin to take connections."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def end(self) -> None:
        """Take none any more, and end those there are."""
        if self._server is not None:
            self._server.close()
        self._reset()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _do(self, step: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(step)

    def _count_cuts(self, change: int) -> None:
        self._cuts += change
        if self._cuts:
            self._flows.clear()
        else:
            self._flows.set()

    def _count_delays(self, change: int, delay_s: float) -> None:
        self._delays += change
        self._delay_s = delay_s if self._delays else 0.0

    def _strand(self) -> None:
        self._generation += 1

    def _reset(self) -> None:
        for writer in self._writers:
            raw = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                # Without lingering, the end of a connection is a reset.
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            await self._flows.wait()
            to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
            self._writers.add(to_server[1])
            try:
                await asyncio.gather(self._pump(reader, to_server[1]), self._pump(to_server[0], writer))
            finally:
                self._writers.discard(to_server[1])
                to_server[1].transport.abort()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()
            self._tasks.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        generation = self._generation
        while True:
            data = await reader.read(_CHUNK_BYTES)
            if generation != self._generation:
                await asyncio.Event().wait()
            if self._delay_s:
                await asyncio.sleep(self._delay_s)
            await self._flows.wait()
            if not data:
                # One side's end ends both: neither we nor the server half-close.
                raise ConnectionResetError
            writer.write(data)
            await writer.drain()
