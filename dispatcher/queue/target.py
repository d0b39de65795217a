"""An execution target of many machines: workers that run there, and the broker that connects them."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from dispatcher.config.choices import MixedWorkers
from dispatcher.config.model import TestConfig
from dispatcher.config.overrides import group_limits
from dispatcher.config.settings import SETTINGS
from dispatcher.engine.backend import Backend, BackendRequest
from dispatcher.queue.backend import QueueBackend
from dispatcher.queue.broker import broker_access
from dispatcher.queue.publisher import BROKEN, Publisher
from dispatcher.queue.results import ResultDecoder
from dispatcher.queue.tree_upload import list_tree, upload_tree
from dispatcher.queue.worker_registry import WorkerRegistry
from passmuster.host.capacity import Capacity
from passmuster.model.errors import ConfigurationError, InfrastructureError
from passmuster.model.executor import Limit
from passmuster.model.status import Isolation
from passmuster.model.task import TestTask
from passmuster.model.units import format_bytes
from passmuster.model.version import VERSION
from passmuster.source.identity import tree_identity
from passmuster.source.store import SHIP_TIMEOUT_S, TreeStore
from passmuster.wire.access import open_broker
from passmuster.wire.broker import BrokerAddress
from passmuster.wire.envelope import Envelope
from passmuster.wire.run_spec import SPEC_KIND, RunSpec, encode_run_spec
from passmuster.wire.run_store import RunStore, WorkerDirectory, connect
from passmuster.wire.signing_secret import secret_warnings

_LOOK_S = 0.2
"""Seconds between two checks for a first worker."""


class RunSource(Struct, frozen=True, kw_only=True):
    """The files of a run.

    Args:
        identity: of the tree that workers must have; empty: it is not compared.
        listing: the digest of the tree's file list; empty: none.
        tree: the digest of the tree that workers receive; empty: none.
        workdir: where the tests of such a tree run, relative to its root.
    """

    identity: str = ""
    listing: str = ""
    tree: str = ""
    workdir: str = ""


class JoinedQueue(Struct, frozen=True, kw_only=True):
    """A run that several dispatchers may lead, one after the other.

    Args:
        source: the files of the run.
        guarded: returns a client that changes nothing once another dispatcher leads the run.
        around: wraps the backend of the run.
    """

    run_id: str
    source: RunSource
    guarded: Callable[[Any], Any]
    around: Callable[[Backend], Backend]


class BrokerTarget:
    """Workers over a broker.

    Args:
        environ: may hold the secret.
        say: prints a line about what the run waits for.
        shared: the joined run that this program leads; None: each run is its own.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        say: Callable[[str], None],
        shared: JoinedQueue | None = None,
    ) -> None:
        self._environ, self._say, self._shared = environ, say, shared

    def capacity(self, config: TestConfig) -> Capacity:
        """Return the capacity of all workers together, as soon as there is one.

        Raises:
            ConfigurationError: the broker or the secret is missing or invalid.
            InfrastructureError: the broker cannot be used, or no worker came.
        """
        address, _ = broker_access(config, self._environ)
        crew = _crew(config, self._shared.run_id if self._shared is not None else "")
        with closing(open_broker(address)) as client:
            self._wait(WorkerDirectory(client), crew, address, config.wait_workers_s)
        return Capacity(
            slots=crew.slots,
            budget_bytes=crew.budget_bytes,
            total_bytes=crew.most_bytes,
            limits=_limits(crew, address),
        )

    def backend(self, request: BackendRequest) -> Backend:
        """Start the run on the broker and return its backend.

        Raises:
            ConfigurationError: the broker or the secret is missing or invalid.
            InfrastructureError: the broker cannot be used.
        """
        address, secret = broker_access(request.config, self._environ)
        shared = self._shared
        if shared is None:
            source = self._source(request, address)
            return open_queue(request, address, secret, source=source, release=ExitStack())
        return shared.around(
            open_queue(
                request,
                address,
                secret,
                source=shared.source,
                release=ExitStack(),
                guarded=shared.guarded,
            )
        )

    def explain_preload(self, request: BackendRequest) -> tuple[str, ...]:
        """Refuse: each worker has its own interpreter."""
        raise ConfigurationError("--explain preload is about this machine: leave out --broker")

    def _source(self, request: BackendRequest, address: BrokerAddress) -> RunSource:
        """Upload the files, or have workers compare theirs."""
        root, reports = request.config.root, reports_of(request.config)
        client = connect(address.url, timeout_s=SHIP_TIMEOUT_S)
        try:
            with closing(client):
                store = TreeStore(client)
                if not request.config.ship:
                    listing = list_tree(store, root, reports=reports)
                    return RunSource(identity=tree_identity(root), listing=listing)
                shipped = upload_tree(store, root, reports=reports)
        except BROKEN as error:
            raise InfrastructureError(
                f"the broker {address.shown} does not take the run's files, or the list of them: {error};"
                " check that it has enough memory"
            ) from error
        self._say(str(shipped))
        return RunSource(tree=shipped.digest, workdir=os.path.relpath(request.workdir, root))

    def _wait(
        self, board: WorkerDirectory, crew: WorkerRegistry, address: BrokerAddress, wait_s: float
    ) -> None:
        """Wait for the first worker that can serve the run; the broker may be unavailable for a while."""
        until = time.monotonic() + wait_s
        is_told, trouble = wait_s <= 0, ""
        while True:
            try:
                crew.update(board.statuses(), now_s=time.monotonic())
                trouble = ""
            except BROKEN as error:
                trouble = f"the broker cannot be used: {error}; check that it is running"
            if crew.usage() and not trouble:
                return
            if time.monotonic() >= until:
                raise InfrastructureError(
                    trouble or f"{crew.nobody(waited_s=wait_s)} (broker {address.shown})"
                )
            if not is_told:
                self._say(f"waiting up to {wait_s:.0f} s for a worker at {address.shown}")
                is_told = True
            time.sleep(_LOOK_S)


def reports_of(config: TestConfig) -> list[Path]:
    """Return the files that this run writes itself, perhaps into the tree: they are not part of what is
    tested.
    """
    values = [row.value_in(config) for row in SETTINGS if row.kind.is_output]
    # An empty path is a report's usual place, among the run's own files.
    return [value for value in values if isinstance(value, Path) and value != Path()]


def open_queue(
    request: BackendRequest,
    address: BrokerAddress,
    secret: str,
    *,
    source: RunSource | None = None,
    release: ExitStack,
    guarded: Callable[[Any], Any] = lambda client: client,
) -> Backend:
    """Return the backend of one run.

    Args:
        address: the broker's, password included.
        secret: signs messages.
        source: the files of the run; None: workers have the same.
        release: resources to free with the backend; also after an error.
        guarded: returns the client through which the run store is changed.

    Raises:
        InfrastructureError: the broker cannot be used.
    """
    with release as undo:
        client = undo.enter_context(closing(open_broker(address)))
        board = WorkerDirectory(client)
        crew = _crew(request.config, request.run_id)
        try:
            crew.update(board.statuses(), now_s=time.monotonic())
        except BROKEN as error:
            raise InfrastructureError(
                f"the broker cannot be used: {error}; check that it is running"
            ) from error
        envelope = Envelope(secret)
        publisher = Publisher(address.url, request.run_id, envelope, _completed(request.config, crew))
        undo.callback(publisher.close)
        backend = QueueBackend(
            RunStore(guarded(client), request.run_id),
            publisher.publish,
            ResultDecoder(envelope, request.coverage_dir),
            crew,
            board.statuses,
            terms=envelope.sign(SPEC_KIND, encode_run_spec(_terms(request, source or RunSource()))),
            new_epoch=lambda: secrets.token_hex(8),
            broken=BROKEN,
            limits=_limits(crew, address),
            groups=group_limits(request.config),
            is_resumed=request.is_resumed,
            release=undo.pop_all().close,
        )
        backend.notices = secret_warnings(address, secret, file=request.config.secret_file)
        return backend


def _terms(request: BackendRequest, source: RunSource) -> RunSpec:
    names = {name for task in request.tasks for name, _ in task.environment}
    return RunSpec(
        run_id=request.run_id,
        version=VERSION,
        source_identity=source.identity,
        listing=source.listing,
        tree=source.tree,
        workdir=source.workdir,
        grace_s=request.config.grace_s,
        has_coverage=request.coverage_dir is not None,
        environment_names=tuple(sorted(names)),
    )


def _crew(config: TestConfig, run_id: str = "") -> WorkerRegistry:
    return WorkerRegistry(
        version=VERSION,
        patience_s=config.wait_workers_s,
        now_s=time.monotonic(),
        run_id=run_id,
        refuses_mixture=config.mixed_workers is MixedWorkers.REFUSE,
    )


def _limits(crew: WorkerRegistry, address: BrokerAddress) -> tuple[Limit, ...]:
    source = f"{len(crew.usage())} worker(s) at {address.shown}"
    return (
        Limit(name="slots", value=str(crew.slots), source=source),
        Limit(name="memory budget", value=format_bytes(crew.budget_bytes), source=source),
    )


def _completed(config: TestConfig, crew: WorkerRegistry) -> Callable[[TestTask], TestTask]:
    """Return a function that adds to a task the settings that a local pool takes from the configuration."""

    def complete(task: TestTask) -> TestTask:
        limits = task.limits
        if limits.memory_bytes is None and config.memory_limit is not None:
            memory_bytes = config.memory_limit.resolve(crew.most_bytes)
            limits = structs.replace(limits, memory_bytes=memory_bytes)
        isolation = config.isolation if task.isolation is Isolation.AUTO else task.isolation
        return structs.replace(task, limits=limits, isolation=isolation)

    return complete
