"""The Celery application of a worker, its single task, and the queues that it consumes.

Before this module is imported, the environment for tests must be set aside and `CELERY_*` removed: these
variables override every setting made here (celery issue 4284), and Celery sets some itself. The work of the
task is in `task_handler`.
"""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Any

from celery import Celery, signals
from celery.exceptions import CPendingDeprecationWarning, Reject, SecurityWarning
from kombu.entity import Exchange, Queue

from passmuster.wire.broker_keys import QUEUE_PREFIX, TASK_NAME, queue_name, worker_queue_name
from passmuster.wire.celery_settings import shared_settings

IDLE_QUEUE = f"{QUEUE_PREFIX}idle"
"""An unused queue: Celery must consume at least one."""

_CONSUMER = "celery.worker.consumer.consumer"
"""The logger of Celery's connection to the broker."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


def make_app(url: str) -> Celery:
    """Return the application for the broker at `url`."""
    # Without fixups: the one for Django would insert the current directory at the start of `sys.path`.
    app = Celery("passmuster", fixups=[])
    app.conf.update(
        **shared_settings(url),
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # A full server rejects commands; the worker waits, as for an unavailable one.
        broker_channel_error_retry=True,
        # Late, and one at a time: no worker hoards messages while another one has a free slot.
        task_acks_late=True,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        task_queues=(_queue(IDLE_QUEUE),),
        task_default_queue=IDLE_QUEUE,
        # Any client of the broker could end the worker with it.
        worker_enable_remote_control=False,
        worker_redirect_stdouts=False,
        worker_hijack_root_logger=False,
    )
    return app


class RunQueues:
    """The queues that this worker consumes: two for each run that it serves. Thread-safe.

    Its methods only request changes, which Celery's own thread makes. Without a connection, Celery may forget
    a request, so `sync` must be called regularly. The worker has a queue of its own in each run.
    """

    def __init__(self, app: Celery, worker: str) -> None:
        self._app, self._worker = app, worker
        self.consumer: Any = None
        """Celery's consumer, from the signal `worker_ready`; before that, no method may be called."""
        self._lock = threading.Lock()
        self._wanted: set[str] = set()
        self._followed: set[str] = set()

    def follow(self, run_id: str) -> None:
        """Consume the queue of a run, also after a lost connection."""
        with self._lock:
            self._wanted.update(self._names(run_id))
        self.sync()

    def leave(self, run_id: str) -> None:
        """Stop consuming the queue of a run."""
        with self._lock:
            self._wanted.difference_update(self._names(run_id))
        self.sync()

    def sync(self) -> None:
        """Consume exactly the queues of the wanted runs."""
        self.consumer.call_soon(self._sync)

    def _names(self, run_id: str) -> tuple[str, str]:
        return queue_name(run_id), worker_queue_name(run_id, self._worker)

    def _sync(self) -> None:
        with self._lock:
            wanted = set(self._wanted)
        task_consumer = self.consumer.task_consumer
        if task_consumer is None:
            return  # It is about to connect.
        for name in self._followed - wanted:
            self.consumer.cancel_task_queue(name)
            self._app.amqp.queues.pop(name, None)
            self._followed.discard(name)
        for name in wanted:
            self._followed.add(name)
            if not task_consumer.consuming_from(name):
                self._app.amqp.queues.select_add(_queue(name))
                self.consumer.add_task_queue(name)


def run_worker(
    app: Celery,
    queues: RunQueues,
    *,
    name: str,
    slots: int,
    on_ready: Callable[[], None],
    on_signal: Callable[[], None],
) -> None:
    """Consume messages until a signal arrives; return when no task runs any more.

    Args:
        name: of the worker, unique.
        on_ready: called in Celery's thread once messages can be received.
        on_signal: called in the signal handler for each signal that requests the shutdown.
    """

    def shut_down_early(**_: Any) -> None:
        # Celery's handler applies until Passmuster's is installed: Celery may wait long for a broker.
        on_signal()

    def ready(sender: Any = None, **_: Any) -> None:
        signals.worker_shutting_down.disconnect(shut_down_early)
        # Celery's handler of SIGTERM, for all three signals: its other handlers do not work with threads.
        _install(signal.getsignal(signal.SIGTERM), on_signal)
        queues.consumer = sender
        on_ready()

    signals.worker_shutting_down.connect(shut_down_early, weak=False)
    signals.worker_ready.connect(ready, weak=False)
    # Celery warns about root because of pickles, which are not accepted; many containers only have root.
    warnings.simplefilter("ignore", SecurityWarning)
    # And at each reconnection, of another default of a later version.
    warnings.simplefilter("ignore", CPendingDeprecationWarning)
    logging.getLogger(_CONSUMER).addFilter(_is_no_reconnection)
    try:
        app.worker_main(
            [
                "--quiet",
                "worker",
                "--pool=threads",
                f"--concurrency={slots}",
                f"--hostname={name}@%h",
                "--loglevel=WARNING",
                "--without-gossip",
                "--without-mingle",
                "--without-heartbeat",
            ]
        )
    finally:
        signals.worker_shutting_down.disconnect(shut_down_early)
        signals.worker_ready.disconnect(ready)
        for number in _SIGNALS:
            # The worker exits. Once the handlers are gone, a late signal would only change the exit status.
            signal.signal(number, signal.SIG_IGN)


def _install(celery_handler: Any, on_signal: Callable[[], None]) -> None:
    received: list[int] = []  # No lock: a handler may interrupt itself.

    def handle(number: int, frame: FrameType | None) -> None:
        on_signal()
        received.append(number)
        if len(received) == 1 and callable(celery_handler):
            celery_handler(number, frame)

    for number in _SIGNALS:
        signal.signal(number, handle)


def _queue(name: str) -> Queue:
    # Not declared: a declaration leaves keys on the broker forever.
    return Queue(name, Exchange("", type="direct"), routing_key=name, no_declare=True)


def register(app: Celery, handle_message: Callable[[str], bool]) -> None:
    """Register the task; `handle_message` returns False if the message must be put back."""
    logging.getLogger("celery.app.trace").addFilter(_is_no_requeue)

    def run_file(text: str) -> None:
        if not handle_message(text):
            raise Reject("not on this worker, or not now", requeue=True)

    app.task(name=TASK_NAME)(run_file)
    # Celery's built-in tasks accept unsigned messages.
    app.finalize()
    for name in [name for name in app.tasks if name != TASK_NAME]:
        app.tasks.unregister(name)


def _is_no_requeue(record: logging.LogRecord) -> bool:
    """Whether Celery logs anything but a message that is put back, which is not an error."""
    return not (record.exc_info and isinstance(record.exc_info[1], Reject))


def _is_no_reconnection(record: logging.LogRecord) -> bool:
    """Whether Celery logs anything but a lost connection or an attempt to reconnect.

    The heartbeat reports an outage, in one line and in the worker's own format. Celery prints a line for each
    attempt, for Sentinels with the whole client.
    """
    return not record.getMessage().startswith("consumer: ")
