"""The runner's end of a keeper: start one, hand it a file, hear how it ended.

`worker.keeper_main` is the other end and documents the messages. `worker.supervisor` listens here.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MAIN = Path(__file__).with_name("keeper_main.py")

CLOSE_WAIT_S = 12.0
"""How long a keeper may take to end what it owns; longer than its own bound for the dead."""

MESSAGE_LIMIT_BYTES = 16 * 1024 * 1024
"""More than any message: an environment is bounded by the kernel to a few MiB."""


@dataclass(frozen=True, slots=True)
class Started:
    """The file's first process exists."""

    pid: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The file's first process could not be started."""

    errno: int
    text: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The file's last process is gone.

    Args:
        wait_status: of its first process, as wait(2) encodes it.
        cpu_s: processor seconds of all its processes that were reaped.
        max_rss_bytes: the largest resident size of any one of them.
        leaked: the processes that outlived it and were ended.
    """

    wait_status: int
    cpu_s: float
    max_rss_bytes: int
    leaked: tuple[str, ...]


KeeperMessage = Started | Failed | Ended


class KeeperGoneError(Exception):
    """The keeper died: the test it kept killed it, for nobody else knows it."""


class Keeper:
    """One keeper process. Used by one thread at a time, `kill` and `signal` excepted."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            # Its own session: a Ctrl-C in the terminal, or a kill of the runner's group, is not for it.
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(MAIN), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._socket = ours
        self._buffer = b""

    @property
    def pid(self) -> int:
        """The keeper's own process: everything below it belongs to its file."""
        return self._process.pid

    def fileno(self) -> int:
        """The descriptor to wait on for messages."""
        return self._socket.fileno()

    def spawn(
        self, argv: Sequence[str], environment: Mapping[str, str], cwd: str, *, output: int, report: int
    ) -> None:
        """Start a file; `Started` or `Failed` follows.

        Args:
            argv: absolute path of the interpreter and its arguments.
            environment: the whole environment.
            cwd: the working directory.
            output: descriptor that becomes stdout and stderr; still the caller's to close.
            report: descriptor on which the child reports; still the caller's to close.

        Raises:
            KeeperGoneError: the keeper is dead.
        """
        message = (
            "spawn",
            [os.fsencode(argument) for argument in argv],
            {os.fsencode(name): os.fsencode(value) for name, value in environment.items()},
            os.fsencode(cwd),
        )
        self._send(message, [output, report])

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the file's process group; without effect when it has ended."""
        with contextlib.suppress(KeeperGoneError):
            self._send(("signal", int(number)), [])

    def kill(self) -> None:
        """Send SIGKILL to everything the file has left or still runs."""
        with contextlib.suppress(KeeperGoneError):
            self._send(("kill",), [])

    def receive(self) -> tuple[KeeperMessage, ...]:
        """Return the messages that have arrived; call when the descriptor is readable.

        Raises:
            KeeperGoneError: the keeper is dead.
        """
        try:
            data = self._socket.recv(1 << 16)
        except OSError as error:
            raise KeeperGoneError from error
        if not data:
            raise KeeperGoneError
        self._buffer += data
        messages: list[KeeperMessage] = []
        while len(self._buffer) >= 4:
            end = 4 + int.from_bytes(self._buffer[:4], "big")
            if len(self._buffer) < end:
                break
            messages.append(_decode(self._buffer[4:end]))
            self._buffer = self._buffer[end:]
        return tuple(messages)

    def close(self) -> None:
        """End the keeper and all it owns, and wait for it."""
        self._socket.close()
        try:
            self._process.wait(CLOSE_WAIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _send(self, message: tuple[object, ...], descriptors: list[int]) -> None:
        body = marshal.dumps(message)  # type: ignore[arg-type]
        data = len(body).to_bytes(4, "big") + body
        try:
            sent = socket.send_fds(self._socket, [data], descriptors) if descriptors else 0
            self._socket.sendall(data[sent:])
        except OSError as error:
            raise KeeperGoneError from error


def _decode(body: bytes) -> KeeperMessage:
    kind, *rest = marshal.loads(body)
    if kind == "started":
        return Started(rest[0])
    if kind == "failed":
        return Failed(rest[0], rest[1])
    return Ended(rest[0], rest[1], rest[2], tuple(rest[3]))
