"""Workers under a supervisor: at each place there is one, and a new one soon after it ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.project import PID_VARIABLE, WORKER_VARIABLE

MAIN = Path(__file__).resolve().parents[2] / "worker" / "__main__.py"

RESTART_S = 0.5
"""Seconds after which a worker that ended is replaced, as by a service manager."""

END_S = 40.0
"""Seconds for all workers to end when they are asked to."""


@dataclass(kw_only=True)
class Worker:
    """One worker's life.

    Args:
        name: unlike all others.
        process: it.
        log: what it prints.
        ended_at: when its end was seen (Unix time); None: it lives.
        is_killed: whether the harness killed it.
        is_asked: whether the harness sent it SIGTERM.
    """

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    ended_at: float | None = None
    is_killed: bool = False
    is_asked: bool = False


class Crew:
    """All workers there ever were.

    Args:
        root: the project.
        folder: for logs.
        environ: what the workers get.
        urls: the server's address as each place reaches it.
        words: further arguments of each worker.
    """

    def __init__(
        self, root: Path, folder: Path, environ: Mapping[str, str], urls: Sequence[str], words: Sequence[str]
    ) -> None:
        self._root, self._folder, self._environ = root, folder, environ
        self._urls, self._words = urls, words
        self.workers: list[Worker] = []
        self._places = [self._start(place) for place in range(len(urls))]
        self._is_over = False

    def look(self) -> list[str]:
        """Replace those that ended; return what is to be noted."""
        notes = []
        for place, worker in enumerate(self._places):
            status = worker.process.poll()
            if status is None:
                continue
            if worker.ended_at is None:
                worker.ended_at = time.time()
                notes.append(f"worker {worker.name} ended with {status}")
            if not self._is_over and time.time() - worker.ended_at >= RESTART_S:
                self._places[place] = self._start(place)
                notes.append(f"worker {self._places[place].name} begins")
        return notes

    def kill(self, place: int) -> None:
        """Send SIGKILL to the worker of a place."""
        self._places[place].is_killed = True
        self._send(self._places[place], signal.SIGKILL)

    def ask(self, place: int) -> None:
        """Send SIGTERM to the worker of a place."""
        self._places[place].is_asked = True
        self._send(self._places[place], signal.SIGTERM)

    def freeze(self, place: int, *, with_files: bool) -> Worker:
        """Stop the worker of a place; return it, for `thaw`."""
        worker = self._places[place]
        self._send(worker, signal.SIGSTOP)
        for pid in processes_with(f"{WORKER_VARIABLE}={worker.name}") if with_files else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        return worker

    def thaw(self, worker: Worker) -> None:
        """Let a stopped worker go on, and what it runs."""
        self._send(worker, signal.SIGCONT)
        for pid in processes_with(f"{WORKER_VARIABLE}={worker.name}"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def end(self) -> list[str]:
        """Ask all to end, and replace none; return who did not."""
        self._is_over = True
        for worker in self._places:
            if worker.process.poll() is None and not worker.is_killed:
                worker.is_asked = True
                self._send(worker, signal.SIGTERM)
        deadline = time.monotonic() + END_S
        wrong = []
        for worker in self._places:
            try:
                worker.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                wrong.append(f"worker {worker.name} does not end at SIGTERM")
                worker.process.send_signal(signal.SIGABRT)  # Its stacks go to its log.
                time.sleep(1)
                worker.process.kill()
                worker.process.wait()
        return wrong

    def kill_all(self) -> None:
        """Send SIGKILL to all, and replace none."""
        self._is_over = True
        for place in range(len(self._places)):
            self.kill(place)

    def close(self) -> None:
        """End what is left."""
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.process.kill()
                worker.process.wait()

    def _send(self, worker: Worker, number: signal.Signals) -> None:
        # Not reaped yet, so its number is nobody else's.
        if worker.process.poll() is None:
            worker.process.send_signal(number)

    def _start(self, place: int) -> Worker:
        name = f"w{place}-{len(self.workers)}"
        pid_file, log = self._folder / f"{name}.pid", self._folder / f"{name}.log"
        environ = {
            **self._environ,
            "PASSMUSTER_BROKER_URL": self._urls[place],
            WORKER_VARIABLE: name,
            PID_VARIABLE: str(pid_file),
        }
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-P", str(MAIN), "--root", str(self._root), "--name", name, *self._words],
                cwd=self._root,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        pid_file.write_text(str(process.pid))
        worker = Worker(name=name, process=process, log=log)
        self.workers.append(worker)
        return worker


def processes_with(variable: str) -> dict[int, str]:
    """Return the processes whose environment holds `NAME=value`, with their command lines. No zombies."""
    found = {}
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            with contextlib.suppress(OSError):
                if variable.encode() in (directory / "environ").read_bytes().split(b"\0"):
                    command = (directory / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(directory.name)] = command.decode(errors="replace")[:200]
    return found
