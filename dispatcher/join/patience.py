"""Asks the broker until it answers, but not for ever: a broker that restarts is no reason to end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from passmuster.broker_access import BROKEN
from passmuster.errors import InfrastructureError
from passmuster.routing import CLAIM_MS, PULSE_S

AWAY_S = 120.0
"""Seconds that the broker may be away: as long as a run over it waits, and workers keep results."""

JUDGE_S = CLAIM_MS / 1000 + PULSE_S
"""Seconds after the broker was away, or had forgotten the run, in which who leads is waited for."""

_RETRY_S = 0.5

Answer = TypeVar("Answer")


class Patience:
    """Asks again and again, and remembers when the broker was not as it should be.

    Args:
        is_leaving: whether nobody waits for an answer any more.
        clock: seconds that never go back.
        pause: waits so many seconds.
    """

    def __init__(
        self,
        is_leaving: Callable[[], bool],
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._is_leaving, self._clock, self._pause = is_leaving, clock, pause
        self._wrong_s: float | None = None
        self._is_missing = False

    def ask(self, step: Callable[[], Answer]) -> Answer:
        """Return what a step returns that needs the broker, and that may be repeated.

        Raises:
            InfrastructureError: the broker was away for too long, or somebody asked for the end meanwhile.
        """
        began_s = self._clock()
        while True:
            try:
                return step()
            except BROKEN as error:
                self._wrong_s = self._clock()
                away_s = self._clock() - began_s
                if away_s >= AWAY_S or self._is_leaving():
                    raise InfrastructureError(
                        f"the broker has been of no use for {away_s:.0f} s: {error}; "
                        "look whether it runs and can be reached"
                    ) from error
            self._pause(_RETRY_S)

    def noticed(self, *, is_missing: bool) -> None:
        """Note whether the broker knows the run that this machine takes part in."""
        if is_missing and not self._is_missing:
            self._wrong_s = self._clock()
        self._is_missing = is_missing

    def may_judge(self) -> bool:
        """Whether the broker has been there for long enough that who leads could have renewed its claim."""
        return self._wrong_s is None or self._clock() - self._wrong_s >= JUDGE_S
