"""Assembles the parts of a queue worker, runs them, and closes them again.

Loads Celery and redis: `worker.queue.cli` imports this module only after it has set aside the environment for
tests.
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

from passmuster.model.errors import ConfigurationError, InfrastructureError
from passmuster.model.executor import SlotRange
from passmuster.source.store import SHIP_TIMEOUT_S, TreeStore
from passmuster.wire.access import BROKER_ERRORS, BROKER_OR_DATA_ERRORS, open_broker
from passmuster.wire.envelope import Envelope
from passmuster.wire.output_stream import OutputStream
from passmuster.wire.run_spec import RunSpec
from passmuster.wire.run_store import RunStore, WorkerDirectory, connect
from worker.executor.local import LocalExecutor
from worker.process.settings import WorkerSettings
from worker.process.temporary import PrivateTmp
from worker.queue.admission import Admission
from worker.queue.celery_app import RunQueues, make_app, register, run_worker
from worker.queue.health import Health
from worker.queue.heartbeat import Heartbeat
from worker.queue.in_flight import InFlightFiles
from worker.queue.log import LogLevel, Say, WorkerLog
from worker.queue.options import Options
from worker.queue.output_streamer import OutputStreamer
from worker.queue.peer_workers import PeerWorkers
from worker.queue.root_runner import RootRunnerFactory, read_capacity
from worker.queue.run_subscriptions import RunSubscriptions, check_variables
from worker.queue.shutdown import Shutdown
from worker.queue.task_handler import TaskHandler
from worker.queue.transport import install_guarded_transport
from worker.queue.worker_status import make_worker_status
from worker.queue.workspace import Workspace
from worker.trees.cache import TreeCache, default_base
from worker.trees.shipped import ShippedTrees

MAX_EXPECTED = 1000
"""Maximum number of files of a run whose imports are scanned before it starts."""


def serve(options: Options, environ: Mapping[str, str], write: Callable[[str], None]) -> int:
    """Run files until the worker is asked to end; return the exit status.

    Args:
        options: the worker's options.
        environ: the environment that tests start from.
        write: prints a line.

    Raises:
        ConfigurationError: the interpreter or the name cannot be used, or files cannot be forked as asked.
        InfrastructureError: the broker cannot be used, or there is no room for temporary files.
    """
    # Until Celery installs its own handlers: what is already open must be closed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    client = open_broker(options.broker)
    board = WorkerDirectory(client)
    if any(card.name == options.name for card in board.statuses()):
        raise ConfigurationError(
            f"a worker called {options.name} is there already: give another --name, or none; "
            "after a killed worker its name is free within seconds"
        )
    say = WorkerLog(write, form=options.log_format, worker=options.name)
    with ExitStack() as undo:
        # With a lock in it: the next worker here removes what a killed one left.
        private = PrivateTmp(Path(tempfile.gettempdir()))
        undo.callback(private.close, keep=False)
        service = undo.enter_context(closing(_Service(options, environ, private.make("coverage"), say)))
        return service.run()


class _Service:
    def __init__(self, options: Options, environ: Mapping[str, str], coverage_dir: Path, say: Say) -> None:
        self._options, self._environ, self._coverage_dir, self._say = options, environ, coverage_dir, say
        self._envelope, self._roster, self._failure = Envelope(options.secret), InFlightFiles(), ""
        self._client, self._heart_client = open_broker(options.broker), open_broker(options.broker)
        self._neighbours = PeerWorkers(
            WorkerDirectory(self._client).statuses, name=options.name, broken=BROKER_OR_DATA_ERRORS
        )
        self._heartbeat: Heartbeat | None = None
        self._joining: RunSubscriptions | None = None
        self._share = read_capacity(options)
        self._trees = ShippedTrees(
            lambda: TreeCache(default_base(environ)),
            TreeStore(connect(options.broker.url, timeout_s=SHIP_TIMEOUT_S)),
            setup=options.setup,
            python=options.python,
            environ=environ,
            say=say,
        )
        maker = RootRunnerFactory(
            options, self._share, environ, coverage_dir, self._files, self._slots_of, say
        )
        self._place = Workspace(options.root, self._trees, maker.make, self._roster)
        tails = OutputStream(self._heart_client, self._envelope)
        self._tails = OutputStreamer(self._place.output, tails, broken=BROKER_ERRORS)
        self._ending = Shutdown(self._place, self._roster, grace_s=options.grace_s, leave=self._leave)

    def close(self) -> None:
        """Stop running files, and release the directories of trees."""
        self._place.close()
        self._trees.close()

    def run(self) -> int:
        self._place.open()
        for limit in self._share.limits:
            self._say(f"{limit.name}: {limit.value} ({limit.source})")
        install_guarded_transport(self._say)
        app = make_app(self._options.broker.url)
        register(app, self._place.handle_message)
        self._ending.start()
        if self._options.ends_with_stdin:
            threading.Thread(target=self._end_with_stdin, name="stdin", daemon=True).start()
        try:
            run_worker(
                app,
                name=self._options.name,
                slots=self._share.slots,
                on_ready=self._ready,
                on_signal=self._ending.ask,
            )
        finally:
            if self._heartbeat is not None:
                self._heartbeat.close()
        if not self._ending.is_asked:
            self._failure = self._failure or "Celery has ended by itself; its output says why"
        self._say(f"ran {self._roster.finished} file(s)")
        self._ending.done()
        if self._failure:
            self._say(f"ended because it can run nothing any more: {self._failure}", level=LogLevel.ERROR)
        return 3 if self._failure else 0

    def _ready(self, queues: RunQueues) -> None:
        client = self._heart_client
        joining = RunSubscriptions(
            self._record,
            self._envelope,
            (
                check_variables(self._options.allowed),
                self._place.source_problem,
                self._place.enter,
                self._expect,
            ),
            queues,
            name=self._options.name,
            slots=self._share.slots,
            broken=BROKER_ERRORS,
            say=self._say,
            leave=self._place.leave,
        )
        self._joining = joining
        self._heartbeat = Heartbeat(
            self._place,
            self._roster,
            WorkerDirectory(client),
            lambda run_id: RunStore(client, run_id),
            lambda: self._wanted(RunStore.active_runs(client, on_damaged=self._is_damaged)),
            joining,
            name=self._options.name,
            card=lambda held: make_worker_status(
                self._options.name,
                self._share,
                self._place.usage(),
                held,
                host=socket.gethostname(),
                runs=joining.served_runs(),
                only_run=self._options.only_run,
                taken=self._roster.accepted,
                python=self._place.python(),
            ),
            broken=BROKER_ERRORS,
            say=self._say,
            tails=self._tails.stream,
        )
        self._heartbeat.start()
        what = "" if self._options.root is not None else ", for runs with --ship alone"
        self._say(f"ready: {self._options.name}, broker {self._options.broker.shown}{what}")

    def _files(self, executor: LocalExecutor, health: Health, settings: WorkerSettings) -> TaskHandler:
        return TaskHandler(
            executor,
            Admission(executor, self._roster, self._neighbours, budget_bytes=settings.budget_bytes),
            health,
            settings,
            self._envelope,
            self._record,
            self._terms,
            self._roster,
            broken=BROKER_ERRORS,
            say=self._say,
            fail=self._fail,
            leave_alone=self._leave_alone,
            allowed=self._options.allowed,
            on_end=self._tails.finish,
        )

    def _expect(self, terms: RunSpec) -> str:
        """Scan a run's files in advance. This only makes them faster, so a failure does not refuse the
        run."""
        self._place.prefetch(terms, self._record(terms.run_id).sample_paths(MAX_EXPECTED))
        return ""

    def _wanted(self, runs: set[str]) -> set[str]:
        """Return the active runs that this worker may serve."""
        only = self._options.only_run
        return runs & {only} if only else runs

    def _record(self, run_id: str) -> RunStore:
        return RunStore(self._client, run_id)

    def _slots_of(self, run_id: str) -> SlotRange:
        if self._joining is None:
            raise InfrastructureError("a file came before any run was joined")
        return self._joining.slots_of(run_id)

    def _terms(self, run_id: str) -> RunSpec | None:
        return None if self._joining is None else self._joining.spec_of(run_id)

    def _is_damaged(self, run_id: str) -> None:
        self._leave_alone(run_id, "whether the run is under way cannot be read from the broker")

    def _leave_alone(self, run_id: str, why: str) -> None:
        if self._joining is not None:
            self._joining.abandon(run_id, why)

    def _fail(self, reason: str) -> None:
        if not self._failure:
            self._failure = reason
            if self._joining is not None:
                self._joining.refuse_all(f"worker {self._options.name} can run nothing any more: {reason}")
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
        """Exit although the main thread does not end; stop the files first, so that none is left running."""
        self._place.close()
        shutil.rmtree(self._coverage_dir.parent, ignore_errors=True)
        self._say(f"ran {self._roster.finished} file(s)")
        os._exit(3 if self._failure else 0)
