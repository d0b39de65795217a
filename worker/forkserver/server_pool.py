"""Owns the fork servers of a worker, and decides the start method of each file.

The servers form a tree that grows on demand: the bare interpreter, the framework on top of it, a pytest
session on top of that, and on top of each the modules that some files need. Every slot has a process
supervisor for each server that it uses, and one that spawns. A server that dies or hangs is skipped and
restarted a few times. Running files do not depend on it, because each supervisor has its own socket to the
dispatcher.

Fork servers only make files start faster. If anything fails, the file is spawned, and its result says why.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from passmuster.model.errors import InfrastructureError
from passmuster.model.process_limit import NoThreadError, start_thread
from passmuster.model.status import Isolation, RunnerKind
from passmuster.model.task import TestTask
from worker.forkserver.module_costs import is_allowed
from worker.forkserver.server import (
    PYTEST,
    SCRIPT,
    ForkServer,
    ServerBusyError,
    ServerError,
    ServerGoneError,
    ServerInfo,
)
from worker.forkserver.tree import UNSUPPORTED, ServerKey, ServerTree
from worker.process.environment import get_test_environment
from worker.process.settings import WorkerSettings
from worker.process.supervisor_client import SupervisorClient, start_supervisor
from worker.process.temporary import PrivateTmp

if TYPE_CHECKING:
    from worker.forkserver.fork_advice import ForkAdvice, ForkAdvisor

SUPERVISOR_BYTES = 2 * 1024 * 1024
"""Memory of a process supervisor that was forked from a server: 1 to 2 MiB were measured."""


CONFTEST_FILES = 3
"""Minimum number of pytest files for which a server loads the conftests: the probe loads them too."""

_CONFTESTS = ServerKey(base=PYTEST, session=True, conftests=True)
_COMMAND_NOTE = "it runs by a command of the project, which is always spawned"


class StartPlan(Struct, frozen=True, kw_only=True):
    """How a file is to be started.

    Args:
        supervisor: the process that starts the file and owns its processes.
        server: the server from which it is forked; None: it is spawned.
        is_learning: whether its imports are recorded.
        note: why it is spawned although forking was allowed; empty: no reason to report.
    """

    supervisor: SupervisorClient
    server: ForkServer | None = None
    is_learning: bool = False
    note: str = ""

    @property
    def isolation(self) -> Isolation:
        """Its start method."""
        return Isolation.SPAWN if self.server is None else Isolation.FORK


class ServerPool:
    """All fork servers and process supervisors of one run. Thread-safe.

    Args:
        settings: of the worker.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._supervisors: dict[tuple[int, ServerKey | None], SupervisorClient] = {}
        self._servers: dict[tuple[int, ServerKey | None], ForkServer] = {}
        """The servers from which the supervisors were forked; a key may have a newer server since."""
        self._is_closed = False
        self._without_session: set[str] = set()
        self._pytest_files: set[str] = set()
        self._is_loading_conftests = False
        self._proving: set[ServerKey] = set()
        self._why_never = why_never()
        self._environment = get_test_environment(
            settings.environ, slots=settings.own_slots if settings.is_sole else None
        )
        self._tmp = _private_tmp(settings.tmp_parent)
        self.code_dir = None if self._tmp is None else self._tmp.make("code")
        """The directory for compiled code that Python itself does not keep; None: it is not kept."""
        self._tree = ServerTree(
            settings,
            self._environment,
            modules_below=lambda base, modules: self._advisor.parent_of(base, modules),
            on_answer=self._learn_answer,
            needs_proof=self._needs_proof,
            code_dir=self.code_dir,
        )
        self._known_advisor: ForkAdvisor | None = None

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment that the servers were started with."""
        return self._environment

    @property
    def held_bytes(self) -> int:
        """Memory of the servers and their supervisors; shared pages count once."""
        with self._lock:
            forked = sum(1 for _, place in self._supervisors if place is not None)
        return forked * SUPERVISOR_BYTES + self._tree.held_bytes

    def of(self, _task: TestTask) -> ServerPool:
        """Return the pool from which a file is started: always this one; see `CoveragePools`."""
        return self

    def why_no_fork(self) -> str:
        """Return why no file can be forked here, or "" if files can."""
        try:
            self._tree.server(ServerKey(base=SCRIPT))
        except ServerError as error:
            return str(error)
        return self._why_never

    def why_no_session(self) -> list[str]:
        """Return why no pytest session could be prepared, each reason once."""
        refusals = self._tree.refusals.items()
        reasons = (why for place, why in refusals if place.session and not (place.conftests or place.modules))
        return list(dict.fromkeys(why.removeprefix(UNSUPPORTED) for why in reasons))

    def why_no_conftests(self) -> str:
        """Return why each file loads the initial conftests itself, or "" if there is no reason."""
        return self._tree.refusals.get(_CONFTESTS, "").removeprefix(UNSUPPORTED)

    def probe(self, tasks: Sequence[TestTask]) -> ForkAdvisor:
        """Start every server that these tasks would be forked from; return the advisor with the results."""
        if len(tasks) >= CONFTEST_FILES and self._settings.coverage_dir is None:
            self._load_conftests()
        self._think(tasks)
        for task in tasks:
            with contextlib.suppress(ServerError):
                self._best_server(task, self._advisor.advise(task), waits=True)
        # The cost of each module is known now, and therefore which ones are worth a server.
        self._think(tasks)
        return self._advisor

    def warm_up(self, slots: int, *, base: str = SCRIPT) -> None:
        """Start the processes that the first files need: supervisors, or the servers of their framework."""
        if self.wanted(Isolation.AUTO) is Isolation.SPAWN:
            with contextlib.suppress(OSError):  # The file that needs one reports the error.
                for slot in range(slots):
                    self._plain(slot)
        else:
            _start_helper(
                threading.Thread(target=self._warm_up_server, args=(base,), name="fork-server", daemon=True)
            )

    def expect(self, tasks: Sequence[TestTask]) -> None:
        """Announce the files that will be started, so that their common imports can be chosen."""
        forked = [task for task in tasks if self.may_fork(task)]
        self._count([task.file_path for task in forked if task.runner is RunnerKind.PYTEST])
        if len(forked) > 1:
            _start_helper(
                threading.Thread(target=self._think, args=(forked,), name="preload-choice", daemon=True)
            )

    def launch(self, task: TestTask, slot: int) -> StartPlan:
        """Return how a task is to be started in a slot.

        Raises:
            OSError: no process can be started.
        """
        wanted = self.wanted(task.isolation)
        if task.runner is RunnerKind.COMMAND:
            note = _COMMAND_NOTE if wanted is Isolation.FORK else ""
            return StartPlan(supervisor=self._plain(slot), note=note)
        if wanted is Isolation.SPAWN:
            return StartPlan(supervisor=self._plain(slot), note=self._why_never)
        while True:
            try:
                advice = self._advisor.advise(task)
                if advice.why_spawn and wanted is Isolation.AUTO:
                    return StartPlan(supervisor=self._plain(slot), note=advice.why_spawn)
                self._count([task.file_path] if advice.base == PYTEST else [])
                place, server = self._best_server(task, advice)
                return StartPlan(
                    supervisor=self._forked(slot, place, server), server=server, is_learning=advice.is_new
                )
            except ServerGoneError:
                continue  # Until too many have died.
            except ServerError as error:
                return StartPlan(supervisor=self._plain(slot), note=str(error))

    def learn(self, path: str, imported: Iterable[str]) -> None:
        """Record the observed imports of a file."""
        self._advisor.learn_imports(path, imported)

    def refuse_session(self, path: str, server: ForkServer) -> None:
        """Record that the files of a directory cannot be forked from the pytest session of a server."""
        with self._lock:
            if any(place.session for place, known in self._tree.servers.items() if known is server):
                self._without_session.add(_folder(path))

    def discard(self, slot: int, supervisor: SupervisorClient) -> None:
        """Discard a supervisor that a test killed; the caller closes it."""
        with self._lock:
            for key in [
                key for key, known in self._supervisors.items() if key[0] == slot and known is supervisor
            ]:
                del self._supervisors[key]

    def release(self, *, used_slots: Collection[int]) -> None:
        """Stop the supervisors of all other slots, so that unused slots hold no process."""
        with self._lock:
            unused = [key for key in self._supervisors if key[0] not in used_slots]
            supervisors = [self._supervisors.pop(key) for key in unused]
        for supervisor in supervisors:
            supervisor.close()

    def renew(self) -> None:
        """Forget what held for one run only, before a further run of the same project.

        The servers stay, but for those that hold a changed file.
        """
        had_conftests = _CONFTESTS in self._tree.servers or _CONFTESTS in self._tree.refusals
        self._tree.renew()
        with self._lock:
            self._without_session.clear()
            self._proving.clear()
            if had_conftests and _CONFTESTS not in self._tree.servers:
                self._is_loading_conftests = False  # They are loaded again with the next file.
            advisor = self._known_advisor
        if advisor is not None:
            advisor.renew()

    def give_up(self) -> None:
        """Create no further server, so that no file waits for one from now on."""
        self._tree.give_up()

    def close(self) -> None:
        """Stop all supervisors with their processes, and all servers."""
        with self._lock:
            self._is_closed = True
            supervisors, self._supervisors = list(self._supervisors.values()), {}
        for supervisor in supervisors:
            supervisor.close()
        self._tree.close()
        if self._tmp is not None:
            self._tmp.close(keep=False)
        if self._known_advisor is not None:
            self._known_advisor.close()

    def wanted(self, asked: Isolation) -> Isolation:
        """Return the start method for a requested isolation, before the file itself is considered."""
        wanted = self._settings.isolation if asked is Isolation.AUTO else asked
        return Isolation.SPAWN if self._why_never else wanted

    def may_fork(self, task: TestTask) -> bool:
        """Return whether a task may be forked, before its file itself is considered."""
        return task.runner is not RunnerKind.COMMAND and self.wanted(task.isolation) is not Isolation.SPAWN

    def _think(self, tasks: Sequence[TestTask]) -> None:
        paths = [task.file_path for task in tasks]
        self._advisor.think(paths, {task.file_path: task.runner for task in tasks})

    @property
    def _advisor(self) -> ForkAdvisor:
        """The fork advisor; created when it is first needed, after the first server was requested."""
        # Importing it takes as long as a server takes to start, so the two overlap.
        from worker.forkserver.fork_advice import ForkAdvisor

        with self._lock:
            if self._known_advisor is None:
                self._known_advisor = ForkAdvisor(self._settings, self._tree.answer_of, self._tree.own_ground)
            return self._known_advisor

    def _warm_up_server(self, base: str) -> None:
        with contextlib.suppress(ServerError):  # Each file that needs the server gets the error.
            self._tree.server(ServerKey(base=base, session=base == PYTEST))

    def _best_server(
        self, task: TestTask, advice: ForkAdvice, *, waits: bool = False
    ) -> tuple[ServerKey, ForkServer]:
        """Return the server that has imported the most of the file's modules, and no others.

        Args:
            waits: whether to wait for the probe of modules of the project.
        """
        plain = ServerKey(base=advice.base)
        # A prepared session has parsed its arguments, so a task with further ones needs its own session.
        is_shared = not task.selection.arguments and self._may_share_session(task.file_path)
        session = replace(plain, session=advice.base == PYTEST and is_shared)
        # A server configures its conftests before the expressions of the file are known.
        has_expression = bool(task.selection.keyword or task.selection.marker)
        has_conftests = session.session and self._has_conftests()
        deepest = replace(session, conftests=has_conftests and not has_expression)
        places = [deepest, session]
        # Under pytest, modules come after the session, because plugins must import their own modules first.
        if advice.base != PYTEST or session.session:
            own = dict(advice.own)
            installed = tuple(name for name in advice.modules if name not in own)
            has_all = replace(deepest, modules=advice.modules, own=advice.own)
            # Modules of the project come after the conftests, if servers can load these.
            is_ground = deepest.conftests == has_conftests and self._tree.own_ground(advice.base) is not None
            may_have_all = advice.base != PYTEST or is_ground
            # A probe may just have found that the file needs another order.
            if (
                may_have_all
                and (waits or self._is_ready(has_all))
                and self._advisor.is_chosen(task, advice.modules)
            ):
                places.insert(0, has_all)
            else:
                places.insert(0, replace(deepest, modules=installed))
        # If the session or the modules are unavailable, the file is forked without them.
        for place in dict.fromkeys(places):
            try:
                return place, self._tree.current_server(place)
            except (ServerBusyError, ServerGoneError):
                raise
            except ServerError:
                continue
        return plain, self._tree.current_server(plain)

    def _is_ready(self, place: ServerKey) -> bool:
        """Return whether a server exists or needs no probe. If not, create it in the background."""
        if place in self._tree.servers or not self._needs_proof(place):
            return True
        with self._lock:
            is_new = place not in self._proving
            self._proving.add(place)
        if is_new:
            _start_helper(threading.Thread(target=self._create, args=(place,), name="probe", daemon=True))
        return False

    def _create(self, place: ServerKey) -> None:
        with contextlib.suppress(ServerError):
            self._tree.server(place)

    def _needs_proof(self, place: ServerKey, session: ServerInfo | None = None) -> bool:
        """Return whether a probe has to import what a server is to import.

        Args:
            session: the report of a new server, for which pytest has imported modules of the project.

        Raises:
            ServerError: an earlier run has found why each file has to import this itself.
        """
        if place.modules:
            return self._advisor.needs_proof(name for name, _ in place.own)
        if place.conftests:
            session = self._session()
        if session is None:
            return False
        verdict = self._advisor.session_verdict(session, with_conftests=place.conftests)
        if verdict and not is_allowed(verdict):
            raise ServerError(verdict)
        return not verdict

    def _learn_answer(self, place: ServerKey, answer: ServerInfo) -> None:
        """Record what a probe or a server reports of modules, conftests, or a session."""
        if place.modules:
            self._advisor.learn_verdicts(place.base, answer.verdicts)
        else:
            session = self._session() if place.conftests else answer
            self._advisor.learn_session(session, answer, with_conftests=place.conftests)

    def _session(self) -> ServerInfo:
        """Return the report of the server with a prepared pytest session.

        Raises:
            ServerError: it is unavailable.
        """
        return self._tree.server(replace(_CONFTESTS, conftests=False)).answer

    def _count(self, pytest_files: Iterable[str]) -> None:
        """Count pytest files, and have a server load the conftests once there are enough of them."""
        with self._lock:
            self._pytest_files.update(pytest_files)
            # Coverage does not measure imports in a server.
            is_measured = self._settings.coverage_dir is not None
            if is_measured or self._is_loading_conftests or len(self._pytest_files) < CONFTEST_FILES:
                return
            self._is_loading_conftests = True
        _start_helper(threading.Thread(target=self._load_conftests, name="conftests", daemon=True))

    def _load_conftests(self) -> None:
        """Create the server with the initial conftests, then choose again what is preloaded on top of it."""
        with contextlib.suppress(ServerError):
            if self._session().conftests:
                self._tree.server(_CONFTESTS)
        self._advisor.choose_again(PYTEST)

    def _has_conftests(self) -> bool:
        """Return whether a server holds the current conftests."""
        if self._tree.forget_changed(_CONFTESTS):
            with self._lock:
                self._is_loading_conftests = False
        return _CONFTESTS in self._tree.servers

    def _may_share_session(self, path: str) -> bool:
        """Return whether no file of the directory was refused by the prepared pytest session."""
        with self._lock:
            return _folder(path) not in self._without_session

    def _forked(self, slot: int, place: ServerKey, server: ForkServer) -> SupervisorClient:
        key = (slot, place)
        with self._lock:
            supervisor = self._supervisors.get(key)
            if supervisor is not None and self._servers[key] is not server:
                del self._supervisors[key]
                outdated, supervisor = supervisor, None
            else:
                outdated = None
        if outdated is not None:
            outdated.close()  # It is idle, because this file now has its slot.
        if supervisor is None:
            try:
                supervisor = server.supervisor()
            except ServerGoneError:
                self._tree.bury(place)
                raise
            self._keep(key, supervisor)
            self._servers[key] = server
        return supervisor

    def _plain(self, slot: int) -> SupervisorClient:
        with self._lock:
            supervisor = self._supervisors.get((slot, None))
        if supervisor is None:
            supervisor = start_supervisor(nice=self._settings.nice)
            self._keep((slot, None), supervisor)
        return supervisor

    def _keep(self, key: tuple[int, ServerKey | None], supervisor: SupervisorClient) -> None:
        with self._lock:
            if not self._is_closed:
                self._supervisors[key] = supervisor
                return
        supervisor.close()
        raise OSError("the run is over")


def why_never() -> str:
    """Return why this machine cannot fork files; empty: it can."""
    if sys.platform != "linux":
        return f"forking is not supported on {sys.platform}"
    return ""


def _private_tmp(parent: Path) -> PrivateTmp | None:
    """Return a temporary directory; None if there is no space, which the first file reports."""
    try:
        return PrivateTmp(parent)
    except InfrastructureError:
        return None


def _start_helper(thread: threading.Thread) -> None:
    """Start a thread whose work only saves time; if that is impossible, files do the work themselves."""
    with contextlib.suppress(NoThreadError):
        start_thread(thread)


def _folder(path: str) -> str:
    return str(PurePosixPath(path).parent)
