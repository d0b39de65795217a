"""A file that took much more than it used to."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from dispatcher.plan import TestFile


class Measure(StrEnum):
    """What of a file is compared; the value is its name in the events, with its unit."""

    CPU = "cpu_s"
    """Processor seconds."""
    TIME = "duration_s"
    """Wall-clock seconds, of files that mostly wait, before or now, or whose processor time nobody knows."""
    MEMORY = "peak_bytes"
    """The most memory its processes used together."""


class Regression(Struct, frozen=True, kw_only=True):
    """One file that took much more of something.

    Args:
        file: the file.
        what: of what.
        baseline: what it took before, in the unit of `what`.
        now: what it took in this run.
        pace: how many times longer than before the files of this run took as a rule where this one ran: so
            much of the growth is not its own. 1 for memory.
        is_changed: whether the file was changed since it last ran.
    """

    file: TestFile
    what: Measure
    baseline: float
    now: float
    pace: float = 1.0
    is_changed: bool = False

    @property
    def factor(self) -> float:
        """How many times its usual it took, the pace of the run left out."""
        return self.now / self.pace / self.baseline
