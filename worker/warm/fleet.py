"""Which fork servers there are, and how the process of each file comes into being.

A tree of servers grows as files ask for it: the interpreter alone, the framework on top of it, a pytest
session on top of that, and on top of each the modules that some files need. Every slot has a keeper of its
own for each server that it uses, and one that executes commands. A server that dies or hangs is left out and
started anew a few times; nothing that runs depends on it, because each keeper has its own socket to the
runner.

All of this only makes files start faster. Whatever goes wrong, the file is spawned, and its result says why.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from passmuster.status import Isolation
from passmuster.task import TestTask
from worker.environment import get_test_environment
from worker.keeper import Keeper, start_keeper
from worker.settings import WorkerSettings
from worker.warm.advice import PYTEST, SCRIPT, Advice, Advisor
from worker.warm.needs import Imported
from worker.warm.server import (
    Answer,
    ForkServer,
    ServerBusyError,
    ServerError,
    ServerGoneError,
    Setup,
    start_server,
)

MAX_DEATHS = 3
"""Servers that may die or hang in a run before nothing is forked any more: something is wrong with all."""

MAX_SESSIONS = 4
"""pytest sessions begun for a project with several configurations of pytest."""

KEEPER_BYTES = 2 * 1024 * 1024
"""What a keeper takes that was forked from a server: seen were 1 to 2 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How a file is to be started.

    Args:
        keeper: who starts and owns its processes.
        server: from which it is forked; None: it is spawned.
        is_learning: whether what it imports is recorded.
        note: why it is spawned although it might have been forked; empty: nothing to say.
    """

    keeper: Keeper
    server: ForkServer | None = None
    is_learning: bool = False
    note: str = ""

    @property
    def isolation(self) -> Isolation:
        """How its process comes into being."""
        return Isolation.SPAWN if self.server is None else Isolation.FORK


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A server by what it has imported: its framework, the file whose session it began, modules in order."""

    base: str = ""
    session: str = ""
    modules: tuple[str, ...] = ()


class _Node:
    """A server that is there, or is being made, or cannot be had."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.server: ForkServer | None = None
        self.why_not = ""


class Fleet:
    """All servers and keepers of one run. Thread-safe.

    Args:
        settings: of the worker.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._nodes: dict[_Place, _Node] = {}
        self._keepers: dict[tuple[int, _Place | None], Keeper] = {}
        self._deaths = 0
        self._is_closed = False
        self._sessions: list[str] = []
        self._session_numbers: dict[str, int] = {}
        self._why_never = why_never()
        self._environment = get_test_environment(settings.environ)
        self._advisor = Advisor(settings, self._answer_of)

    @property
    def environment(self) -> Mapping[str, str]:
        """What the servers were started with."""
        return self._environment

    @property
    def held_bytes(self) -> int:
        """What the servers and their keepers take, pages that they share counted once."""
        with self._lock:
            nodes = list(self._nodes.items())
            forked = sum(1 for _, place in self._keepers if place is not None)
        total_bytes = forked * KEEPER_BYTES
        for place, node in nodes:
            if node.server is not None:
                parent = self._nodes.get(self._parent(place)) if place != _Place() else None
                below = parent.server if parent is not None else None
                total_bytes += node.server.answer.anon_bytes - (below.answer.anon_bytes if below else 0)
        return total_bytes

    def why_no_fork(self) -> str:
        """Return why no file can be forked here; empty: they can."""
        try:
            self._server(_Place(base=SCRIPT))
        except ServerError as error:
            return str(error)
        return self._why_never

    def proposal(self) -> str:
        """Return what earlier runs have shown to be worth setting, in one line; empty: nothing."""
        return "" if self.wanted(Isolation.AUTO) is Isolation.SPAWN else self._advisor.proposal()

    def probe(self, tasks: Sequence[TestTask]) -> Advisor:
        """Start every server that these tasks would be forked from; return who knows what came of it."""
        paths = [task.file_path for task in tasks]
        self._advisor.think(paths, {task.file_path: task.runner for task in tasks})
        for task in tasks:
            with contextlib.suppress(ServerError):
                self._best_server(task, self._advisor.advise(task))
        # Now it is known what each module costs, and so whether it is worth a server.
        self._advisor.think(paths, {task.file_path: task.runner for task in tasks})
        return self._advisor

    def warm_up(self, slots: int) -> None:
        """Start what the first files will need: keepers, or the first server."""
        if self.wanted(Isolation.AUTO) is Isolation.SPAWN:
            for slot in range(slots):
                self._plain(slot)
        else:
            threading.Thread(target=self._warm_up_server, name="fork-server", daemon=True).start()

    def expect(self, tasks: Sequence[TestTask]) -> None:
        """Tell which files will come, so that it can be thought about what they need together."""
        forked = [task for task in tasks if self.wanted(task.isolation) is not Isolation.SPAWN]
        if len(forked) > 1:
            paths = [task.file_path for task in forked]
            self._advisor.expect(paths, {task.file_path: task.runner for task in forked})

    def launch(self, task: TestTask, slot: int) -> Launch:
        """Return how a task is to be started in a slot.

        Raises:
            OSError: no process can be started.
        """
        wanted = self.wanted(task.isolation)
        if wanted is Isolation.SPAWN:
            return Launch(keeper=self._plain(slot), note=self._why_never)
        while True:
            try:
                advice = self._advisor.advise(task)
                if advice.why_spawn and wanted is Isolation.AUTO:
                    return Launch(keeper=self._plain(slot), note=advice.why_spawn)
                place, server = self._best_server(task, advice)
                return Launch(
                    keeper=self._forked(slot, place, server), server=server, is_learning=advice.is_new
                )
            except ServerGoneError:
                continue  # Until too many have died.
            except ServerError as error:
                return Launch(keeper=self._plain(slot), note=str(error))

    def learn(self, path: str, imported: Iterable[Imported]) -> None:
        """Take note of what a file was seen to import."""
        self._advisor.learn_imports(path, imported)

    def refuse_session(self, path: str, server: ForkServer) -> None:
        """Take note that the files of a folder cannot be forked from the pytest session of a server."""
        with self._lock:
            number = self._session_numbers.get(_folder(path), 0)
            places = [place for place, node in self._nodes.items() if node.server is server]
            # Another file of the folder may have been refused at the same time.
            if any(place.session in self._sessions[number : number + 1] for place in places):
                self._session_numbers[_folder(path)] = number + 1

    def discard(self, slot: int, keeper: Keeper) -> None:
        """Forget a keeper that a test has killed; the caller closes it."""
        with self._lock:
            for key in [key for key, known in self._keepers.items() if key[0] == slot and known is keeper]:
                del self._keepers[key]

    def close(self) -> None:
        """End all keepers, with what they own, and all servers."""
        with self._lock:
            self._is_closed = True
            keepers, self._keepers = list(self._keepers.values()), {}
            nodes, self._nodes = list(self._nodes.values()), {}
        for keeper in keepers:
            keeper.close()
        for node in reversed(nodes):
            with node.lock:
                if node.server is not None:
                    node.server.close()
        self._advisor.close()

    def wanted(self, asked: Isolation) -> Isolation:
        """Return how a task that asks for this is started, as far as the file does not matter."""
        wanted = self._settings.isolation if asked is Isolation.AUTO else asked
        return Isolation.SPAWN if self._why_never else wanted

    def _answer_of(self, base: str) -> Answer:
        return self._server(_Place(base=base)).answer

    def _warm_up_server(self) -> None:
        with contextlib.suppress(ServerError):  # Whoever needs it is told.
            self._server(_Place(base=SCRIPT))

    def _best_server(self, task: TestTask, advice: Advice) -> tuple[_Place, ForkServer]:
        """Return the server that has imported most of what the file needs, and nothing else."""
        plain = _Place(base=advice.base)
        session = (
            replace(plain, session=self._session_for(task.file_path)) if advice.base == PYTEST else plain
        )
        # Under pytest modules come after the session: its plugins must be the first to import what is theirs.
        has_all = (
            session
            if advice.base == PYTEST and not session.session
            else replace(session, modules=advice.modules)
        )
        # A session that cannot be had is no reason against a fork, nor are modules that cannot.
        for place in dict.fromkeys((has_all, session)):
            try:
                return place, self._server(place)
            except (ServerBusyError, ServerGoneError):
                raise
            except ServerError:
                continue
        return plain, self._server(plain)

    def _session_for(self, path: str) -> str:
        """Return the file whose session the files of a folder can run in, as far as is known; empty: none.

        Sessions of one configuration are all alike, and most projects have one. Where a folder was refused
        by a session, the next one is tried, and at last one is begun for the folder itself.
        """
        with self._lock:
            number = self._session_numbers.get(_folder(path), 0)
            if number == len(self._sessions) and number < MAX_SESSIONS:
                self._sessions.append(path)
            return self._sessions[number] if number < len(self._sessions) else ""

    def _parent(self, place: _Place) -> _Place:
        if place.modules:
            return replace(place, modules=self._advisor.parent_of(place.base, place.modules))
        if place.session:
            return replace(place, session="")
        return _Place()

    def _server(self, place: _Place) -> ForkServer:
        """Return the server at a place, made when it is first asked for.

        Raises:
            ServerError: it cannot be had.
        """
        with self._lock:
            if self._is_closed:
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
            return node.server

    def _make(self, place: _Place) -> ForkServer:
        if place == _Place():
            workdir = str(self._settings.workdir)
            return start_server(self._settings.interpreter, self._environment, workdir)
        parent = self._server(self._parent(place))
        try:
            server = parent.derive(self._setup(place))
        except ServerGoneError:
            self._bury(self._parent(place))
            raise
        if place.modules:
            self._advisor.learn_verdicts(place.base, server.answer.verdicts)
        if server.answer.why_not:
            server.close()
            raise ServerError(server.answer.why_not)
        return server

    def _setup(self, place: _Place) -> Setup:
        settings = self._settings
        if place.modules:
            folders = (settings.workdir, settings.root, settings.root / "src", settings.root / "lib")
            path = tuple(dict.fromkeys(map(str, folders))) if settings.preload else ()
            return Setup(modules=place.modules, own=settings.preload, path=path)
        if place.session:
            return Setup(session=str(settings.root / place.session))
        return Setup(base=place.base, coverage=settings.coverage_dir is not None)

    def _forked(self, slot: int, place: _Place, server: ForkServer) -> Keeper:
        key = (slot, place)
        with self._lock:
            keeper = self._keepers.get(key)
        if keeper is None:
            try:
                keeper = server.keeper()
            except ServerGoneError:
                self._bury(place)
                raise
            self._keep(key, keeper)
        return keeper

    def _bury(self, place: _Place) -> None:
        """Forget a server that has died or hangs, so that the next file gets a new one."""
        with self._lock:
            self._deaths += 1
            node = self._nodes.pop(place, None)
        if node is not None and node.server is not None:
            node.server.close()

    def _plain(self, slot: int) -> Keeper:
        with self._lock:
            keeper = self._keepers.get((slot, None))
        if keeper is None:
            keeper = start_keeper()
            self._keep((slot, None), keeper)
        return keeper

    def _keep(self, key: tuple[int, _Place | None], keeper: Keeper) -> None:
        with self._lock:
            if not self._is_closed:
                self._keepers[key] = keeper
                return
        keeper.close()
        raise OSError("the run is over")


def why_never() -> str:
    """Return why nothing can be forked on this machine; empty: it can."""
    if sys.platform != "linux":
        return f"forking is not supported on {sys.platform}"
    return ""


def _folder(path: str) -> str:
    return str(PurePosixPath(path).parent)
