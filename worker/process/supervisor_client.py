"""Client of a process supervisor: starts one, sends it a file to run, and receives how the file ended.

`worker/child/passmuster_child_supervisor.py` is the other end and documents the messages;
`worker.process.attempt_monitor` receives them. A supervisor is started here or forked by a fork server
(`worker.forkserver.server`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from passmuster.host.subprocesses import wait_or_kill
from worker.process.message_socket import MessageSocket, SocketClosedError, open_socket_pair

MAIN = Path(__file__).parents[1] / "child" / "passmuster_child_supervisor.py"

CLOSE_WAIT_S = 12.0
"""Seconds a supervisor may take to end its processes; longer than its own bound for reaping."""


class Started(Struct, frozen=True):
    """The file's first process exists."""

    pid: int


class Failed(Struct, frozen=True):
    """The file's first process could not be started."""

    errno: int
    text: str


class Ended(Struct, frozen=True):
    """The file's last process has ended."""

    wait_status: int
    """Of its first process, as wait(2) encodes it."""
    cpu_s: float
    """CPU seconds of all its reaped processes."""
    max_rss_bytes: int
    """The largest resident size of any single process."""
    leaked: tuple[str, ...]
    """The processes that outlived the first one and were killed."""


SupervisorMessage = Started | Failed | Ended


class SupervisorGoneError(Exception):
    """The process supervisor died: its test killed it, because no other process knows it."""


class SupervisorClient:
    """One process supervisor. Used by one thread at a time, except for `kill` and `signal`."""

    def __init__(self, link: MessageSocket, pid: int, process: subprocess.Popen[bytes] | None = None) -> None:
        """Own the socket `link` to a supervisor; without `process`, a fork server forked it."""
        self._link = link
        self.pid = pid
        """Its process ID: all its descendants belong to its file."""
        self._process = process

    def fileno(self) -> int:
        """The descriptor to wait on for messages."""
        return self._link.fileno()

    def spawn(
        self, argv: Sequence[str], environment: Mapping[str, str], cwd: str, *, output: int, report: int
    ) -> None:
        """Start a file by a command, whose program is an absolute path; `Started` or `Failed` follows.

        The descriptor `output` becomes stdout and stderr. Both descriptors remain the caller's to close.

        Raises:
            SupervisorGoneError: the supervisor is dead.
        """
        message = (
            "spawn",
            [os.fsencode(argument) for argument in argv],
            {os.fsencode(name): os.fsencode(value) for name, value in environment.items()},
            os.fsencode(cwd),
        )
        self._send(message, [output, report])

    def fork(
        self,
        argv: Sequence[str],
        changes: Mapping[str, str | None],
        cwd: str,
        project: Sequence[str],
        *,
        output: int,
        report: int,
    ) -> None:
        """Start a file by forking the supervisor, which a fork server must have forked; otherwise as `spawn`.

        Args:
            argv: arguments as `passmuster_child_main` documents them.
            changes: differences from the environment of the server; None unsets a variable.
            project: the project's directories, to record its imports; empty: imports are not recorded.
        """
        self._send(("fork", list(argv), dict(changes), cwd, list(project)), [output, report])

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the file's process group; no effect if it has ended."""
        with contextlib.suppress(SupervisorGoneError):
            self._send(("signal", int(number)), [])

    def kill(self) -> None:
        """Send SIGKILL to all processes of the file."""
        with contextlib.suppress(SupervisorGoneError):
            self._send(("kill",), [])

    def receive(self) -> tuple[SupervisorMessage, ...]:
        """Return the messages that have arrived; call when the descriptor is readable.

        Raises:
            SupervisorGoneError: the supervisor is dead.
        """
        try:
            return tuple(map(_decode, self._link.receive()))
        except SocketClosedError as error:
            raise SupervisorGoneError from error

    def close(self) -> None:
        """Stop the supervisor and all its processes, and wait for it."""
        if self._process is None:
            if not self._link.close_and_wait(CLOSE_WAIT_S):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
            return
        self._link.close()
        wait_or_kill(self._process, CLOSE_WAIT_S)

    def _send(self, message: tuple[object, ...], descriptors: list[int]) -> None:
        try:
            self._link.send(message, descriptors)
        except SocketClosedError as error:
            raise SupervisorGoneError from error


def lower_priority(pid: int, by: int) -> None:
    """Lower the priority of a process, and of all that it will start, by `by` as nice(1) counts."""
    if by:
        with contextlib.suppress(OSError):  # It has ended already.
            os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, pid) + by)


def start_supervisor(*, nice: int = 0) -> SupervisorClient:
    """Start a process supervisor that spawns files, all with the priority decrement `nice`.

    Raises:
        OSError: no process can be started.
    """
    link, theirs = open_socket_pair()
    with theirs:
        # Its own session, so that Ctrl-C in the terminal or a kill of the runner's group does not reach it.
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(MAIN), str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
    lower_priority(process.pid, nice)
    return SupervisorClient(link, process.pid, process)


def _decode(message: tuple[object, ...]) -> SupervisorMessage:
    match message:
        case ("started", int(pid)):
            return Started(pid)
        case ("failed", int(errno), str(text)):
            return Failed(errno, text)
        case ("ended", int(status), float(cpu_s), int(max_rss_bytes), list(leaked)):
            return Ended(status, cpu_s, max_rss_bytes, tuple(leaked))
    raise SupervisorGoneError(f"unexpected message from a process supervisor: {message!r}")
