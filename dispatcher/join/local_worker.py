"""This machine's own worker in a joined run: restarted if it dies, and always stopped at the end."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from dispatcher.queue.worker_process import WorkerProcess

MAX_STARTS = 3
"""Workers that are started one after the other: if a third one dies, the cause is permanent."""


class LocalWorker:
    """A worker. Thread-safe.

    Args:
        name: of this machine; its workers' names derive from it.
        start_process: starts a worker of this name that writes to this log.
    """

    def __init__(
        self, name: str, start_process: Callable[[str, Path], WorkerProcess], complain: Callable[[str], None]
    ) -> None:
        self._name, self._start_process, self._complain = name, start_process, complain
        self._directory = tempfile.TemporaryDirectory(prefix="pm-join-")
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
            problem = self._worker.exit_problem() if self._worker is not None else None
            if problem is None:
                return
            self._worker = None
            if self._starts < MAX_STARTS:
                self._complain(f"the worker of this machine {problem}; starting another one")
                self._start()
            else:
                self._complain(
                    f"the worker of this machine {problem}; this machine only waits for the others now"
                )

    def close(self) -> None:
        """Stop it. May be called twice."""
        with self._lock:
            worker, self._worker, self._starts = self._worker, None, MAX_STARTS
            if worker is not None:
                worker.close()
            self._directory.cleanup()

    def _start(self) -> None:
        self._starts += 1
        name = self._name if self._starts == 1 else f"{self._name}-{self._starts}"
        try:
            self._worker = self._start_process(name, Path(self._directory.name) / "worker.log")
        except OSError as error:
            self._complain(
                f"cannot start a worker on this machine: {error}; this machine only waits for the others"
            )
