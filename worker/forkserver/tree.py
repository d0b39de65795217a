"""The tree of fork servers of one run: each server is forked from one that has imported less.

A server is created on first use, in the calling thread; other threads that need the same one wait for it. A
server that dies or hangs is skipped and recreated a few times. A server whose imports fail is not tried
again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from worker.forkserver.server import (
    ForkServer,
    ImportResult,
    ImportStuckError,
    ServerBusyError,
    ServerError,
    ServerGoneError,
    ServerInfo,
    Setup,
    start_server,
)
from worker.process.settings import WorkerSettings

MAX_DEATHS = 3
"""Servers that may die or hang in a run before no more files are forked: the cause affects all servers."""


class ServerKey(Struct, frozen=True, kw_only=True):
    """Identifies a server by its content.

    Args:
        base: the framework, `script` or `pytest`; empty: none.
        session: whether it has prepared a pytest session.
        conftests: whether it has loaded the initial conftests into that session.
        modules: the further modules that it has imported, in order.
        own: those of the modules that are the project's, each with its file.
    """

    base: str = ""
    session: bool = False
    conftests: bool = False
    modules: tuple[str, ...] = ()
    own: tuple[tuple[str, str], ...] = ()


ROOT = ServerKey()

UNSUPPORTED = "Unsupported: "
"""Starts a reason why no file can have a session that is prepared before its conftests are loaded."""


class _Node:
    """A server that exists, is being created, or is unavailable."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.server: ForkServer | None = None
        self.why_not = ""


class ServerTree:
    """All servers of one run. Thread-safe.

    Args:
        settings: of the worker.
        environment: the variables of all tests, without those that differ from file to file.
        modules_below: returns, for a framework and modules, those of the server to fork from.
        on_answer: called with the report of each probe, and of each server that has modules or conftests.
        needs_proof: returns whether a probe has to import what a server is to import; for a session, what the
            server has imported by its report. Raises `ServerError` if it is known that the server would be
            unusable.
        code_dir: the directory for compiled code that Python itself does not keep; None: it is not kept.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        environment: Mapping[str, str],
        modules_below: Callable[[str, tuple[str, ...]], tuple[str, ...]],
        on_answer: Callable[[ServerKey, ServerInfo], None],
        needs_proof: Callable[[ServerKey, ServerInfo | None], bool],
        code_dir: Path | None = None,
    ) -> None:
        self._settings = settings
        self._environment = environment
        self._modules_below = modules_below
        self._on_answer = on_answer
        self._needs_proof = needs_proof
        self._code_dir = code_dir
        self._lock = threading.Lock()
        self._nodes: dict[ServerKey, _Node] = {}
        self._made: list[_Node] = []
        """All servers, each after the one from which it was forked."""
        self._deaths = 0
        self._is_closed = False
        self._given_up = threading.Event()

    @property
    def servers(self) -> dict[ServerKey, ForkServer]:
        """The existing servers."""
        with self._lock:
            return {place: node.server for place, node in self._nodes.items() if node.server is not None}

    @property
    def refusals(self) -> dict[ServerKey, str]:
        """The reasons why servers are unavailable."""
        with self._lock:
            return {place: node.why_not for place, node in self._nodes.items() if node.why_not}

    @property
    def held_bytes(self) -> int:
        """Memory of all servers; shared pages count once."""
        return sum(server.added_bytes for server in self.servers.values())

    def answer_of(self, base: str) -> ServerInfo:
        """Return the report of a framework's server, or of the first one if `base` is empty.

        Under pytest, it is that of the server with the conftests once there is one.

        Raises:
            ServerError: it is unavailable.
        """
        deeper = self.servers.get(ServerKey(base=base, session=True, conftests=True))
        return (deeper or self.server(ServerKey(base=base))).answer

    def server(self, place: ServerKey) -> ForkServer:
        """Return the server with a key; it is created on first use.

        Raises:
            ServerError: it is unavailable.
        """
        with self._lock:
            if self._is_closed or self._given_up.is_set():
                raise ServerError("the run is over")
            if self._deaths >= MAX_DEATHS:
                raise ServerError("fork servers died or hung too often")
            node = self._nodes.setdefault(place, _Node())
        with node.lock:
            if node.why_not:
                raise ServerError(node.why_not)
            if node.server is None:
                try:
                    node.server = self._make(place)
                except (ServerBusyError, ServerGoneError):
                    raise
                except ServerError as error:
                    node.why_not = str(error)
                    raise
                with self._lock:
                    self._made.append(node)
            return node.server

    def current_server(self, place: ServerKey) -> ForkServer:
        """Return the server with a key; if it holds something outdated, another one takes its place.

        What a server has read besides code is checked once in each run, because tests may write it.

        Raises:
            ServerError: it is unavailable, or what it reads changes while it starts.
        """
        for _ in range(2):
            server = self.server(place)
            if server.is_up_to_date:
                server.is_checked = True
                return server
            self._discard_outdated()
        raise ServerError("what it reads changes while it starts")

    def bury(self, place: ServerKey) -> None:
        """Discard a server that died or hangs, so the next request creates a new one."""
        with self._lock:
            self._deaths += 1
            node = self._nodes.pop(place, None)
        if node is not None and node.server is not None:
            node.server.close()

    def own_ground(self, base: str) -> ServerInfo | None:
        """Return the report of the server on top of which modules of the project may be imported.

        None if there is none, as the initial conftests come before modules. If no server can load these, each
        module is imported after those conftests that a server can at least execute.
        """
        servers, session = self.servers, ServerKey(base=base, session=True)
        loaded = replace(session, conftests=True)
        if loaded in servers:
            return servers[loaded].answer
        answer = servers[session].answer if session in servers else None
        may_be_loaded = self.refusals.get(loaded, UNSUPPORTED).startswith(UNSUPPORTED)
        return None if answer is None or (answer.conftests and may_be_loaded) else answer

    def forget_changed(self, place: ServerKey) -> bool:
        """Discard servers with outdated code if that of `place` is one of them; return whether it is."""
        server = self.servers.get(place)
        if server is None or server.is_current:
            return False
        self._discard_outdated()
        return True

    def _discard_outdated(self) -> None:
        """Discard all servers that hold something outdated. The next request creates new ones.

        Those that are forked from them hold it too.
        """
        outdated = [key for key, server in self.servers.items() if not server.is_up_to_date]
        with self._lock:
            gone = self._latest_first(self._nodes.pop(key) for key in outdated if key in self._nodes)
        for node in gone:
            if node.server is not None:
                node.server.close()

    def renew(self) -> None:
        """Create servers again for a further run: outdated ones, and unavailable ones, which may work now."""
        with self._lock:
            if not self._is_closed:
                self._given_up.clear()
            self._deaths = 0
            self._nodes = {key: node for key, node in self._nodes.items() if not node.why_not}
        for server in self.servers.values():
            server.is_checked = False
        self._discard_outdated()

    def give_up(self) -> None:
        """Create no further server, and make all waiting requests fail."""
        self._given_up.set()

    def close(self) -> None:
        """Stop all servers, including those that are being created."""
        self.give_up()
        with self._lock:
            self._is_closed = True
            nodes = self._latest_first(self._nodes.values())
        for node in nodes:
            with node.lock:
                if node.server is not None:
                    node.server.close()
                    node.server = None

    def _latest_first(self, nodes: Iterable[_Node]) -> list[_Node]:
        """Return nodes in the order in which their servers are to be stopped.

        Only while a server lives does it count the CPU time of those forked from it, and take over the
        supervisors that these leave running.
        """
        age = {id(node): number for number, node in enumerate(self._made)}
        return sorted(nodes, key=lambda node: -age.get(id(node), len(age)))

    def _below(self, place: ServerKey) -> ServerKey:
        """Return the key of the server from which a server is forked."""
        if place.modules:
            modules = self._modules_below(place.base, place.modules)
            return replace(
                place, modules=modules, own=tuple(each for each in place.own if each[0] in modules)
            )
        if place.conftests:
            return replace(place, conftests=False)
        return replace(place, session=False) if place.session else ROOT

    def _make(self, place: ServerKey) -> ForkServer:
        if place == ROOT:
            workdir = str(self._settings.workdir)
            return start_server(
                self._settings.interpreter,
                self._environment,
                workdir,
                self._given_up,
                nice=self._settings.nice,
                code_dir=self._code_dir,
                inputs_root=self._settings.root if self._settings.records_inputs else None,
            )
        below = self._below(place)
        try:
            parent, setup = self.server(below), self._setup(place)
            if self._needs_proof(place, None):
                self._prove(parent, place, setup)
            server = parent.derive(setup, self._given_up)
            if setup.session and server.answer.verdicts and not server.answer.why_not:
                self._prove_session(parent, place, setup, server)
        except ServerGoneError:
            self.bury(below)
            raise
        except ImportStuckError as error:
            if place.modules:
                result = ImportResult(name=error.module, verdict=error.reason)
                self._on_answer(place, ServerInfo(verdicts=(result,)))
            raise
        if place.modules or place.conftests:
            self._on_answer(place, server.answer)
        if server.answer.why_not:
            server.close()
            raise ServerError(server.answer.why_not)
        return server

    def _setup(self, place: ServerKey) -> Setup:
        """Return the modules to import on top of the parent server."""
        settings = self._settings
        project = tuple(dict.fromkeys(map(str, (settings.root, settings.workdir))))
        if place.modules:
            folders = (settings.workdir, settings.root, settings.root / "src", settings.root / "lib")
            path = tuple(dict.fromkeys(map(str, folders))) if settings.preload else ()
            return Setup(modules=place.modules, own=place.own, path=path, project=project)
        if place.conftests:
            return Setup(conftests=True, project=project)
        if place.session:
            return Setup(session=True, project=() if settings.coverage_dir is not None else project)
        return Setup(base=place.base, coverage=settings.coverage_dir is not None)

    def _prove_session(self, parent: ForkServer, place: ServerKey, setup: Setup, server: ForkServer) -> None:
        """Find out whether the modules of the project that a new server imported do anything else.

        Raises:
            ServerError: as `_prove`; the server is stopped.
        """
        try:
            if self._needs_proof(place, server.answer):
                self._prove(parent, place, setup)
        except ServerError:
            server.close()
            raise

    def _prove(self, parent: ForkServer, place: ServerKey, setup: Setup) -> None:
        """Import a server's modules in a probe, a process that is used for nothing else.

        Raises:
            ServerError: a server with these modules must not be forked, or the probe failed.
        """
        probe = parent.derive(replace(setup, probe=True), self._given_up)
        probe.close()
        self._on_answer(place, probe.answer)
        if probe.answer.why_not:
            raise ServerError(probe.answer.why_not)
