"""Keeps the memory samples of a run in bounded space, however long it takes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

from msgspec import Struct, field

from dispatcher.model.events import UsageSampled

MAX_POINTS = 600
"""Points of a curve: one for each pixel of a small window. Beyond, two neighbours become one."""

MAX_MACHINES = 200
"""Machines with a curve; more are counted."""


class Sample(Struct, frozen=True):
    """The usage at one moment, or the highest of several neighbouring moments."""

    at_s: float
    """Seconds since the start of the run."""
    used_bytes: int
    budget_bytes: int
    running: int
    """How many files ran."""

    def merged(self, later: Sample) -> Sample:
        """Return one sample for two; a peak is never lost."""
        top = later if later.used_bytes > self.used_bytes else self
        budget_bytes = max(self.budget_bytes, later.budget_bytes)
        return Sample(top.at_s, top.used_bytes, budget_bytes, max(self.running, later.running))


def peak_bytes(samples: Iterable[Sample]) -> int:
    """Return the highest use of memory; 0 without samples."""
    return max((sample.used_bytes for sample in samples), default=0)


def budget_bytes(samples: Iterable[Sample]) -> int:
    """Return the highest memory budget; 0: unknown."""
    return max((sample.budget_bytes for sample in samples), default=0)


class Curve(Struct):
    """Samples in the order of time."""

    points: list[Sample] = field(default_factory=list)
    _every: int = 1
    _pending: list[Sample] = field(default_factory=list)

    def add(self, sample: Sample) -> None:
        """Add one more sample."""
        self._pending.append(sample)
        if len(self._pending) < self._every:
            return
        self.points.append(reduce(Sample.merged, self._pending))
        self._pending.clear()
        if len(self.points) > MAX_POINTS:
            self._every *= 2
            pairs = (self.points[at : at + 2] for at in range(0, len(self.points), 2))
            self.points = [reduce(Sample.merged, pair) for pair in pairs]

    def whole(self) -> tuple[Sample, ...]:
        """Return all points, including those that wait for a neighbour."""
        pending = [reduce(Sample.merged, self._pending)] if self._pending else []
        return (*self.points, *pending)


class Samples(Struct):
    """The curve of the whole run and, if there are several machines, of each machine."""

    whole: Curve = field(default_factory=Curve)
    machines: dict[str, Curve] = field(default_factory=dict)

    def add(self, event: UsageSampled) -> None:
        """Add the samples of one event."""
        usage = event.usage
        self.whole.add(Sample(event.at_s, usage.used_bytes, usage.budget_bytes, len(usage.files)))
        for worker in usage.workers:
            if worker.name in self.machines or len(self.machines) < MAX_MACHINES:
                sample = Sample(event.at_s, worker.used_bytes, worker.budget_bytes, worker.busy)
                self.machines.setdefault(worker.name, Curve()).add(sample)
