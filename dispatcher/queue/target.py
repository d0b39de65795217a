"""The execution target of a run over a broker: the workers that are connected to it."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from dispatcher.config.choices import MixedWorkers
from dispatcher.config.model import TestConfig
from dispatcher.config.overrides import group_limits
from dispatcher.config.settings import SETTINGS
from dispatcher.engine.backend import Backend, BackendRequest
from dispatcher.queue.backend import QueueBackend, unusable_broker
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
from passmuster.wire.run_spec import SPEC_CODEC, SPEC_KIND, RunSpec
from passmuster.wire.run_store import RunStore, WorkerDirectory, connect, report_demand
from passmuster.wire.signing_secret import secret_warnings

_POLL_S = 0.2
"""Seconds between two checks for a first worker."""


class RunSource(Struct, frozen=True, kw_only=True):
    """The source tree of a run."""

    identity: str = ""
    """Of the tree that workers must have; empty: it is not compared."""
    listing: str = ""
    """The digest of the tree's file list; empty: none."""
    tree: str = ""
    """The digest of the tree that workers download; empty: none."""
    workdir: str = ""
    """Where the tests of such a tree run, relative to its root."""


class JoinedQueue(Struct, frozen=True, kw_only=True):
    """A run that several dispatchers may lead, one after the other."""

    run_id: str
    source: RunSource
    guard: Callable[[Any], AbstractContextManager[Any]]
    """Opens a transaction of a client that changes nothing once another dispatcher leads the run."""
    wrap: Callable[[Backend], Backend]
    """Wraps the backend of the run."""


class BrokerTarget:
    """Workers over a broker.

    Args:
        environ: may hold the secret.
        say: prints a line about what the run waits for.
        joined: the joined run that this program leads; None: each run is its own.
    """

    def __init__(
        self, environ: Mapping[str, str], say: Callable[[str], None], joined: JoinedQueue | None = None
    ) -> None:
        self._environ, self._say, self._joined = environ, say, joined

    def capacity(self, config: TestConfig) -> Capacity:
        """Return the capacity of all workers together, as soon as there is one.

        Raises:
            ConfigurationError: the broker or the secret is missing or invalid.
            InfrastructureError: the broker cannot be used, or no worker came.
        """
        address, _ = broker_access(config, self._environ)
        registry = _new_registry(config, self._joined.run_id if self._joined is not None else "")
        with closing(open_broker(address)) as client:
            # No run exists yet. An autoscaler without workers starts the first one for this.
            report = partial(report_demand, client, f"waiting-{secrets.token_hex(8)}")
            try:
                directory = WorkerDirectory(client)
                self._wait(directory, registry, address, config.worker_timeout_s, partial(report, 1))
            finally:
                with suppress(*BROKEN):  # It expires.
                    report(0)
        return Capacity(
            slots=registry.slots,
            budget_bytes=registry.budget_bytes,
            total_bytes=registry.largest_budget_bytes,
            limits=_limits(registry, address),
        )

    def backend(self, request: BackendRequest) -> Backend:
        """Start the run on the broker and return its backend.

        Raises:
            ConfigurationError: the broker or the secret is missing or invalid.
            InfrastructureError: the broker cannot be used.
        """
        address, secret = broker_access(request.config, self._environ)
        joined = self._joined
        if joined is None:
            return open_backend(request, address, secret, source=self._source(request, address))
        return joined.wrap(open_backend(request, address, secret, source=joined.source, guard=joined.guard))

    def explain_preload(self, request: BackendRequest) -> tuple[str, ...]:
        """Refuse: each worker has its own interpreter."""
        raise ConfigurationError("--explain preload is about this machine: leave out --broker")

    def _source(self, request: BackendRequest, address: BrokerAddress) -> RunSource:
        """Upload the files, or have workers compare theirs."""
        root, outputs = request.config.root, find_outputs(request.config)
        client = connect(address.url, timeout_s=SHIP_TIMEOUT_S)
        try:
            with closing(client):
                store = TreeStore(client)
                if not request.config.ship:
                    listing = list_tree(store, root, outputs=outputs)
                    return RunSource(identity=tree_identity(root), listing=listing)
                uploaded = upload_tree(store, root, outputs=outputs)
        except BROKEN as error:
            raise InfrastructureError(
                f"the broker {address.shown} does not accept the run's files, or the list of them: {error};"
                " check that it has enough memory"
            ) from error
        self._say(str(uploaded))
        return RunSource(tree=uploaded.digest, workdir=os.path.relpath(request.workdir, root))

    def _wait(
        self,
        directory: WorkerDirectory,
        registry: WorkerRegistry,
        address: BrokerAddress,
        wait_s: float,
        request_worker: Callable[[], None],
    ) -> None:
        """Wait for the first worker that can serve the run; the broker may be unavailable for a while.

        `request_worker` is called again and again meanwhile.
        """
        until = time.monotonic() + wait_s
        has_reported = wait_s <= 0
        while True:
            problem: InfrastructureError | None = None
            try:
                registry.update(directory.statuses(), now_s=time.monotonic())
                if registry.usage():
                    return
                request_worker()
            except BROKEN as error:
                problem = unusable_broker(error)
            if time.monotonic() >= until:
                message = f"{registry.no_worker_message(waited_s=wait_s)} (broker {address.shown})"
                raise problem or InfrastructureError(message)
            if not has_reported:
                self._say(f"waiting up to {wait_s:.0f} s for a worker at {address.shown}")
                has_reported = True
            time.sleep(_POLL_S)


def find_outputs(config: TestConfig) -> list[Path]:
    """Return the files that this run writes itself, perhaps into the tree: they are not part of it."""
    values = [row.value_in(config) for row in SETTINGS if row.type.is_output]
    # An empty path is a report's usual place, among the run's own files.
    return [value for value in values if isinstance(value, Path) and value != Path()]


def open_backend(
    request: BackendRequest,
    address: BrokerAddress,
    secret: str,
    *,
    source: RunSource,
    release: ExitStack | None = None,
    guard: Callable[[Any], AbstractContextManager[Any]] | None = None,
) -> Backend:
    """Return the backend of one run.

    Args:
        address: the broker's, password included.
        release: resources to free with the backend; also after an error.
        guard: opens the transactions that change the run store; None: ordinary ones.

    Raises:
        InfrastructureError: the broker cannot be used.
    """
    with release or ExitStack() as undo:
        config = request.config
        client = undo.enter_context(closing(open_broker(address)))
        directory = WorkerDirectory(client)
        registry = _new_registry(config, request.run_id)
        try:
            registry.update(directory.statuses(), now_s=time.monotonic())
        except BROKEN as error:
            raise unusable_broker(error) from error
        envelope = Envelope(secret)
        complete = partial(_complete_task, config, registry)
        publisher = Publisher(address.url, request.run_id, envelope, complete)
        undo.callback(publisher.close)
        backend = QueueBackend(
            RunStore(client, request.run_id, None if guard is None else partial(guard, client)),
            publisher.publish,
            ResultDecoder(envelope, request.coverage_dir),
            registry,
            directory.statuses,
            partial(report_demand, client, request.run_id),
            spec=envelope.sign(SPEC_KIND, SPEC_CODEC.encode(_run_spec(request, source))),
            unavailable=BROKEN,
            limits=_limits(registry, address),
            groups=group_limits(config),
            is_resumed=request.is_resumed,
            release=undo.pop_all().close,
        )
        backend.notices = secret_warnings(address, secret, file=config.secret_file)
        return backend


def _run_spec(request: BackendRequest, source: RunSource) -> RunSpec:
    names = {name for task in request.tasks for name, _ in task.environment}
    return RunSpec(
        run_id=request.run_id,
        version=VERSION,
        source_identity=source.identity,
        listing=source.listing,
        tree=source.tree,
        workdir=source.workdir,
        grace_s=request.config.grace_period_s,
        has_coverage=request.coverage_dir is not None,
        environment_names=tuple(sorted(names)),
    )


def _new_registry(config: TestConfig, run_id: str) -> WorkerRegistry:
    return WorkerRegistry(
        version=VERSION,
        timeout_s=config.worker_timeout_s,
        now_s=time.monotonic(),
        run_id=run_id,
        refuses_mixture=config.mixed_workers is MixedWorkers.REFUSE,
    )


def _limits(registry: WorkerRegistry, address: BrokerAddress) -> tuple[Limit, ...]:
    source = f"{len(registry.usage())} worker(s) at {address.shown}"
    return (
        Limit(name="slots", value=str(registry.slots), source=source),
        Limit(name="memory budget", value=format_bytes(registry.budget_bytes), source=source),
    )


def _complete_task(config: TestConfig, registry: WorkerRegistry, task: TestTask) -> TestTask:
    """Return a task with the settings that a local pool takes from the configuration."""
    limits = task.limits
    if limits.memory_bytes is None and config.memory_limit is not None:
        memory_bytes = config.memory_limit.resolve(registry.largest_budget_bytes)
        limits = structs.replace(limits, memory_bytes=memory_bytes)
    isolation = config.isolation if task.isolation is Isolation.AUTO else task.isolation
    return structs.replace(task, limits=limits, isolation=isolation)
