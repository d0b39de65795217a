"""Keeps what was sampled of memory while a run goes on, in bounded space however long it takes. Pure."""

from __future__ import annotations

from msgspec import Struct, field

from dispatcher.model.events import UsageSampled

MAX_POINTS = 600
"""Points of a curve: one for each pixel of a small window. Beyond, two neighbours become one."""

MAX_MACHINES = 200
"""Machines of which a curve is kept. More are counted."""


class Sample(Struct, frozen=True, kw_only=True):
    """What was in use at one moment, or the most of several neighbouring ones.

    Args:
        at_s: seconds since the start of the run.
        used_bytes: memory in use.
        budget_bytes: what might have been used.
        running: files that ran.
    """

    at_s: float
    used_bytes: int
    budget_bytes: int
    running: int

    def merged(self, later: Sample) -> Sample:
        """Return one sample for two; a peak is never lost."""
        top = later if later.used_bytes > self.used_bytes else self
        return Sample(
            at_s=top.at_s,
            used_bytes=top.used_bytes,
            budget_bytes=max(self.budget_bytes, later.budget_bytes),
            running=max(self.running, later.running),
        )


class Curve(Struct):
    """Samples in the order of time."""

    points: list[Sample] = field(default_factory=list)
    _every: int = 1
    _pending: list[Sample] = field(default_factory=list)

    def add(self, sample: Sample) -> None:
        """Take one more sample."""
        self._pending.append(sample)
        if len(self._pending) < self._every:
            return
        self.points.append(_merged(self._pending))
        self._pending.clear()
        if len(self.points) > MAX_POINTS:
            self._every *= 2
            self.points = [_merged(self.points[at : at + 2]) for at in range(0, len(self.points), 2)]

    def whole(self) -> tuple[Sample, ...]:
        """Return all points, those that wait for a neighbour included."""
        return (*self.points, _merged(self._pending)) if self._pending else tuple(self.points)


class Samples(Struct):
    """The curve of the whole run and, where there are several, of each machine."""

    whole: Curve = field(default_factory=Curve)
    machines: dict[str, Curve] = field(default_factory=dict)

    def add(self, event: UsageSampled) -> None:
        """Take note of one event."""
        usage = event.usage
        self.whole.add(
            Sample(
                at_s=event.at_s,
                used_bytes=usage.used_bytes,
                budget_bytes=usage.budget_bytes,
                running=len(usage.files),
            )
        )
        for worker in usage.workers:
            if worker.name not in self.machines and len(self.machines) >= MAX_MACHINES:
                continue
            self.machines.setdefault(worker.name, Curve()).add(
                Sample(
                    at_s=event.at_s,
                    used_bytes=worker.used_bytes,
                    budget_bytes=worker.budget_bytes,
                    running=worker.busy,
                )
            )


def _merged(samples: list[Sample]) -> Sample:
    merged = samples[0]
    for sample in samples[1:]:
        merged = merged.merged(sample)
    return merged
