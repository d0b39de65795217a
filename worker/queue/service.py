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
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path

from passmuster.host.capacity import machine_capacity
from passmuster.host.host_resources import read_machine
from passmuster.model.errors import ConfigurationError, InfrastructureError
from passmuster.model.executor import SlotRange
from passmuster.model.version import VERSION
from passmuster.source.store import SHIP_TIMEOUT_S, TreeStore
from passmuster.wire.access import open_broker
from passmuster.wire.broker_messages import WorkerStatus
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
from worker.queue.in_flight import InFlightFile, InFlightFiles, running_files
from worker.queue.log import LogLevel, Say, WorkerLog
from worker.queue.metrics import WorkerMetrics
from worker.queue.options import Options
from worker.queue.output_streamer import OutputStreamer
from worker.queue.peer_workers import PeerWorkers
from worker.queue.root_runner import RootRunnerFactory
from worker.queue.run_subscriptions import RunSubscriptions, check_variables
from worker.queue.shutdown import Shutdown
from worker.queue.task_handler import TaskHandler
from worker.queue.transport import install_guarded_transport
from worker.queue.workspace import Workspace
from worker.trees.cache import TreeCache, default_base
from worker.trees.shipped import ShippedTrees

MAX_PREFETCHED = 1000
"""Maximum number of files of a run whose imports are scanned before it starts."""


def serve(options: Options, environ: Mapping[str, str], write: Callable[[str], None]) -> int:
    """Run files until the worker is asked to shut down; return the exit status. Tests start from `environ`.

    Raises:
        ConfigurationError: the interpreter or the name cannot be used, files cannot be forked although the
            options require it, or metrics cannot be exported.
        InfrastructureError: the broker cannot be used, or there is no space for temporary files.
    """
    # Until Celery installs its own handlers: what is already open must be closed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    directory = WorkerDirectory(open_broker(options.broker))
    if any(status.name == options.name for status in directory.statuses()):
        raise ConfigurationError(
            f"a worker called {options.name} exists already: give another --name, or none; "
            "the name of a killed worker is free within seconds"
        )
    say = WorkerLog(write, log_format=options.arguments.log_format, worker=options.name)
    with ExitStack() as undo:
        # It contains a lock: the next worker here removes the files of a killed one.
        private = PrivateTmp(Path(tempfile.gettempdir()))
        undo.callback(private.close, keep=False)
        service = undo.enter_context(closing(_Service(options, environ, private.make("coverage"), say)))
        return service.run()


class _Service:
    def __init__(self, options: Options, environ: Mapping[str, str], coverage_dir: Path, say: Say) -> None:
        self._options, self._coverage_dir, self._say = options, coverage_dir, say
        self._envelope, self._in_flight, self._failure = Envelope(options.secret), InFlightFiles(), ""
        self._client, self._heartbeat_client = open_broker(options.broker), open_broker(options.broker)
        self._peers = PeerWorkers(WorkerDirectory(self._client).statuses, name=options.name)
        self._capacity = machine_capacity(
            read_machine(), slots=options.arguments.slots, budget=options.arguments.memory_budget
        )
        self._trees = ShippedTrees(
            lambda: TreeCache(default_base(environ)),
            TreeStore(connect(options.broker.url, timeout_s=SHIP_TIMEOUT_S)),
            setup=options.arguments.setup,
            python=options.arguments.python,
            environ=environ,
            say=say,
        )
        factory = RootRunnerFactory(
            options, self._capacity, environ, coverage_dir, self._make_handler, self._slots_of, say
        )
        self._workspace = Workspace(options.root, self._trees, factory.make, self._in_flight)
        stream = OutputStream(self._heartbeat_client, self._envelope)
        self._streamer = OutputStreamer(self._workspace.output, stream)
        self._app = make_app(options.broker.url)
        self._queues = RunQueues(self._app, options.name)
        self._subscriptions = self._make_subscriptions()
        self._heartbeat = self._make_heartbeat()
        self._shutdown = Shutdown(
            self._workspace,
            self._in_flight,
            grace_s=options.arguments.grace_period,
            force_exit=self._force_exit,
        )
        self._metrics = WorkerMetrics(
            options.name,
            options.arguments,
            lambda: self._make_status(self._in_flight.claimed()),
            lambda: self._heartbeat.reached_at,
        )

    def close(self) -> None:
        """Stop running files, and release the directories of trees."""
        self._workspace.close()
        self._trees.close()
        self._metrics.close()

    def run(self) -> int:
        self._workspace.open()
        for limit in self._capacity.limits:
            self._say(f"{limit.name}: {limit.value} ({limit.source})")
        if self._metrics.url:
            self._say(f"metrics: {self._metrics.url}")
        install_guarded_transport(self._say)
        register(self._app, self._workspace.handle_message)
        self._shutdown.start()
        if self._options.arguments.exit_with_stdin:
            threading.Thread(target=self._shut_down_with_stdin, name="stdin", daemon=True).start()
        try:
            run_worker(
                self._app,
                self._queues,
                name=self._options.name,
                slots=self._capacity.slots,
                on_ready=self._start_heartbeat,
                on_signal=self._shutdown.request,
            )
        finally:
            self._heartbeat.close()
        if not self._shutdown.is_requested:
            self._failure = self._failure or "Celery stopped by itself; its output says why"
        self._say(f"ran {self._in_flight.finished} file(s)")
        self._shutdown.mark_exiting()
        if self._failure:
            self._say(f"stopped because it cannot run files: {self._failure}", level=LogLevel.ERROR)
        return 3 if self._failure else 0

    def _start_heartbeat(self) -> None:
        self._heartbeat.start()
        limited = "" if self._options.root is not None else ", only for runs with --ship"
        self._say(f"ready: {self._options.name}, broker {self._options.broker.shown}{limited}")
        notify_systemd("READY=1")

    def _make_subscriptions(self) -> RunSubscriptions:
        return RunSubscriptions(
            self._open_store,
            self._envelope,
            (
                check_variables(self._options.arguments.allow_env),
                self._workspace.source_problem,
                self._workspace.enter,
                self._prefetch,
            ),
            self._queues,
            name=self._options.name,
            slots=self._capacity.slots,
            say=self._say,
            leave=self._workspace.leave,
        )

    def _make_heartbeat(self) -> Heartbeat:
        client = self._heartbeat_client
        return Heartbeat(
            self._workspace,
            self._in_flight,
            WorkerDirectory(client),
            lambda run_id: RunStore(client, run_id),
            lambda: self._wanted(RunStore.active_runs(client, on_damaged=self._abandon_unreadable)),
            self._subscriptions,
            name=self._options.name,
            make_status=self._make_status,
            say=self._say,
            stream_output=self._streamer.stream,
            on_beat=lambda: notify_systemd("WATCHDOG=1"),
        )

    def _make_status(self, claimed: Sequence[InFlightFile]) -> WorkerStatus:
        usage = self._workspace.usage()
        return WorkerStatus(
            name=self._options.name,
            host=socket.gethostname(),
            slots=self._capacity.slots,
            busy=len(claimed),
            budget_bytes=self._capacity.budget_bytes,
            version=VERSION,
            limits=self._capacity.limits,
            used_bytes=usage.used_bytes,
            runs=self._subscriptions.served_runs(),
            only_run=self._options.arguments.only_run_id,
            accepted=self._in_flight.accepted,
            python=self._workspace.python(),
            files=tuple(running_files(usage, claimed)),
        )

    def _make_handler(self, executor: LocalExecutor, health: Health, settings: WorkerSettings) -> TaskHandler:
        return TaskHandler(
            executor,
            Admission(executor, self._in_flight, self._peers, budget_bytes=settings.budget_bytes),
            health,
            settings,
            self._envelope,
            self._open_store,
            self._subscriptions.spec_of,
            self._in_flight,
            say=self._say,
            fail=self._fail,
            abandon=self._subscriptions.abandon,
            allowed=self._options.arguments.allow_env,
            on_end=self._streamer.finish,
            on_result=self._metrics.count,
        )

    def _prefetch(self, spec: RunSpec) -> None:
        """Scan a run's files in advance, as the last check; it refuses no run."""
        self._workspace.prefetch(spec, self._open_store(spec.run_id).sample_paths(MAX_PREFETCHED))

    def _wanted(self, runs: set[str]) -> set[str]:
        """Return the active runs that this worker may serve."""
        only = self._options.arguments.only_run_id
        return runs & {only} if only else runs

    def _open_store(self, run_id: str) -> RunStore:
        return RunStore(self._client, run_id)

    def _slots_of(self, run_id: str) -> SlotRange:
        return self._subscriptions.slots_of(run_id)

    def _abandon_unreadable(self, run_id: str) -> None:
        self._subscriptions.abandon(run_id, "its data on the broker does not say whether it is active")

    def _fail(self, reason: str) -> None:
        if not self._failure:
            self._failure = reason
            self._subscriptions.refuse_all(f"worker {self._options.name} cannot run files: {reason}")
        self._shut_down_at_once()

    def _shut_down_with_stdin(self) -> None:
        while os.read(0, 4096):
            pass
        self._shut_down_at_once()

    def _shut_down_at_once(self) -> None:
        # The signal stops Celery, which only its own thread may do.
        os.kill(os.getpid(), signal.SIGTERM)
        self._shutdown.request(at_once=True)

    def _force_exit(self) -> None:
        """Exit although the main thread does not; stop the files first, so that none is left running."""
        self._workspace.close()
        with suppress(InfrastructureError):
            self._metrics.close()
        shutil.rmtree(self._coverage_dir.parent, ignore_errors=True)
        self._say(f"ran {self._in_flight.finished} file(s)")
        os._exit(3 if self._failure else 0)


def notify_systemd(state: str) -> None:
    """Report a state to systemd, as sd_notify(3) does; without systemd, do nothing. Never waits."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(0)
        sender.sendto(state.encode(), f"\0{address[1:]}" if address.startswith("@") else address)
