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
from worker.child.passmuster_child_stamps import file_stamp, names_digest
from worker.process.command import CHILD_MAIN
from worker.process.message_socket import MessageSocket, SocketClosedError, open_socket_pair
from worker.process.supervisor_client import SupervisorClient, lower_priority

FORK_WAIT_S = 30.0
"""How long a server may take to fork: it does nothing else, so only a busy machine delays it."""

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
    """A new server died or hangs during an import.

    Args:
        module: the module that was being imported.
        reason: what happened, as the end of "it ...".
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
        seconds: CPU time of the import, without modules that were imported before.
        added_bytes: memory that the import added to the process.
        verdict: `ok`, or another result, see `passmuster_child_preload`.
    """

    name: str
    seconds: float = 0.0
    added_bytes: int = 0
    verdict: str = "ok"


class Setup(Struct, frozen=True, kw_only=True):
    """The modules that a server imports on top of the one that it is forked from.

    Args:
        base: the framework, `script` or `pytest`; empty: none.
        coverage: whether coverage is imported before everything else.
        modules: what to preload, in order.
        own: those of them that are the project's, each with its file.
        path: directories that are searched for those first.
        session: whether to prepare a pytest session.
        conftests: whether to load the initial conftests into the inherited session.
        project: the project's folders.
        probe: whether the server only finds out whether the modules may be preloaded.
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
        """Return the message that the server reads."""
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
    """A file that a server has imported or read, with its stamp from that moment."""

    path: str
    size: int
    changed_ns: int

    @property
    def is_current(self) -> bool:
        """Whether the file has not changed since."""
        return file_stamp(self.path) == (self.size, self.changed_ns)


class HeldFolder(Struct, frozen=True):
    """A folder that a server has listed, with a digest of the names in it."""

    path: str
    digest: int

    @property
    def is_current(self) -> bool:
        """Whether it has the same names now."""
        return names_digest(self.path) == self.digest


class ServerInfo(Struct, frozen=True, kw_only=True):
    """The report of a server after its setup.

    Args:
        verdicts: the result for each module that it imported.
        why_not: why it cannot be used; empty: it can.
        has_pytest: whether pytest is installed for its interpreter.
        version: of its interpreter, such as `3.12.1`.
        modules: names of all imported modules; only for a server with nothing but a framework or conftests.
        conftests: the paths of the initial conftests; only for a server with nothing but a session.
        files: the project's own files that it has imported, and pytest's configuration.
        read: what else it has read, unless that is not recorded.
        folders: those that it has listed, likewise.
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
    read: tuple[HeldFile, ...] = ()
    folders: tuple[HeldFolder, ...] = ()
    rss_bytes: int = 0
    anon_bytes: int = 0


class ForkServer(Struct):
    """One server. Thread-safe."""

    answer: ServerInfo
    _link: MessageSocket
    _pid: int
    _process: subprocess.Popen[bytes] | None = None
    _below_bytes: int = 0
    is_checked: bool = False
    """Whether this run has found that `has_current_inputs`."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def pid(self) -> int:
        """Its process ID."""
        return self._pid

    @property
    def is_current(self) -> bool:
        """Whether no file of the project that it holds has changed since it was imported."""
        return all(file.is_current for file in self.answer.files)

    @property
    def has_current_inputs(self) -> bool:
        """Whether what else it has read has not changed either."""
        files, folders = self.answer.read, self.answer.folders
        return all(file.is_current for file in files) and all(folder.is_current for folder in folders)

    @property
    def is_up_to_date(self) -> bool:
        """Whether nothing that it holds has changed; what it read besides code is checked once in a run."""
        return self.is_current and (self.is_checked or self.has_current_inputs)

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
            setup: the modules and the state that it adds.
            given_up: set when the server is no longer needed.

        Raises:
            ServerError: this server or the new one is gone, hangs, or cannot fork. A new one that
                cannot be used reports that in its answer.
        """
        link, pid = self._fork(("server", setup.as_message()))
        try:
            return ForkServer(_ready(link, given_up), link, pid, _below_bytes=self.answer.anon_bytes)
        except ServerError:
            link.close()
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # It hangs during an import.
            raise

    def close(self) -> None:
        """Stop the server. Supervisors and servers forked from it live until they are closed."""
        if self._process is None:
            self._link.close_and_wait(CLOSE_WAIT_S)
            return
        self._link.close()
        wait_or_kill(self._process, CLOSE_WAIT_S)

    def _fork(self, request: tuple[object, ...]) -> tuple[MessageSocket, int]:
        """Request a process with its own socket; return the socket and the process ID."""
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
                # Its socket is open, so the process exists; it would not notice that the socket closes.
                os.kill(self._pid, signal.SIGKILL)
                raise ServerGoneError(f"the fork server did not answer within {FORK_WAIT_S:g} s")


def start_server(
    interpreter: str,
    environment: Mapping[str, str],
    cwd: str,
    given_up: threading.Event,
    *,
    nice: int = 0,
    code_dir: Path | None = None,
    inputs_root: Path | None = None,
) -> ForkServer:
    """Start the first server for an interpreter and an environment. It has imported nothing.

    Args:
        interpreter: the project's Python, absolute.
        environment: the variables of all tests, without those that differ from file to file.
        cwd: the directory in which tests run.
        given_up: set when the server is no longer needed.
        nice: decrement of its priority and of that of all processes forked from it.
        code_dir: the directory for compiled code that Python itself does not keep; None: it is not kept.
        inputs_root: the project's root, to record what is read; None: it is not recorded.

    Raises:
        ServerError: it does not start, or does not answer.
    """
    link, theirs = open_socket_pair()
    try:
        with theirs:
            process = subprocess.Popen(
                [
                    *(interpreter, str(CHILD_MAIN), "--serve", str(theirs.fileno())),
                    *(str(code_dir or ""), str(inputs_root or "")),
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,  # Its streams are then made for a pipe, as those of a test.
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
        read=tuple(HeldFile(*each) for each in answer["read"]),
        folders=tuple(HeldFolder(*each) for each in answer["folders"]),
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
