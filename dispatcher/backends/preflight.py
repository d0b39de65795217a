"""Whether a broker and its workers can hold a run, before the first file is sent.

Pure: the caller asks the broker and waits. A refusal names what was found, what is needed, and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from passmuster.errors import InfrastructureError

OLDEST_VERSION = (6, 2)
"""Of the server: what `run_scripts` uses is all there."""

WAIT_FOR_WORKER_S = 60.0
"""Seconds a run waits for its first worker."""


class Card(Protocol):
    """What a worker says of itself; see `passmuster.run_record.WorkerCard`."""

    @property
    def name(self) -> str:
        """Which worker."""

    @property
    def version(self) -> str:
        """Of Passmuster, on its side."""


def check_server(info: Mapping[str, object], *, shown: str) -> None:
    """Refuse a server that cannot keep a run.

    Args:
        info: what the server answers to INFO.
        shown: its address without the password.

    Raises:
        InfrastructureError: it is too old, only read from, or throws data away when its memory is full.
    """
    version = str(info.get("redis_version", ""))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isascii() and part.isdigit())
    if len(numbers) < 2:
        raise InfrastructureError(
            f"the broker {shown} does not say that it is Redis or Valkey: give the address of one"
        )
    if numbers < OLDEST_VERSION:
        oldest = ".".join(map(str, OLDEST_VERSION))
        raise InfrastructureError(
            f"the broker {shown} has version {version}, at least {oldest} is needed: use a newer server"
        )
    role = str(info.get("role", "master"))
    if role != "master":
        raise InfrastructureError(
            f"the broker {shown} is a {role}, which takes no changes: give the address of its master"
        )
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        raise InfrastructureError(
            f"the broker {shown} throws data away when its memory is full (maxmemory-policy {policy}):"
            " set maxmemory-policy to noeviction"
        )


def check_workers(cards: Sequence[Card], *, version: str) -> None:
    """Refuse workers of another version: the two might understand a task differently.

    Args:
        cards: of all workers.
        version: of this program.

    Raises:
        InfrastructureError: names the first such worker.
    """
    for card in cards:
        if card.version != version:
            raise InfrastructureError(
                f"worker {card.name} has version {card.version} of Passmuster, this is {version}:"
                " install the same version on both"
            )


def no_worker(*, shown: str, waited_s: float) -> InfrastructureError:
    """Return the error that says that no worker came within `waited_s` seconds."""
    return InfrastructureError(
        f"no worker came to the broker {shown} within {waited_s:.0f} s: start one there with"
        " python -P -m worker --broker URL --root DIR"
    )
