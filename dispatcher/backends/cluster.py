"""A queue on this machine alone, for one run: a server and workers that begin and end with it.

Each worker reads from a pipe that this process holds, and ends when that closes: also when this process is
killed. The server has a watcher that does the same.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from dispatcher.backends.base import Backend, BackendRequest, Capacity, Site
from dispatcher.backends.embedded_server import EmbeddedServer
from dispatcher.backends.queue_site import open_queue
from dispatcher.config.model import TestConfig
from passmuster.broker import BROKER_VARIABLE, DEFAULT_SECRET_VARIABLE, BrokerAddress, parse_broker
from passmuster.broker_access import open_broker
from passmuster.errors import InfrastructureError
from passmuster.run_record import WorkerBoard

WORKER = Path(__file__).resolve().parents[2] / "worker" / "__main__.py"

_END_S = 10.0
"""Seconds for a worker to end: it has nothing left to do by then."""

_LOOK_S = 0.05


class ClusterSite:
    """As many workers on this machine as the configuration says, made for each run.

    Args:
        machine: this machine, as a place of its own.
    """

    def __init__(self, machine: Site) -> None:
        self._machine = machine

    def capacity(self, config: TestConfig) -> Capacity:
        """Return what this machine offers; its workers share it."""
        return self._machine.capacity(config)

    def backend(self, request: BackendRequest) -> Backend:
        """Start the server and the workers, and return the backend that ends them.

        Raises:
            ConfigurationError: the server's package is not installed.
            InfrastructureError: the server or a worker does not start.
        """
        with ExitStack() as undo:
            folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="pm-cluster-")))
            server = undo.enter_context(closing(EmbeddedServer(folder)))
            secret = secrets.token_urlsafe(24)
            address = parse_broker(server.url, source="the server of --cluster")
            workers = [
                undo.enter_context(closing(_Worker(name, words, folder, request, server.url, secret)))
                for name, words in self.commands(request).items()
            ]
            _wait(workers, address, request.config.wait_workers_s)
            return open_queue(request, address, secret, release=undo.pop_all())

    def explain_preload(self, request: BackendRequest) -> tuple[str, ...]:
        """Return what would be imported before files are forked, as lines."""
        return self._machine.explain_preload(request)

    def commands(self, request: BackendRequest) -> dict[str, list[str]]:
        """Return the words that start each worker, by its name. They share this machine evenly."""
        capacity, count = self.capacity(request.config), request.config.cluster or 1
        shares = [capacity.slots // count + (number < capacity.slots % count) for number in range(count)]
        return {
            f"worker-{number}": [
                *(sys.executable, "-P", str(WORKER), "--exit-with-stdin", "--grace", "0.1s"),
                *("--name", f"worker-{number}"),
                *("--slots", str(max(1, slots))),
                *("--memory-budget", str(capacity.budget_bytes // count)),
                *_of_the_run(request),
            ]
            for number, slots in enumerate(shares, start=1)
        }


def _of_the_run(request: BackendRequest) -> list[str]:
    """Return the words that are the same for all workers."""
    config = request.config
    words = [
        *("--root", str(config.root)),
        *("--workdir", str(request.workdir)),
        *("--python", request.interpreter),
        *("--isolation", config.isolation.value),
    ]
    for name in config.preload:
        words += ("--preload", name)
    if config.keep_tmp:
        words.append("--keep-tmp")
    return words


class _Worker:
    def __init__(
        self, name: str, words: Sequence[str], folder: Path, request: BackendRequest, url: str, secret: str
    ) -> None:
        self.name = name
        self._log = folder / f"{self.name}.log"
        environ: Mapping[str, str] = {
            **request.environ,
            BROKER_VARIABLE: url,
            DEFAULT_SECRET_VARIABLE: secret,
        }
        with open(os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as log:
            # A session of its own: Ctrl-C is for this process, which asks them to end what runs.
            self._process = subprocess.Popen(
                words,
                env=environ,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise when it has ended already."""
        status = self._process.poll()
        if status is not None:
            lines = self._log.read_text(errors="backslashreplace").splitlines() or ["it said nothing"]
            raise InfrastructureError(f"{self.name} of --cluster ended with status {status}: {lines[-1]}")

    def close(self) -> None:
        """End it."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _wait(workers: list[_Worker], address: BrokerAddress, wait_s: float) -> None:
    """Wait until all workers are there."""
    until = time.monotonic() + wait_s
    with closing(open_broker(address)) as client:
        board = WorkerBoard(client)
        while missing := {worker.name for worker in workers} - {card.name for card in board.cards()}:
            for worker in workers:
                worker.check()
            if time.monotonic() >= until:
                names = ", ".join(sorted(missing))
                raise InfrastructureError(f"{names} of --cluster did not come up within {wait_s:.0f} s")
            time.sleep(_LOOK_S)
