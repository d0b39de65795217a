"""How often memory is looked at: what looks have cost and how late they came, and what follows from that.

`worker.memory_governor` tells what each look took; `worker.memory_policy` holds the arithmetic.
"""

from __future__ import annotations

from msgspec import Struct

from worker.memory_policy import COST_RATIO, MAX_TICK_S, MIN_TICK_S, REACTION_S, next_look_s


class LookPace(Struct):
    """What is known of past looks. All in seconds.

    Args:
        late_s: how late looks come and how long they wait for a CPU, because the machine is busy.
        cost_s: CPU time of a look, without what the probes ration by themselves.
    """

    late_s: float = 0.0
    cost_s: float = 0.0

    def woken(self, late_s: float) -> None:
        """Take note of how late a look began: what is decided must look as far ahead as that."""
        self.late_s = min(MAX_TICK_S, max(late_s, self.late_s * 0.9))

    def looked(self, *, wall_s: float, cpu_s: float, dear_s: float, urgent_s: float) -> None:
        """Take note of what a look took.

        Args:
            wall_s: from its begin to its end, without the time for which files were held still.
            cpu_s: CPU time of it all.
            dear_s: the part of it that went into exact figures; the probes ration that by themselves.
            urgent_s: the part of that which was asked for in need: as long again is wait enough for it.
        """
        self.cost_s = min(MAX_TICK_S, max(0.0, cpu_s - dear_s) + urgent_s / COST_RATIO)
        # What a look took beyond its CPU time it waited for a CPU, and so will the next one.
        self.late_s = min(MAX_TICK_S, max(self.late_s, wall_s - cpu_s))

    def horizon_s(self, *, price_s: float) -> float:
        """Return how far ahead to look when deciding; `price_s` is what exact figures would take."""
        return max(MIN_TICK_S, COST_RATIO * self.cost_s) + price_s + REACTION_S + self.late_s

    def wait_s(
        self, *, spare_bytes: int, growth_bytes_per_s: float, youngest_s: float, look_s: float
    ) -> float:
        """Return the seconds until the next look; `look_s` is how long this one took."""
        return next_look_s(
            spare_bytes=spare_bytes,
            growth_bytes_per_s=growth_bytes_per_s,
            youngest_s=youngest_s,
            cost_s=self.cost_s,
            # What was measured is as old as the look was long, and the next one will be as long.
            lag_s=2 * look_s + self.late_s,
        )
