"""What may answer at a broker's address and is none: silent, of another kind, or too old."""

from __future__ import annotations

import http.server
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def silent_server() -> Iterator[int]:
    """Accept, and never say a word; give the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


@contextmanager
def http_server() -> Iterator[int]:
    """Answer as a web server does; give the port."""
    with _serving(lambda: http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Quiet)) as port:
        yield port


@contextmanager
def old_server(version: str) -> Iterator[int]:
    """Answer as an old Redis does, at least to who asks what it is; give the port."""
    text = f"# Server\r\nredis_version:{version}\r\nrole:master\r\n"

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while count := self.rfile.readline():
                words = [self._word() for _ in range(int(count[1:]))]
                answer = f"${len(text)}\r\n{text}\r\n" if words[0].upper() == b"INFO" else "+OK\r\n"
                self.wfile.write(answer.encode())

        def _word(self) -> bytes:
            return self.rfile.read(int(self.rfile.readline()[1:]) + 2)[:-2]

    with _serving(lambda: _Threads(("127.0.0.1", 0), Handler)) as port:
        yield port


class _Threads(socketserver.ThreadingTCPServer):
    daemon_threads = True


class _Quiet(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _serving(make: Callable[[], socketserver.TCPServer]) -> Iterator[int]:
    with make() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield int(server.server_address[1])
        server.shutdown()
        thread.join()
