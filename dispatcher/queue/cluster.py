"""A broker and workers on this machine for one run, started and stopped with it.

All of them end with this process, even if it is killed: the server has a watcher for that.
"""

from __future__ import annotations

import secrets
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path

from dispatcher.config.model import TestConfig
from dispatcher.engine.backend import Backend, BackendRequest, ExecutionTarget
from dispatcher.queue.embedded_server import EmbeddedServer
from dispatcher.queue.target import RunSource, open_backend
from dispatcher.queue.worker_process import WorkerProcess, worker_arguments
from passmuster.host.capacity import Capacity
from passmuster.model.errors import InfrastructureError
from passmuster.wire.access import open_broker
from passmuster.wire.broker import BrokerAddress, parse_broker
from passmuster.wire.run_store import WorkerDirectory

_POLL_S = 0.05


class ClusterTarget:
    """The configured number of workers on this machine, started for each run."""

    def __init__(self, local_target: ExecutionTarget) -> None:
        self._local_target = local_target

    def capacity(self, config: TestConfig) -> Capacity:
        """Return the capacity of this machine; its workers share it."""
        return self._local_target.capacity(config)

    def backend(self, request: BackendRequest) -> Backend:
        """Start the server and the workers, and return the backend that stops them.

        Raises:
            ConfigurationError: the server's package is not installed.
            InfrastructureError: the server or a worker does not start.
        """
        with ExitStack() as undo:
            folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="pm-cluster-")))
            server = undo.enter_context(closing(EmbeddedServer(folder)))
            secret = secrets.token_urlsafe(24)
            address = parse_broker(server.url, source="the server of --cluster")
            workers = []
            for name, arguments in self._worker_arguments(request).items():
                log = folder / f"{name}.log"
                worker = WorkerProcess(name, arguments, log, request.environ, url=server.url, secret=secret)
                workers.append(undo.enter_context(closing(worker)))
            _wait(workers, address, request.config.worker_timeout_s)
            return open_backend(request, address, secret, source=RunSource(), release=undo.pop_all())

    def explain_preload(self, request: BackendRequest) -> tuple[str, ...]:
        """Return, as lines, what would be imported before files are forked."""
        return self._local_target.explain_preload(request)

    def _worker_arguments(self, request: BackendRequest) -> dict[str, list[str]]:
        """Return the arguments of each worker, by its name. The workers share this machine evenly."""
        capacity, count = request.capacity, request.config.cluster or 1
        shares = [capacity.slots // count + (number < capacity.slots % count) for number in range(count)]
        return {
            f"worker-{number}": [
                *("--grace-period", "0.1s"),
                *("--slots", str(max(1, slots))),
                *("--memory-budget", str(capacity.budget_bytes // count)),
                *worker_arguments(request.config, workdir=request.workdir, interpreter=request.interpreter),
            ]
            for number, slots in enumerate(shares, start=1)
        }


def _wait(workers: list[WorkerProcess], address: BrokerAddress, wait_s: float) -> None:
    """Wait until all workers are ready."""
    until = time.monotonic() + wait_s
    with closing(open_broker(address)) as client:
        directory = WorkerDirectory(client)
        while missing := {worker.name for worker in workers} - {
            status.name for status in directory.statuses()
        }:
            for worker in workers:
                if problem := worker.exit_problem():
                    raise InfrastructureError(f"{worker.name} of --cluster {problem}")
            if time.monotonic() >= until:
                names = ", ".join(sorted(missing))
                raise InfrastructureError(f"{names} of --cluster did not start within {wait_s:.0f} s")
            time.sleep(_POLL_S)
