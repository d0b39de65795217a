"""Decides, before a file starts, whether it may be forked and which modules are preloaded for it.

Combines the scan of the file's source (`scan`), the findings of earlier runs (`store`), and the choice of
import sets (`import_sets`). The choice is made in the background: files that start before it is ready
import everything themselves.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatch

from msgspec import Struct

from passmuster.model.status import RunnerKind
from passmuster.model.task import TestTask
from passmuster.model.version import VERSION
from worker.child.passmuster_child_side_effects import PATCHED
from worker.child.passmuster_child_start import runs_as_script
from worker.forkserver.file_imports import (
    CONFTEST,
    FileImports,
    Preloadable,
    preloadable,
    with_learned,
    without,
)
from worker.forkserver.import_sets import Choice, choose_import_sets, serves
from worker.forkserver.installed import installed
from worker.forkserver.module_costs import ABSENT, ModuleCost, is_allowed, modifies_another
from worker.forkserver.scan import Roots, Scanner
from worker.forkserver.server import PYTEST, SCRIPT, ImportResult, ServerError, ServerInfo
from worker.forkserver.store import ImportStore
from worker.process.settings import WorkerSettings

_PATCHES = frozenset(f"replaces {name}" for name in PATCHED)

_STAMP = "@"
"""Separates the name of a module of the project from its stamp."""

SERVERS_SHARE = 8
"""All servers together may take this fraction (one eighth) of the memory budget."""

_TESTS = ("test_*.py", "*_test.py", "conftest.py")
"""Files of the project that are never imported by name before a fork: each is run, or loaded, by pytest."""


class ForkAdvice(Struct, frozen=True, kw_only=True):
    """How a file should be started.

    Args:
        base: the framework that it needs, `script` or `pytest`.
        why_spawn: the reason why it must not be forked; empty: it may be.
        modules: the modules that its server should have imported, in order.
        own: those of the modules that are the project's, each with its file.
        is_new: whether its imports should be recorded.
    """

    base: str = SCRIPT
    why_spawn: str = ""
    modules: tuple[str, ...] = ()
    own: tuple[tuple[str, str], ...] = ()
    is_new: bool = False


class ForkAdvisor:
    """Holds what is known about the imports of one run's files. Thread-safe.

    Args:
        settings: of the worker.
        answer_of: returns the report of a framework's server; empty: of the first server.
        ground_of: returns the report of the framework's server on top of which modules of the project may
            be imported; None: there is none (yet).
    """

    def __init__(
        self,
        settings: WorkerSettings,
        answer_of: Callable[[str], ServerInfo],
        ground_of: Callable[[str], ServerInfo | None],
    ) -> None:
        self._settings = settings
        self._answer_of = answer_of
        self._ground_of = ground_of
        self._lock = threading.RLock()
        self._store: ImportStore | None = None
        self._scanner: Scanner | None = None
        self._identity = ""
        self._considered: dict[str, RunnerKind] = {}
        """The files for which modules are chosen, each with its runner."""
        self._needs: dict[str, FileImports] = {}
        self._bases: dict[str, str] = {}
        self._choices: dict[str, Choice] = {}
        self._own: dict[str, str] = {}
        self._failed: dict[str, ModuleCost] = {}
        self._preloadable: dict[str, Preloadable] = {}
        self._is_closed = False

    @property
    def named(self) -> tuple[str, ...]:
        """The packages of the project that the user wants preloaded."""
        return self._settings.preload

    def advise(self, task: TestTask) -> ForkAdvice:
        """Return how a task's file should be started.

        Raises:
            ServerError: the first server is unavailable.
        """
        base = self._base(task.file_path, task.runner)
        with self._lock:
            needs = self._look(task.file_path, base)
            store = self._store
            why_patched = self._why_patched(needs)
            modules = self._chosen_modules(task.file_path, base)
            own = self._own_of(modules)
        return ForkAdvice(
            base=base,
            why_spawn=needs.why_spawn or why_patched,
            modules=modules,
            own=own,
            is_new=self._settings.state_dir is not None
            and store is not None
            and not store.has_learned(task.file_path, needs.stamp),
        )

    def think(self, paths: Sequence[str], runners: Mapping[str, RunnerKind]) -> None:
        """Scan these files and choose the modules to preload for them. A failure is ignored.

        A worker calls this for each run, because the files may have changed since the last one.
        """
        try:
            self._forget_scans()
            with self._lock:
                self._considered = {path: runners.get(path, RunnerKind.AUTO) for path in paths}
            for path, runner in self._considered.items():
                if self._is_closed:
                    return
                base = self._base(path, runner)
                with self._lock:
                    self._look(path, base)
            with self._lock:
                for base in sorted(set(self._bases.values())):
                    self._choose(base)
        except Exception:  # Preloading only saves time: without it, files import everything themselves.
            return

    def renew(self) -> None:
        """Scan every file again when it is next needed, for a further run. What is preloaded stays chosen."""
        with self._lock:
            self._failed.clear()
            self._forget_scans()

    def _forget_scans(self) -> None:
        with self._lock:
            if self._store is not None:
                self._needs.clear()
                self._bases.clear()
                self._preloadable.clear()
                self._scanner = self._new_scanner(self._store)

    def choose_again(self, base: str) -> None:
        """Choose again after a framework's deepest server has changed. A failure is ignored."""
        with contextlib.suppress(ServerError), self._lock:
            if self._store is not None:
                self._choose(base)

    def needs(self) -> dict[str, FileImports]:
        """Return the known imports of each file."""
        with self._lock:
            return dict(self._needs)

    def preloadable(self) -> dict[str, Preloadable]:
        """Return the imports of each file that servers may hold."""
        with self._lock:
            return dict(self._preloadable)

    def base_of(self, path: str) -> str:
        """Return the framework of a file that was scanned."""
        with self._lock:
            return self._bases[path]

    def choices(self) -> dict[str, Choice]:
        """Return the choice for each framework that has files."""
        with self._lock:
            return dict(self._choices)

    def facts(self) -> dict[str, ModuleCost]:
        """Return the known costs of modules; for modules of the project, those of their current files."""
        with self._lock:
            if self._store is None:
                return {}
            stored = self._store.facts(self._identity)
            found = {name: fact for name, fact in stored.items() if _STAMP not in name}
            for name in self._own:
                fact = stored.get(self._stored_name(name))
                if fact is not None:
                    found[name] = fact
            return {**found, **self._failed}

    def is_chosen(self, task: TestTask, modules: tuple[str, ...]) -> bool:
        """Return whether these are still the modules to preload for a file."""
        base = self._base(task.file_path, task.runner)
        with self._lock:
            self._look(task.file_path, base)
            return modules == self._chosen_modules(task.file_path, base)

    def _fact(self, name: str) -> ModuleCost | None:
        """Return what is known of one module, as `facts` does."""
        if name in self._failed or self._store is None:
            return self._failed.get(name)
        return self._store.fact(self._identity, self._stored_name(name))

    def parent_of(self, base: str, modules: tuple[str, ...]) -> tuple[str, ...]:
        """Return the modules of the server that one with `modules` is forked from."""
        with self._lock:
            choice = self._choices.get(base)
        for chosen in choice.sets if choice is not None else ():
            if chosen.modules == modules and chosen.parent is not None and choice is not None:
                return choice.sets[chosen.parent].modules
        return ()

    def learn_verdicts(self, base: str, verdicts: Sequence[ImportResult]) -> None:
        """Record the results of imports. If one must not be preloaded everywhere, choose again."""
        with self._lock:
            if self._store is None:
                return
            for each in verdicts:
                if each.name in self._own and each.verdict.startswith("raises"):
                    # Something may have been missing that exists the next time.
                    self._failed[each.name] = ModuleCost(seconds=0.0, bytes=0, verdict=each.verdict)
                    continue
                entry = (self._stored_name(each.name), each.seconds, each.added_bytes, each.verdict)
                self._store.record(self._identity, [entry])
            if any(not is_allowed(each.verdict) or modifies_another(each.verdict) for each in verdicts):
                self._choose(base)

    def session_verdict(self, session: ServerInfo, *, with_conftests: bool) -> str:
        """Return what was found when pytest prepared a session, or loaded the initial conftests, or "".

        Earlier runs count as long as no file has changed that was imported.
        """
        with self._lock:
            self._open()
            assert self._store is not None
            key = _session_key(session, self._settings)
            return self._store.session_verdict(self._part(with_conftests=with_conftests), key)

    def learn_session(self, session: ServerInfo, answer: ServerInfo, *, with_conftests: bool) -> None:
        """Record what preparing a session, or loading the initial conftests into it, showed.

        If an error was raised, there is no verdict, because the error may be transient.
        """
        with self._lock:
            if self._store is None:
                return
            key, part = _session_key(session, self._settings), self._part(with_conftests=with_conftests)
            for each in answer.verdicts:
                self._store.record_session(part, key, answer.files, each.verdict)

    def learn_imports(self, path: str, imported: Iterable[str]) -> None:
        """Record the observed imports of a file."""
        with self._lock:
            needs = self._needs.get(path)
            if self._store is None or needs is None:
                return
            self._store.learn(path, needs.stamp, imported)

    def close(self) -> None:
        """Save what was learned."""
        with self._lock:
            self._is_closed = True
            if self._store is not None:
                self._store.save()

    def _choose(self, base: str) -> None:
        assert self._store is not None
        for path, runner in self._considered.items():  # A new run may have begun since they were scanned.
            self._look(path, self._base(path, runner))
        answer = self._answer_of(base)
        paths = [path for path, needs in self._needs.items() if self._bases[path] == base]
        found = self._find_preloadable(base, [path for path in paths if not self._needs[path].why_spawn])
        self._choices[base] = choose_import_sets(
            found,
            self.facts(),
            base=self._held(answer),
            max_bytes=self._settings.budget_bytes // SERVERS_SHARE,
        )

    def _find_preloadable(self, base: str, paths: Sequence[str]) -> dict[str, Preloadable]:
        """Return the imports of scanned files that servers may hold."""
        answer, ground = self._answer_of(base), self._ground_of(base)
        is_held, loaded = self._holder(ground), self._conftest_names(file.path for file in answer.files)
        # pytest loads these before every file, also one that is not below them.
        first = self._conftest_names(ground.conftests if ground is not None else ())
        own = {name: file for path in paths for name, file in self._needs[path].own.items()}
        modifying = self._modifying(own, self._held(answer))
        names = {name for path in paths for name in self._needs[path].modules}
        absent = {name for name in names if (fact := self._fact(name)) is not None and fact.verdict in ABSENT}
        found = {}
        for path in paths:
            needs = without(self._needs[path], absent)
            holds = is_held if first <= needs.own.keys() else _holds_none
            found[path] = preloadable(needs, holds, loaded, modifying)
        self._preloadable.update(found)
        return found

    def _held(self, answer: ServerInfo) -> set[str]:
        """Return the modules and conftests that a server with a framework holds."""
        return {*answer.modules, *self._conftest_names(file.path for file in answer.files)}

    def _chosen_modules(self, path: str, base: str) -> tuple[str, ...]:
        """Return the modules that are preloaded for a scanned file."""
        choice = self._choices.get(base)
        chosen = choice.set_of(path) if choice is not None else None
        if choice is None or chosen is None:
            return ()
        if path not in self._preloadable:  # The choice is from before it was scanned again.
            need = self._find_preloadable(base, [path])[path]
            if not serves(chosen.modules, need, self._held(self._answer_of(base))):
                self._choices[base] = choice.without(path)
                return ()
        return chosen.modules

    def _modifying(self, own: Mapping[str, str], base: Collection[str]) -> set[str]:
        """Return those of own modules, each with its file, that modify others, or may by what they import."""
        found = {name for name in own if (fact := self._fact(name)) is not None and fact.modifies_another}
        files = {own[name] for name in found - set(base)}
        assert self._scanner is not None
        return found | {name for name, file in own.items() if self._scanner.runs_one(file, files)}

    def _why_patched(self, needs: FileImports) -> str:
        """Return which module of a file patches others, as a server observed; empty: none does.

        gevent and eventlet must be imported before the modules that they patch, and a server has imported
        those already.
        """
        for name in needs.modules:
            fact = self._fact(name)
            if fact is not None and fact.verdict in _PATCHES:
                return f"importing {name} {fact.verdict}"
        return ""

    def _look(self, path: str, base: str) -> FileImports:
        """Return the imports of a file; each file is scanned once."""
        self._open()
        assert self._scanner is not None
        assert self._store is not None
        needs = self._needs.get(path)
        if needs is None:
            needs = self._scanner.scan(path, by_pytest=base == PYTEST)
            needs = with_learned(needs, self._store.learned(path, needs.stamp))
            self._needs[path], self._bases[path] = needs, base
            self._own.update(needs.own)
        return needs

    def needs_proof(self, modules: Iterable[str]) -> bool:
        """Return whether the current version of one of these modules was never imported by a probe.

        Modules that the user named need no probe.
        """
        with self._lock:
            return any(self._fact(name) is None and not self._is_named(name) for name in modules)

    def _holder(self, ground: ServerInfo | None) -> Callable[[str], bool]:
        """Return a function that tells whether a server may hold a module or a conftest on top of the ground.

        Only under pytest is a server in the state that the file would be in before its own imports. For
        other servers the user has to name the packages (`preload`). With coverage, servers hold none,
        because imports in a server are not measured.
        """
        is_measured = self._settings.coverage_dir is not None
        loaded = {file.path for file in ground.files} if ground is not None else set()

        def is_held(name: str) -> bool:
            file = self._own.get(name)
            if file in loaded:
                return True
            if is_measured or file is None or not (ground is not None or self._is_named(name)):
                return False
            is_by_name = not name.startswith(CONFTEST)
            is_test = is_by_name and any(fnmatch(os.path.basename(file), pattern) for pattern in _TESTS)
            fact = self._fact(name)
            return not is_test and (fact is None or fact.is_allowed)

        return is_held

    def _part(self, *, with_conftests: bool) -> str:
        return self._identity if with_conftests else f"{self._identity}, session"

    def _is_named(self, name: str) -> bool:
        return name.partition(".")[0] in self._settings.preload

    def _own_of(self, modules: Iterable[str]) -> tuple[tuple[str, str], ...]:
        return tuple((name, self._own[name]) for name in modules if name in self._own)

    def _stored_name(self, name: str) -> str:
        """Return the name by which a module's cost is stored: with its stamp if it is the project's."""
        file = self._own.get(name)
        if file is None:
            return name
        assert self._scanner is not None
        return f"{name}{_STAMP}{self._scanner.stamp(file)}"

    def _base(self, path: str, runner: RunnerKind) -> str:
        """Return the framework that a file needs, chosen as the child does."""
        if path in self._bases:
            return self._bases[path]
        if runner is not RunnerKind.AUTO:
            return PYTEST if runner is RunnerKind.PYTEST else SCRIPT
        if not self._answer_of("").has_pytest:
            return SCRIPT
        try:
            is_script = runs_as_script((self._settings.root / path).read_bytes())
        except OSError:
            is_script = True
        return SCRIPT if is_script else PYTEST

    def _open(self) -> None:
        """Load the findings of earlier runs when they are first needed."""
        if self._store is not None:
            return
        settings, answer = self._settings, self._answer_of("")
        store = ImportStore(settings.state_dir)
        found = installed(settings.interpreter, answer.version)
        # Where the number of slots is unknown, probes find more: see `passmuster_child_identity`.
        self._identity = found.identity if settings.is_sole else f"{found.identity}, one of several"
        self._scanner = self._new_scanner(store)
        self._store = store

    def _conftest_names(self, paths: Iterable[str]) -> set[str]:
        """Return the names of the conftests among files."""
        assert self._scanner is not None
        conftests = (path for path in paths if os.path.basename(path) == "conftest.py")
        return {self._scanner.conftest_name(path) for path in conftests}

    def _new_scanner(self, store: ImportStore) -> Scanner:
        return Scanner(Roots(root=self._settings.root, workdir=self._settings.workdir), store)


def _session_key(session: ServerInfo, settings: WorkerSettings) -> str:
    """Return what the verdict on a session depends on besides the interpreter and the content of files.

    A file that appears or is no longer used, such as another configuration of pytest, makes another key.
    """
    files = (*session.conftests, *(file.path for file in session.files))
    return "\n".join((VERSION, settings.environ.get("PYTEST_ADDOPTS", ""), *files))


def _holds_none(_own: str) -> bool:
    """Return False: no server may hold a module of the project for the file."""
    return False
