"""Client of a fork server: starts the first one, forks others from it, and requests process supervisors.

The other end is `worker/child/passmuster_child_server.py`, which documents the messages.
`worker.forkserver.server_pool` decides which servers there are.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from passmuster.host.subprocesses import wait_or_kill
from worker.process.command import CHILD_MAIN
from worker.process.message_socket import MessageSocket, SocketClosedError, open_socket_pair
from worker.process.supervisor_client import SupervisorClient, lower_priority

FORK_WAIT_S = 30.0
"""How long a server may take to fork: it does nothing else, so a busy machine is the only excuse."""

IMPORT_WAIT_S = 60.0
"""How long a server may take for one import: longer than any import takes that does not hang."""

SCRIPT, PYTEST = "script", "pytest"
"""The frameworks that a server may have imported: unittest, or pytest too."""

GIVE_UP_LOOK_S = 0.1
"""Seconds between two checks whether a server that is being created is still needed."""

CLOSE_WAIT_S = 5.0


class ServerError(Exception):
    """A server cannot fulfill a request; the message is one line with the reason."""


class ImportStuckError(ServerError):
    """A new server died of an import, or hangs in it.

    Args:
        module: which.
        reason: what came of it, as the end of "it ...".
    """

    def __init__(self, module: str, reason: str) -> None:
        super().__init__(f"importing {module} {reason}")
        self.module = module
        self.reason = reason


class ServerBusyError(ServerError):
    """A server cannot fork now, because processes or memory are exhausted; a later attempt may succeed."""


class ServerGoneError(ServerError):
    """A server died or hangs; another one may be started in its place."""


class ImportResult(Struct, frozen=True, kw_only=True):
    """The result of importing one module in a server.

    Args:
        name: the module.
        seconds: what the import took, without what had been imported before.
        added_bytes: by how much the process grew.
        verdict: `ok`, or what else came of it: see `passmuster_child_preload`.
    """

    name: str
    seconds: float = 0.0
    added_bytes: int = 0
    verdict: str = "ok"


class Setup(Struct, frozen=True, kw_only=True):
    """The modules that a server imports on top of the one that it is forked from.

    Args:
        base: `script` or `pytest`: the framework; empty: none.
        coverage: whether coverage is imported before everything else.
        modules: what to preload, in order.
        own: those of them that are the project's, each with its file.
        path: folders in which those are looked for, first.
        session: whether to prepare a pytest session.
        conftests: whether to load the initial conftests into the inherited session.
        project: the project's folders.
        probe: whether the server is only to find out whether what it imports may be imported before a fork.
    """

    base: str = ""
    coverage: bool = False
    modules: tuple[str, ...] = ()
    own: tuple[tuple[str, str], ...] = ()
    path: tuple[str, ...] = ()
    session: bool = False
    conftests: bool = False
    project: tuple[str, ...] = ()
    probe: bool = False

    def as_message(self) -> dict[str, object]:
        """Return it as the server reads it."""
        return {
            "base": self.base,
            "coverage": self.coverage,
            "modules": list(self.modules),
            "own": dict(self.own),
            "path": list(self.path),
            "session": self.session,
            "conftests": self.conftests,
            "project": list(self.project),
            "probe": self.probe,
        }


class HeldFile(Struct, frozen=True):
    """A file of the project that a server has imported, as it was then; size in bytes."""

    path: str
    size: int
    mtime_ns: int

    @property
    def is_current(self) -> bool:
        """Whether the file is still the same."""
        try:
            status = os.stat(self.path)
        except OSError:
            return False
        return (status.st_size, status.st_mtime_ns) == (self.size, self.mtime_ns)


class ServerInfo(Struct, frozen=True, kw_only=True):
    """The report of a server after its setup.

    Args:
        verdicts: of each module it imported.
        why_not: why it is no good; empty: it is.
        has_pytest: whether its interpreter has pytest.
        version: of its interpreter, such as `3.12.1`.
        modules: names of all that is imported; only of a server with a framework or conftests and nothing
            else.
        conftests: the paths of the initial conftests; only of a server with a session and nothing else.
        files: the project's own files that it has imported, and pytest's configuration.
        rss_bytes: resident bytes of the process.
        anon_bytes: those of them that are not pages of files.
    """

    verdicts: tuple[ImportResult, ...] = ()
    why_not: str = ""
    has_pytest: bool = False
    version: str = ""
    modules: tuple[str, ...] = ()
    conftests: tuple[str, ...] = ()
    files: tuple[HeldFile, ...] = ()
    rss_bytes: int = 0
    anon_bytes: int = 0


class ForkServer(Struct):
    """One server. Thread-safe."""

    answer: ServerInfo
    _link: MessageSocket
    _pid: int
    _process: subprocess.Popen[bytes] | None = None
    _below_bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def pid(self) -> int:
        """Its process."""
        return self._pid

    @property
    def added_bytes(self) -> int:
        """Its memory beyond that of the server that it was forked from."""
        return self.answer.anon_bytes - self._below_bytes

    def supervisor(self) -> SupervisorClient:
        """Fork a process supervisor, which can fork processes with everything that this server has imported.

        Raises:
            ServerError: the server is gone, hangs, or cannot fork.
        """
        link, pid = self._fork(("supervisor",))
        return SupervisorClient(link, pid)

    def derive(self, setup: Setup, given_up: threading.Event) -> ForkServer:
        """Fork another server that imports more.

        Args:
            setup: what.
            given_up: set when the server is no longer needed.

        Raises:
            ServerError: this server or the new one is gone, hangs, or cannot fork. A new one that is merely
                no good says so in its answer.
        """
        link, pid = self._fork(("server", setup.as_message()))
        try:
            return ForkServer(_ready(link, given_up), link, pid, _below_bytes=self.answer.anon_bytes)
        except ServerError:
            link.close()
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # It hangs in an import.
            raise

    def close(self) -> None:
        """Stop the server. Supervisors and servers forked from it live until they are closed."""
        if self._process is None:
            self._link.close_and_wait(CLOSE_WAIT_S)
            return
        self._link.close()
        wait_or_kill(self._process, CLOSE_WAIT_S)

    def _fork(self, request: tuple[object, ...]) -> tuple[MessageSocket, int]:
        """Ask for a process with a socket of its own; return both."""
        link, theirs = open_socket_pair()
        try:
            with theirs, self._lock:
                self._link.send(request, [theirs.fileno()])
                reply = self._link.wait(FORK_WAIT_S)
        except SocketClosedError:
            link.close()
            raise ServerGoneError("the fork server has died") from None
        match reply:
            case ("forked", int(pid)):
                return link, pid
            case ("failed", int(), str(text)):
                link.close()
                raise ServerBusyError(text)
            case _:
                link.close()
                raise ServerGoneError(f"the fork server did not answer within {FORK_WAIT_S:g} s")


def start_server(
    interpreter: str,
    environment: Mapping[str, str],
    cwd: str,
    given_up: threading.Event,
    *,
    nice: int = 0,
    code_dir: Path | None = None,
) -> ForkServer:
    """Start the first server of an interpreter and an environment; it has imported nothing.

    Args:
        interpreter: the project's Python, absolute.
        environment: what tests get, but for what differs from file to file.
        cwd: the folder that tests run in.
        given_up: set when the server is no longer needed.
        nice: by how much its priority is lowered, and that of what is forked from it.
        code_dir: where it and what is forked from it keep compiled code that Python does not keep; None:
            nowhere.

    Raises:
        ServerError: it does not start, or does not answer.
    """
    link, theirs = open_socket_pair()
    try:
        with theirs:
            process = subprocess.Popen(
                [interpreter, str(CHILD_MAIN), "--serve", str(theirs.fileno()), str(code_dir or "")],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,  # So that its streams are made for a pipe, as a test's are.
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=cwd,
                start_new_session=True,
            )
    except OSError as error:
        link.close()
        raise ServerError(f"{interpreter} cannot be started: {error.strerror}") from error
    lower_priority(process.pid, nice)
    try:
        answer = _ready(link, given_up)
    except ServerError as error:
        link.close()
        process.kill()
        said = process.communicate()[0].decode("utf-8", "backslashreplace").strip().splitlines()
        raise ServerError(f"{error}: {said[-1]}" if said else str(error)) from None
    assert process.stdout is not None
    process.stdout.close()
    return ForkServer(answer, link, process.pid, process)


def _ready(link: MessageSocket, given_up: threading.Event) -> ServerInfo:
    """Wait until a new server is set up."""
    importing = ""
    deadline = time.monotonic() + IMPORT_WAIT_S
    while time.monotonic() < deadline and not given_up.is_set():
        try:
            messages = link.receive_within(GIVE_UP_LOOK_S)
        except SocketClosedError:
            if importing:
                raise ImportStuckError(importing, "ends the process") from None
            raise ServerError("the fork server died while it was set up") from None
        for message in messages:
            match message:
                case ("ready", dict() as answer):
                    return _answer(answer)
                case ("importing", str(name)):
                    importing, deadline = name, time.monotonic() + IMPORT_WAIT_S
    if given_up.is_set():
        raise ServerError("the run is over")
    if importing:
        raise ImportStuckError(importing, f"does not end within {IMPORT_WAIT_S:g} s")
    raise ServerError(f"the fork server was not ready within {IMPORT_WAIT_S:g} s")


def _answer(answer: Mapping[str, Any]) -> ServerInfo:
    return ServerInfo(
        verdicts=tuple(_verdict(verdict) for verdict in answer["verdicts"]),
        why_not=str(answer["why_not"]),
        has_pytest=bool(answer["pytest"]),
        version=str(answer["version"]),
        modules=tuple(map(str, answer["modules"])),
        conftests=tuple(map(str, answer["conftests"])),
        files=tuple(HeldFile(*each) for each in answer["files"]),
        rss_bytes=int(answer["rss_bytes"]),
        anon_bytes=int(answer["anon_bytes"]),
    )


def _verdict(values: Sequence[object]) -> ImportResult:
    name, seconds, added_bytes, verdict = values
    return ImportResult(
        name=str(name),
        seconds=float(str(seconds)),
        added_bytes=int(str(added_bytes)),
        verdict=str(verdict),
    )
