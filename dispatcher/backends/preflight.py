"""Whether the workers of a broker can hold a run, before the first file is sent.

Pure: the caller asks the broker (which `passmuster.server_check` judges) and waits. A refusal names what was
found, what is needed, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from passmuster.errors import InfrastructureError

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
