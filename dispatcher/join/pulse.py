"""A machine's sign of life, and the renewal of its claim while it leads: a thread that nothing holds up."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from passmuster.broker_access import UNUSABLE
from passmuster.join_record import Claim, JoinRecord
from passmuster.routing import PULSE_S


class Pulse:
    """The thread.

    Args:
        record: of the run.
        name: of this machine.
        also: is called each time that the broker was there.
    """

    def __init__(self, record: JoinRecord, name: str, also: Callable[[], None]) -> None:
        self._record, self._name, self._also = record, name, also
        self._claim: Claim | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def start(self) -> None:
        """Begin, at once with a first one."""
        self._thread.start()

    def hold(self, claim: Claim | None) -> None:
        """Renew this claim from here on; None: none."""
        self._claim = claim

    def close(self) -> None:
        """End. May be called twice."""
        self._stopped.set()
        self._thread.join(PULSE_S)

    def _run(self) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(*UNUSABLE):  # Who needs the broker sees that it is away.
                claim = self._claim
                # Whether it is lost, each change of what is led finds out by itself.
                if claim is not None:
                    self._record.renew(claim)
                self._record.pulse(self._name)
                self._also()
            self._stopped.wait(PULSE_S)
