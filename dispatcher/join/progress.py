"""Tells who waits for a run that another machine leads: who that is, and once in a minute how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from passmuster.run_look import BrokerLook
from passmuster.settings.values import on_one_line

EVERY_S = 60.0


class Progress:
    """What was told.

    Args:
        client: of the broker.
        run: the run's name, for people.
        run_id: the round's id on the broker.
        say: tells the user something, a line.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        client: Any,
        run: str,
        run_id: str,
        say: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look, self._run, self._run_id = BrokerLook(client), run, run_id
        self._say, self._clock = say, clock
        self._leader = ""
        self._next_s = clock() + EVERY_S

    def tell(self, leader: str) -> None:
        """Say what is new.

        Args:
            leader: who leads; empty: nobody does at this moment.
        """
        if leader and leader != self._leader:
            self._leader = leader
            self._say(f"{on_one_line(leader)[:80]} leads run {self._run}")
        if self._clock() < self._next_s:
            return
        self._next_s = self._clock() + EVERY_S
        for run in self._look.runs():
            if run.run_id == self._run_id:
                counts = f"{run.waiting} waiting, {run.running} running, {run.done} done"
                self._say(f"run {self._run}: {counts}, {run.seconds:.0f} s since its begin")
