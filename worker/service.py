"""Puts a queue's worker together, and takes it apart again.

Loads Celery and redis: `worker.cli` imports this only after it has put the tests' environment aside.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path

from passmuster.broker_access import BROKEN, open_broker
from passmuster.envelope import Envelope
from passmuster.errors import ConfigurationError, InfrastructureError
from passmuster.executor import Limit
from passmuster.run_record import RunRecord, WorkerBoard
from passmuster.run_tail import TailBoard
from passmuster.run_terms import RunTerms
from passmuster.status import Isolation
from passmuster.units import format_bytes
from worker.admission import Admission
from worker.capacity import calculate_max_workers, resolve_budget, resolve_limit
from worker.card import make_card
from worker.celery_app import RunQueues, make_app, run_worker
from worker.cli import Options
from worker.command import prepare_child
from worker.ending import Ending
from worker.execute import LocalExecutor
from worker.health import Health
from worker.heartbeat import Heartbeat
from worker.interpreter import find_interpreter
from worker.joining import Joining, allowed_names
from worker.machine import read_available_bytes, read_machine
from worker.machine_pool import open_pool
from worker.neighbours import Neighbours
from worker.queue_files import QueueFiles
from worker.roster import Roster
from worker.settings import WorkerSettings
from worker.tails import Tails
from worker.tasks import register
from worker.warm.fleet import Fleet
from worker.worker_log import Level, Say, WorkerLog

STATE_DIRECTORY = ".passmuster"
"""In the root: where a run on the same machine keeps what it learns. Used where it exists, never made."""


def serve(options: Options, environ: Mapping[str, str], write: Callable[[str], None]) -> int:
    """Run files until the worker is asked to end; return the exit status.

    Args:
        options: what it was started with.
        environ: the environment that tests start from.
        write: prints a line.

    Raises:
        ConfigurationError: the interpreter or the name cannot be used, or files cannot be forked as asked.
        InfrastructureError: the broker cannot be used, or there is no room for temporary files.
    """
    # Until Celery has its own: what was begun must be taken apart.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    client = open_broker(options.broker)
    board = WorkerBoard(client)
    if any(card.name == options.name for card in board.cards()):
        raise ConfigurationError(
            f"a worker called {options.name} is there already: give another --name, or none; "
            "after a killed worker its name is free within seconds"
        )
    say = WorkerLog(write, form=options.log_format, worker=options.name)
    with ExitStack() as undo:
        settings = _settings(options, environ, undo)
        health = Health(settings.root, settings.tmp_parent)
        if why := health.why_not_now():
            raise InfrastructureError(why)
        executor = _executor(options, settings, undo, say)
        for limit in settings.limits:
            say(f"{limit.name}: {limit.value} ({limit.source})")
        return _Service(options, settings, executor, health, say).run()


class _Service:
    def __init__(
        self,
        options: Options,
        settings: WorkerSettings,
        executor: LocalExecutor,
        health: Health,
        say: Say,
    ) -> None:
        self._options, self._settings, self._executor, self._say = options, settings, executor, say
        self._health, self._envelope = health, Envelope(options.secret)
        self._roster = Roster()
        self._failure = ""
        self._ending = Ending(executor, self._roster, grace_s=options.grace_s, leave=self._leave)
        self._client, self._heart_client = open_broker(options.broker), open_broker(options.broker)
        self._tails = Tails(executor.output, TailBoard(self._heart_client, self._envelope), broken=BROKEN)
        self._heartbeat: Heartbeat | None = None
        self._joining: Joining | None = None

    def run(self) -> int:
        neighbours = Neighbours(WorkerBoard(self._client).cards, name=self._settings.name, broken=BROKEN)
        files = QueueFiles(
            self._executor,
            Admission(self._executor, self._roster, neighbours, budget_bytes=self._settings.budget_bytes),
            self._health,
            self._settings,
            self._envelope,
            self._record,
            self._terms,
            self._roster,
            broken=BROKEN,
            say=self._say,
            fail=self._fail,
            allowed=self._options.allowed,
            on_end=self._tails.end,
        )
        app = make_app(self._options.broker.url)
        register(app, files)
        self._ending.start()
        if self._options.ends_with_stdin:
            threading.Thread(target=self._end_with_stdin, name="stdin", daemon=True).start()
        try:
            run_worker(
                app,
                name=self._settings.name,
                slots=self._settings.slots,
                on_ready=self._ready,
                on_signal=self._ending.ask,
            )
        finally:
            if self._heartbeat is not None:
                self._heartbeat.close()
        self._say(f"ran {self._roster.ran} file(s)")
        self._ending.done()
        if self._failure:
            self._say(f"ended because it can run nothing any more: {self._failure}", level=Level.ERROR)
        return 3 if self._failure else 0

    def _ready(self, queues: RunQueues) -> None:
        client = self._heart_client
        joining = Joining(
            self._record,
            self._envelope,
            (allowed_names(self._options.allowed),),
            queues,
            name=self._settings.name,
            broken=BROKEN,
            say=self._say,
        )
        self._joining = joining
        self._heartbeat = Heartbeat(
            self._executor,
            self._roster,
            WorkerBoard(client),
            lambda run_id: RunRecord(client, run_id),
            lambda: RunRecord.active_runs(client),
            joining,
            name=self._settings.name,
            card=lambda held: make_card(
                self._settings,
                self._executor.usage(),
                held,
                host=socket.gethostname(),
                runs=joining.served(),
            ),
            broken=BROKEN,
            say=self._say,
            tails=self._tails.look,
        )
        self._heartbeat.start()
        self._say(f"ready: {self._settings.name}, broker {self._options.broker.shown}")

    def _record(self, run_id: str) -> RunRecord:
        return RunRecord(self._client, run_id)

    def _terms(self, run_id: str) -> RunTerms | None:
        return None if self._joining is None else self._joining.terms(run_id)

    def _fail(self, reason: str) -> None:
        if not self._failure:
            self._failure = reason
            if self._joining is not None:
                self._joining.refuse_all(f"worker {self._settings.name} can run nothing any more: {reason}")
        self._end_at_once()

    def _end_with_stdin(self) -> None:
        while os.read(0, 4096):
            pass
        self._end_at_once()

    def _end_at_once(self) -> None:
        # The signal stops Celery, which only its own thread may do.
        os.kill(os.getpid(), signal.SIGTERM)
        self._ending.ask(at_once=True)

    def _leave(self) -> None:
        """End the process although its main thread does not: the files first, so that none stays behind."""
        self._executor.close()
        if self._settings.coverage_dir is not None:
            shutil.rmtree(self._settings.coverage_dir, ignore_errors=True)
        self._say(f"ran {self._roster.ran} file(s)")
        os._exit(3 if self._failure else 0)


def _settings(options: Options, environ: Mapping[str, str], undo: ExitStack) -> WorkerSettings:
    machine = read_machine()
    slots, slots_source = options.slots, "asked for"
    if slots is None:
        slots = calculate_max_workers(cpus=machine.cpus, total_bytes=machine.total_bytes)
        total = format_bytes(machine.total_bytes)
        slots_source = f"{machine.cpus} CPUs ({machine.cpus_source}), {total} ({machine.total_source})"
    budget_bytes, budget_source = resolve_budget(
        options.memory_budget, total_bytes=machine.total_bytes, available_bytes=machine.available_bytes
    )
    interpreter = find_interpreter(options.python, options.root, environ)
    prepare_child(interpreter.path, interpreter.cache_tag)
    coverage_dir = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="pm-coverage-")))
    state_dir = options.root / STATE_DIRECTORY
    return WorkerSettings(
        root=options.root,
        workdir=options.workdir,
        interpreter=interpreter.path,
        environ=environ,
        slots=slots,
        budget_bytes=budget_bytes,
        limit_bytes=resolve_limit(options.memory_limit, budget_bytes=budget_bytes),
        limits=(
            Limit(name="slots", value=str(slots), source=slots_source),
            Limit(name="memory budget", value=format_bytes(budget_bytes), source=budget_source),
        ),
        keep_tmp=options.keep_tmp,
        coverage_dir=coverage_dir,
        isolation=options.isolation,
        preload=options.preload,
        state_dir=state_dir if os.access(state_dir, os.W_OK | os.X_OK) else None,
        name=options.name,
    )


def _executor(options: Options, settings: WorkerSettings, undo: ExitStack, say: Say) -> LocalExecutor:
    fleet = undo.enter_context(closing(Fleet(settings)))
    fleet.warm_up(settings.slots)
    pool, notice = open_pool(
        is_default=options.memory_budget is None,
        available_bytes=read_available_bytes,
        environment=settings.environ,
    )
    if notice:
        say(notice)
    executor = undo.enter_context(closing(LocalExecutor(settings, fleet, pool)))
    why = fleet.why_no_fork() if options.isolation is Isolation.FORK else ""
    if why:
        raise ConfigurationError(f"--isolation fork cannot be had: {why}; use --isolation auto or spawn")
    return executor
