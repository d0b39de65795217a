"""One watch: waits for changes and keys, and answers each with a round, which is an ordinary run.

Rounds share the fork servers, and the digests of files that have not changed. Everything else is made anew in
each: the configuration, the list of files, the plan, and the history, so that a round says what a run would.
"""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import ExitStack, suppress
from importlib.util import cache_from_source
from pathlib import Path

from msgspec import Struct, structs

from dispatcher.config.model import TestConfig
from dispatcher.engine.backend import WarmTarget
from dispatcher.engine.signals import Interrupts, watch_interrupts
from dispatcher.inputs.record import CLOCK_SLACK_S
from dispatcher.inputs.tree_state import CONFIGURATION, TreeState
from dispatcher.run.runner import TestRunner
from dispatcher.watch.changes import ChangeWatcher
from dispatcher.watch.events import Backoff, Changed, Event, Key, merge
from dispatcher.watch.keys import read_keys
from passmuster.model.errors import PassmusterError
from passmuster.model.hidden_fields import repr_without
from passmuster.settings.origins import Origins

WAIT_S = 0.5
"""The longest wait for an event: a signal that arrives just before a wait does not end it."""

MAX_SHOWN = 3
"""Changed files that a line names."""

_READ_BY_PYTEST = frozenset((*CONFIGURATION, "conftest.py"))

NO_FILE = "there is no test file"

KEYS = "a: all, f: failed, Enter: the last files again, q: quit"


class WatchContext(Struct, frozen=True, kw_only=True):
    """What a watch needs from the command line."""

    load: Callable[[], tuple[TestConfig, Origins]]
    """Reads the configuration again. Raises a `ConfigurationError`."""
    run: Callable[[TestRunner, TestConfig], int]
    """Runs the files of a runner and prints as a run does; returns its exit status."""
    target: WarmTarget
    polls: bool  # whether to look at all files instead of waiting for notifications
    environ: Mapping[str, str]
    cwd: Path
    say: Callable[[str], None]
    warn: Callable[[str], None]
    complain: Callable[[str], None]
    is_unread: Callable[[], bool]
    """Returns whether the reader of these lines has disappeared, so that nobody can end the watch."""

    __repr__ = repr_without("environ")


class WatchSession:
    """Answers changes and keys with rounds."""

    def __init__(self, context: WatchContext, root: Path) -> None:
        self._context, self._root = context, root
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._tree = TreeState(root)
        self._backoff = Backoff()
        self._environment: str | None = None
        self._last: frozenset[str] = frozenset()
        self._ended_at = 0.0
        """The end of the last round, in Unix time."""
        self._warned_of: frozenset[str] = frozenset()

    def execute(self) -> None:
        """Watch until `q`, SIGTERM, Ctrl-C while no round runs, or until nobody reads the output."""
        with ExitStack() as stack:
            stack.callback(self._context.target.close)
            interrupts = stack.enter_context(watch_interrupts(lambda: self._events.put(None)))
            watcher = ChangeWatcher(
                self._root, self._events.put, self._context.warn, polls=self._context.polls
            )
            watcher.start()
            stack.callback(watcher.close)
            has_keys = stack.enter_context(read_keys(self._press))
            events: list[Event] = [Changed(frozenset())]
            while True:
                for event in events:
                    self._answer(event, interrupts)
                if interrupts.count:
                    return
                self._context.say(f"Waiting for changes ({KEYS if has_keys else 'Ctrl-C: quit'})")
                if self._context.is_unread():
                    return
                events = self._next(interrupts)

    def _press(self, key: Key) -> None:
        if key is Key.QUIT:  # It also stops a round.
            main = threading.main_thread().ident
            assert main is not None
            signal.pthread_kill(main, signal.SIGTERM)
        else:
            self._events.put(key)

    def _next(self, interrupts: Interrupts) -> list[Event]:
        """Wait for events; return what is to be done about them. A signal ends the wait."""
        events: list[Event] = []
        while not events and not interrupts.count:
            events = merge(self._take(WAIT_S))
        match events:
            case [Changed(paths=paths)]:
                is_later = self._changed_at(paths) > self._ended_at + CLOCK_SLACK_S
                self._backoff.note_round(frozenset() if is_later else paths)
                until_s = time.monotonic() + self._backoff.pause_s
                while not interrupts.count and self._is_echo(events):
                    left_s = until_s - time.monotonic()
                    if left_s <= 0:
                        break
                    events = merge([*events, *self._take(left_s)])
        return events

    def _take(self, timeout_s: float) -> list[Event]:
        """Return the events that have come, after a wait for the first one."""
        taken: list[Event | None] = []
        with suppress(queue.Empty):
            taken.append(self._events.get(timeout=timeout_s))
            while True:
                taken.append(self._events.get_nowait())
        return [event for event in taken if event is not None]

    def _is_echo(self, events: Collection[Event]) -> bool:
        """Whether only files changed that change in every round; say so once."""
        repeated = self._backoff.repeated
        match events:
            case [Changed(paths=paths)] if paths and paths <= repeated and self._backoff.pause_s:
                if not paths <= self._warned_of:
                    self._warned_of |= paths
                    self._context.warn(
                        f"{_named(paths)} changed while each of the last rounds ran: rounds are delayed now"
                    )
                return True
        return False

    def _answer(self, event: Event, interrupts: Interrupts) -> None:
        """Run a round. Ctrl-C ends the round only."""
        if interrupts.count:
            return
        try:
            match event:
                case Changed():
                    self._run_affected(event)
                case _:
                    self._run_for_key(event)
        except PassmusterError as error:
            self._context.complain(str(error))
        self._ended_at = time.time()
        if interrupts.numbers == {signal.SIGINT}:
            interrupts.forget()

    def _run_affected(self, change: Changed) -> None:
        """Run the files that a change affects; at the start, all that may not pass."""
        _forget_bytecode(self._root / path for path in change.paths)
        runner = self._runner()
        notices: list[str] = []
        reasons = runner.affected(notices)
        for notice in notices:
            self._context.warn(notice)
        files = {file.path for file in runner.selection.files}
        is_start = self._environment is None
        self._renew_servers(runner, change.paths or _READ_BY_PYTEST)
        if is_start:
            runner.announce(self._context.target)
        what = f"{_named(change.paths)} changed: " if change.paths else ""
        found = f"{len(reasons)} of {len(files)} files may be affected" if files else NO_FILE
        self._context.say(f"{what}{found}")
        if reasons:
            runner.narrow(reasons.keys())
            self._run(runner, change.paths)
        if not is_start and not (change.paths and change.paths <= files):
            # Modules of the project have changed, which decide what is preloaded.
            self._runner().announce(self._context.target)

    def _run_for_key(self, key: Event) -> None:
        failed_only = key is Key.FAILED
        runner = self._runner(failed_only=failed_only)
        if key is Key.AGAIN and self._last:
            runner.narrow(self._last)
        if not runner.selection.files:
            self._context.say(runner.selection.config.nothing_selected or NO_FILE)
            return
        self._renew_servers(runner, ())
        self._run(runner, ())

    def _run(self, runner: TestRunner, changed: Collection[str]) -> None:
        self._last = frozenset(file.path for file in runner.selection.files)
        self._settle(changed)
        self._context.run(runner, runner.selection.config)

    def _runner(self, *, failed_only: bool = False) -> TestRunner:
        config, origins = self._context.load()
        return TestRunner(
            structs.replace(config, failed_only=failed_only),
            target=self._context.target,
            environ=self._context.environ,
            cwd=self._context.cwd,
            origins=origins,
            tree=self._tree,
        )

    def _renew_servers(self, runner: TestRunner, changed: Collection[str]) -> None:
        """Stop the servers if something has changed that they do not notice themselves.

        They notice if a file changes that they have imported, but not if packages do, or if pytest would now
        read another configuration or conftest.
        """
        before, self._environment = self._environment, runner.inputs.environment()
        names = {path.rpartition("/")[2] for path in changed}
        is_other = before != self._environment or not names.isdisjoint(_READ_BY_PYTEST)
        if before is not None and is_other:
            self._context.target.discard_servers()

    def _settle(self, changed: Iterable[str]) -> None:
        """Wait until a change is old enough to be told from one during the round: a few milliseconds."""
        left_s = self._changed_at(changed) + CLOCK_SLACK_S - time.time()
        time.sleep(min(CLOCK_SLACK_S, max(0.0, left_s)))

    def _changed_at(self, paths: Iterable[str]) -> float:
        """Return the Unix time of the last change of any of these files; 0: none of them exists."""
        newest_at = 0.0
        for path in paths:
            with suppress(OSError):
                newest_at = max(newest_at, (self._root / path).stat().st_ctime)
        return newest_at


def _named(paths: Collection[str]) -> str:
    """Return the names of some files for a line."""
    shown = ", ".join(sorted(paths)[:MAX_SHOWN])
    return f"{shown} and {len(paths) - MAX_SHOWN} more" if len(paths) > MAX_SHOWN else shown


def _forget_bytecode(paths: Iterable[Path]) -> None:
    """Remove the compiled forms of changed modules.

    Python and pytest compare the size of a source and its time in whole seconds: after two changes within one
    second they would execute the first (https://docs.python.org/3/reference/import.html#pyc-invalidation).
    """
    modules: dict[Path, set[str]] = {}
    for path in paths:
        if path.suffix == ".py":
            modules.setdefault(Path(cache_from_source(str(path))).parent, set()).add(path.stem)
    for folder, stems in modules.items():
        for compiled in folder.glob("*.pyc"):
            if compiled.name.partition(".")[0] in stems:
                with suppress(OSError):
                    compiled.unlink()
