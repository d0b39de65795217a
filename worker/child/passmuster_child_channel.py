"""Messages with descriptors over a private socket pair, between runner, fork servers and process supervisors.

A message is a tuple of simple values as `marshal` writes them, in the format that every Python from 3.4 on
reads (the runner and the project may have different ones), after its length in four bytes. Both ends are
Passmuster's and no other process holds the socket, so foreign data is never decoded.
"""

from __future__ import annotations

import _socket
import marshal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MARSHAL_VERSION = 2
"""The last format before references, which Python 3.14 writes differently from 3.9."""

_CLOSE_ON_EXEC = getattr(_socket, "MSG_CMSG_CLOEXEC", 0)
"""Received descriptors are not for the test; without this flag (not Linux) it inherits them."""


class Channel:
    """One end of the socket, whose descriptor it owns."""

    def __init__(self, descriptor: int) -> None:
        self._socket = _socket.socket(fileno=descriptor)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close this process's end."""
        self._socket.close()

    def receive(self) -> tuple[tuple[Any, ...], list[int]]:
        """Wait for one message; an empty one: the other end is gone."""
        descriptors: list[int] = []
        header = self._read(4, descriptors)
        body = self._read(int.from_bytes(header, "big"), descriptors) if header else b""
        return (marshal.loads(body) if body else ()), descriptors

    def send(self, *message: object) -> None:
        """Send one message.

        Raises:
            OSError: the other end is gone.
        """
        body = marshal.dumps(message, MARSHAL_VERSION)  # type: ignore[arg-type]
        self._socket.sendall(len(body).to_bytes(4, "big") + body)

    def _read(self, size: int, descriptors: list[int]) -> bytes:
        """Read exactly `size` bytes, collecting descriptors that come along; empty at the end."""
        data = b""
        while len(data) < size:
            part, ancillary, _, _ = self._socket.recvmsg(
                size - len(data), _socket.CMSG_SPACE(16), _CLOSE_ON_EXEC
            )
            if not part:
                return b""
            data += part
            for _level, _kind, raw in ancillary:
                descriptors.extend(
                    int.from_bytes(raw[start : start + 4], sys.byteorder) for start in range(0, len(raw), 4)
                )
        return data
