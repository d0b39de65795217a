"""This machine's own worker in a joined run: restarted if it dies, and always stopped at the end."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dispatcher.queue.worker_process import WorkerProcess

MAX_STARTS = 3
"""Workers that are started one after the other: if a third one dies, the cause is permanent."""


class LocalWorker:
    """A worker. Thread-safe.

    Args:
        name: of this machine; its workers' names derive from it.
        words: the worker's arguments.
        environ: the environment from which tests start.
        url: the broker, password included.
        secret: signs messages.
        complain: prints an error line for the user.
    """

    def __init__(
        self,
        name: str,
        words: Sequence[str],
        environ: Mapping[str, str],
        *,
        url: str,
        secret: str,
        complain: Callable[[str], None],
    ) -> None:
        self._name, self._words, self._environ = name, tuple(words), environ
        self._url, self._secret, self._complain = url, secret, complain
        self._folder = tempfile.TemporaryDirectory(prefix="pm-join-")
        self._lock = threading.Lock()
        self._starts = 0
        self._worker: WorkerProcess | None = None

    def start(self) -> None:
        """Start the first one."""
        with self._lock:
            self._start()

    def restart_if_dead(self) -> None:
        """Start another worker if the current one is dead."""
        with self._lock:
            why = self._worker.exit_problem() if self._worker is not None else ""
            if not why:
                return
            self._worker = None
            if self._starts < MAX_STARTS:
                self._complain(f"the worker of this machine {why}; another one begins")
                self._start()
            else:
                self._complain(
                    f"the worker of this machine {why}; it works no more, and waits for the others"
                )

    def close(self) -> None:
        """Stop it. May be called twice."""
        with self._lock:
            worker, self._worker, self._starts = self._worker, None, MAX_STARTS
            if worker is not None:
                worker.close()
            self._folder.cleanup()

    def _start(self) -> None:
        self._starts += 1
        name = self._name if self._starts == 1 else f"{self._name}-{self._starts}"
        log = Path(self._folder.name) / "worker.log"
        try:
            self._worker = WorkerProcess(
                name, self._words, log, self._environ, url=self._url, secret=self._secret
            )
        except OSError as error:
            self._complain(f"no worker can be started on this machine: {error}; it waits for the others")
