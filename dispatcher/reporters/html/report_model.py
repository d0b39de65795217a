"""Builds the model of the page from the events of a run. Pure.

It uses nothing but events, so that a page made from records, even of several machines, equals the page that
the run itself makes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property, reduce
from heapq import nlargest

from msgspec import Struct, field

from dispatcher.history.file_history import EarlierRun
from dispatcher.model.events import (
    AttemptFinished,
    AttemptStarted,
    Notice,
    RunEvent,
    RunFinished,
    RunStarted,
    RunStopping,
    UsageSampled,
)
from dispatcher.model.results import FileAttempts, TestResults
from dispatcher.reporters.console.line_reporter import RerunCommand
from dispatcher.reporters.console.totals import Summary, by_path, summarize
from passmuster.model.executor import Limit
from passmuster.model.result import TestResult

CLOCKS_DIFFER_S = 5.0
"""Seconds by which an attempt's own clock may differ from the run's; beyond, that clock is wrong."""

MAX_NOTICES = 200

EARLIER_FILES = 500
"""Files that failed or are flaky of which earlier runs are shown."""

SLOWEST_FILES = 100
"""Other files of which earlier runs are read even if they always passed: more than the trends show."""

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


EarlierRuns = Callable[[str, Collection[str], Collection[str]], Mapping[str, Sequence[EarlierRun]]]
"""Returns, for a run, paths, and paths of which only the unsteady ones matter, the earlier runs of each file,
oldest first."""


class Bar(Struct, frozen=True, kw_only=True):
    """One attempt in the timeline; the instants are seconds since the start of the run."""

    file: int
    """The position of its file in the page."""
    result: TestResult
    start_s: float
    end_s: float
    is_verdict: bool


class ReportModel:
    """A run as the page shows it: receives its events, and is complete after the last.

    It keeps no output: the results contain it.
    """

    def __init__(self, earlier_runs: EarlierRuns, rerun: RerunCommand) -> None:
        self._read_earlier, self.rerun = earlier_runs, rerun
        self.run_id = ""
        self.started_at = 0.0
        self.limits: tuple[Limit, ...] = ()
        self.results = TestResults(records=(), duration_s=0.0)
        self.cause = ""
        """Why the run ended before all files ran; empty: it did not."""
        self.notices: list[tuple[float, str]] = []
        """Each with the seconds since the start of the run."""
        self.hidden_notices = 0
        """How many more there were."""
        self._samples = Samples()
        self._started_s: dict[tuple[str, int], float] = {}
        self._finished_s: dict[tuple[str, int], float] = {}

    def handle(self, event: RunEvent) -> None:
        """Process one event."""
        match event:
            case RunStarted():
                self.run_id, self.started_at = event.plan.run_id, event.started_at
                self.limits = event.limits
            case AttemptStarted():
                self._started_s[event.file.path, event.attempt] = event.at_s
            case AttemptFinished():
                self._finished_s[event.file.path, event.result.attempt] = event.at_s
            case UsageSampled():
                self._samples.add(event)
            case RunStopping():
                self.cause = self.cause or event.cause.value
            case Notice() if len(self.notices) < MAX_NOTICES:
                self.notices.append((event.at_s, event.text))
            case Notice():
                self.hidden_notices += 1
            case RunFinished():
                self.results = event.results
            case _:
                pass

    @cached_property
    def summary(self) -> Summary:
        """The totals of the run."""
        return summarize(self.results)

    @cached_property
    def records(self) -> list[FileAttempts]:
        """All files, sorted by path."""
        return by_path(self.results.records)

    @cached_property
    def positions(self) -> Mapping[str, int]:
        """The position of each file in `records`, by path."""
        return {record.file.path: position for position, record in enumerate(self.records)}

    @cached_property
    def bars(self) -> list[Bar]:
        """The attempts in the timeline, sorted by machine, slot and time."""
        bars = [
            Bar(file=at, result=one, start_s=span[0], end_s=span[1], is_verdict=one is record.final)
            for at, record in enumerate(self.records)
            for one in record.attempts
            if one.started_at > 0 and (span := self._span_s(one)) is not None
        ]
        return sorted(bars, key=lambda bar: (bar.result.worker, bar.result.slot, bar.start_s))

    @property
    def earlier_bars(self) -> int:
        """Attempts without a bar, because they ran before this run was resumed."""
        ran = (one.started_at > 0 for record in self.records for one in record.attempts)
        return sum(ran) - len(self.bars)

    @cached_property
    def machines(self) -> Mapping[str, set[int]]:
        """The machines that ran files, with the slots that they used."""
        machines: dict[str, set[int]] = defaultdict(set)
        for bar in self.bars:
            machines[bar.result.worker].add(bar.result.slot)
        return machines

    @cached_property
    def samples(self) -> Sequence[Sample]:
        """The usage over the whole run."""
        return self._samples.whole.whole()

    @cached_property
    def machine_samples(self) -> Mapping[str, Sequence[Sample]]:
        """The samples of each machine, if there are several."""
        return {name: curve.whole() for name, curve in sorted(self._samples.machines.items())}

    @cached_property
    def earlier_runs(self) -> Mapping[str, Sequence[EarlierRun]]:
        """The earlier runs of files that failed, are flaky, slow, or were unsteady; by path, oldest first."""
        if not self.records:
            return {}
        unsteady = [one.file.path for one in self.records if one.is_flaky or one.status.is_failure]
        slowest = nlargest(SLOWEST_FILES, self.records, key=lambda record: record.final.duration)
        paths = {*unsteady[:EARLIER_FILES], *(record.file.path for record in slowest)}
        return self._read_earlier(self.run_id, paths, self.positions.keys())

    @property
    def start_s(self) -> float:
        """The start of the charts, in seconds since the start of the run."""
        return min([0.0, *(bar.start_s for bar in self.bars)])

    @property
    def end_s(self) -> float:
        """Their end, which is never 0."""
        drawn_s = [*(bar.end_s for bar in self.bars), *(sample.at_s for sample in self.samples[-1:])]
        return max([self.results.duration_s, 0.001, *drawn_s])

    @property
    def budget_bytes(self) -> int:
        """The highest memory budget of any time; 0: unknown."""
        return budget_bytes(self.samples)

    def _span_s(self, result: TestResult) -> tuple[float, float] | None:
        """Return when an attempt started and ended, in seconds of the run; None: before its start."""
        key = (result.file_path, result.attempt)
        if result.parts and key in self._started_s and key in self._finished_s:
            # Its time is that of the whole file, and its parts ran beside each other.
            return self._started_s[key], self._finished_s[key]
        start_s = self._start_s(result)
        return None if start_s is None else (start_s, start_s + max(result.duration, 0.0))

    def _start_s(self, result: TestResult) -> float | None:
        """Return when an attempt started, in seconds since the start of the run; None: before it.

        The attempt's own clock is the most precise, unless it disagrees with the run's. In a resumed run, the
        attempts of the interrupted one finish at once, with results that are hours old.
        """
        by_its_clock = result.started_at - self.started_at
        key = (result.file_path, result.attempt)
        finished_s = self._finished_s.get(key)
        if finished_s is None:
            return max(0.0, by_its_clock)
        end_by_its_clock = by_its_clock + result.duration
        took_s = finished_s - self._started_s.get(key, finished_s)
        if end_by_its_clock < -CLOCKS_DIFFER_S and took_s < result.duration / 2:
            return None
        if by_its_clock >= -CLOCKS_DIFFER_S and end_by_its_clock <= finished_s + CLOCKS_DIFFER_S:
            return max(0.0, by_its_clock)
        return max(0.0, finished_s - result.duration)


GROUPS = ("failed", "flaky", "passed", "not run", "without tests")


def file_group(record: FileAttempts) -> str:
    """Return the group in which the page counts a file; each is in exactly one."""
    if record.status.is_failure:
        return "failed"
    if record.status.is_cancelled:
        return "not run"
    if record.holds_no_tests:
        return "without tests"
    return "flaky" if record.is_flaky else "passed"


def group_counts(records: Sequence[FileAttempts]) -> Mapping[str, int]:
    """Return how many files each group has; groups without files are left out."""
    counts = Counter(map(file_group, records))
    return {name: counts[name] for name in GROUPS if counts[name]}
