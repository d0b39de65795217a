"""The dispatcher-side end of a socket to a process supervisor or fork server; sends and receives messages.

The other end is `worker/child/passmuster_child_channel.py`, which documents their form.
"""

from __future__ import annotations

import marshal
import select
import socket
import time
from collections.abc import Sequence

from worker.child.passmuster_child_channel import MARSHAL_VERSION

READ_BYTES = 1 << 16

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""More than any message: the longest names the modules that a server has imported, in less than 1 MiB."""


class SocketClosedError(Exception):
    """The other end is gone."""


class MessageSocket:
    """One end of a private socket pair, which this object owns."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._buffer = b""

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def send(self, message: tuple[object, ...], descriptors: Sequence[int] = ()) -> None:
        """Send a message, and descriptors that remain the caller's to close.

        Raises:
            SocketClosedError: the other end is gone.
        """
        body = marshal.dumps(message, MARSHAL_VERSION)  # type: ignore[arg-type]
        data = len(body).to_bytes(4, "big") + body
        try:
            sent = socket.send_fds(self._socket, [data], list(descriptors)) if descriptors else 0
            self._socket.sendall(data[sent:])
        except OSError as error:
            raise SocketClosedError from error

    def receive(self) -> list[tuple[object, ...]]:
        """Return the messages that have arrived; call when the descriptor is readable.

        Raises:
            SocketClosedError: the other end is gone, or announces a message of impossible length.
        """
        try:
            data = self._socket.recv(READ_BYTES)
        except OSError as error:
            raise SocketClosedError from error
        if not data:
            raise SocketClosedError
        self._buffer += data
        messages: list[tuple[object, ...]] = []
        while len(self._buffer) >= 4:
            end = 4 + int.from_bytes(self._buffer[:4], "big")
            if end > MAX_MESSAGE_BYTES:
                raise SocketClosedError
            if len(self._buffer) < end:
                break
            messages.append(marshal.loads(self._buffer[4:end]))
            self._buffer = self._buffer[end:]
        return messages

    def wait(self, timeout_s: float) -> tuple[object, ...] | None:
        """Return the one message that is expected; None if it does not arrive in time.

        Raises:
            SocketClosedError: the other end is gone.
        """
        deadline = time.monotonic() + timeout_s
        while (left_s := deadline - time.monotonic()) > 0:
            for message in self.receive_within(left_s):
                return message
        return None

    def receive_within(self, timeout_s: float) -> list[tuple[object, ...]]:
        """Return the messages that arrive first, as `receive` does; none if none arrives in time.

        Raises:
            SocketClosedError: the other end is gone.
        """
        return self.receive() if _is_readable(self._socket, timeout_s) else []

    def close(self) -> None:
        """Close this end, which makes the process at the other end exit."""
        self._socket.close()

    def close_and_wait(self, timeout_s: float) -> bool:
        """Close this end for sending and wait until the other end is closed; return whether it was."""
        deadline = time.monotonic() + timeout_s
        try:
            self._socket.shutdown(socket.SHUT_WR)
            while (left_s := deadline - time.monotonic()) > 0 and _is_readable(self._socket, left_s):
                if not self._socket.recv(READ_BYTES):
                    return True
            return False
        except OSError:
            return True  # The other end is gone already.
        finally:
            self._socket.close()


def open_socket_pair() -> tuple[MessageSocket, socket.socket]:
    """Return this process's end of a new pair, and the other end, to be passed on and closed."""
    ours, theirs = socket.socketpair()
    return MessageSocket(ours), theirs


def _is_readable(end: socket.socket, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(end, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))
