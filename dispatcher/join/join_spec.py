"""What all members of a run must have in common: the first publishes it, the others compare themselves."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from dispatcher.config.model import TestConfig
from dispatcher.join.liveness import BrokerRetry, JoinedRun
from dispatcher.join.run_request import make_request, request_mismatch
from dispatcher.model.plan import TestFile
from dispatcher.queue.target import RunSource, find_outputs
from dispatcher.queue.tree_upload import list_tree
from passmuster.model.errors import ConfigurationError, InfrastructureError, PassmusterError
from passmuster.model.version import VERSION
from passmuster.settings.values import on_one_line
from passmuster.source.files import differing_files
from passmuster.source.identity import tree_identity, tree_mismatch
from passmuster.source.store import SHIP_TIMEOUT_S, TreeStore
from passmuster.wire.broker import BrokerAddress
from passmuster.wire.join_messages import JoinSpec
from passmuster.wire.run_store import connect


def local_join_spec(
    config: TestConfig, files: Sequence[TestFile], address: BrokerAddress, retry: BrokerRetry, *, machine: str
) -> JoinSpec:
    """Return what this machine requires of all other members.

    Args:
        address: of the broker, which receives the tree's file list.

    Raises:
        InfrastructureError: git cannot identify the tree, or the broker does not accept the list.
    """

    def upload_list() -> str:
        with closing(connect(address.url, timeout_s=SHIP_TIMEOUT_S)) as client:
            return list_tree(TreeStore(client), config.root, outputs=find_outputs(config))

    return JoinSpec(
        version=VERSION,
        machine=machine,
        identity=tree_identity(config.root),
        listing=retry.call(upload_list),
        request=make_request(config, files),
    )


def check_join_spec(run: JoinedRun, own: JoinSpec, config: TestConfig, address: BrokerAddress) -> RunSource:
    """Compare this machine with the first member of the run, and return the run's source tree.

    Raises:
        InfrastructureError: its files, its version or its secret differ, or the broker is unavailable.
        ConfigurationError: its request differs.
    """
    name = on_one_line(config.join or "")
    text = run.retry.call(run.store.propose_spec)
    try:
        found = run.codec.decode_spec(text, version=VERSION)
    except PassmusterError as error:
        raise InfrastructureError(
            f"run {name} was started by a machine that this one does not understand: {error}"
        ) from error
    if isinstance(found, str):
        raise InfrastructureError(
            f"run {name} is one of Passmuster {on_one_line(found)[:20]}, this machine has {VERSION}: "
            "install the same version on all machines"
        )
    if problem := run.retry.call(_tree_problem, own, found, config, address):
        raise InfrastructureError(f"this machine cannot join run {name}: {problem}")
    if problem := request_mismatch(own.request, found.request, run=name, machine=found.machine):
        raise ConfigurationError(problem)
    return RunSource(identity=found.identity, listing=found.listing)


def _tree_problem(own: JoinSpec, found: JoinSpec, config: TestConfig, address: BrokerAddress) -> str | None:
    """Return why this machine's tree is not the run's; None: it is, apart from generated files."""

    def differing() -> list[str]:
        with closing(connect(address.url, timeout_s=SHIP_TIMEOUT_S)) as client:
            return differing_files(TreeStore(client).manifest(found.listing), config.root)

    return tree_mismatch(
        own.identity, found.identity, differing=differing if found.listing else None, may_ship=False
    )
