"""Builds the model of the page from the events of a run. Pure.

It uses nothing but events, so that a page made from records, even of several machines, equals the page that
the run itself makes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
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
)
from dispatcher.model.events import UsageSampled as Sampled
from dispatcher.model.results import FileAttempts, TestResults
from dispatcher.reporters.console.totals import Summary, by_path, summarize
from dispatcher.reporters.html.samples import Sample, Samples
from passmuster.model.executor import Limit
from passmuster.model.result import TestResult

CLOCKS_DIFFER_S = 5.0
"""Seconds by which an attempt's own clock may differ from the run's; beyond, that clock is wrong."""

MAX_NOTICES = 200

EARLIER_FILES = 500
"""Files that failed or are flaky of which earlier runs are shown."""

SLOWEST_FILES = 100
"""Other files of which earlier runs are read even if they always passed: more than the trends show."""

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


class ReportModel(Struct, frozen=True, kw_only=True):
    """A run as the page shows it."""

    run_id: str
    started_at: float
    limits: tuple[Limit, ...]
    results: TestResults
    summary: Summary
    records: list[FileAttempts]
    """Sorted by path."""
    bars: list[Bar]
    """Sorted by machine, slot and time."""
    earlier_bars: int
    """Attempts without a bar, because they ran before this run was resumed."""
    samples: Sequence[Sample]
    machine_samples: Mapping[str, Sequence[Sample]]
    """The samples of each machine, if there are several."""
    cause: str
    """Why the run ended before all files ran; empty: it did not."""
    notices: Sequence[tuple[float, str]]
    """Each with the seconds since the start of the run."""
    hidden_notices: int
    """How many more there were."""
    earlier_runs: Mapping[str, Sequence[EarlierRun]]
    """The earlier runs of files that failed, are flaky, are slow, or were unsteady; by path, oldest first."""
    rerun: Callable[[FileAttempts], str] | None
    """Returns the command that reruns a file; None: it is unknown."""
    machines: Mapping[str, set[int]]
    """The machines that ran files, with the slots that they used."""
    positions: Mapping[str, int]
    """The position of each file in `records`, by path."""
    start_s: float
    """The start of the charts, in seconds since the start of the run; `end_s` is never 0."""
    end_s: float

    @property
    def budget_bytes(self) -> int:
        """The highest memory budget of any time; 0: unknown."""
        return max((sample.budget_bytes for sample in self.samples), default=0)


class ReportModelBuilder(Struct):
    """Keeps what the page needs of the events: no output, which the results contain again."""

    started: RunStarted | None = None
    samples: Samples = field(default_factory=Samples)
    cause: str = ""
    notices: list[tuple[float, str]] = field(default_factory=list)
    hidden_notices: int = 0
    started_s: dict[tuple[str, int], float] = field(default_factory=dict)
    finished_s: dict[tuple[str, int], float] = field(default_factory=dict)

    def handle(self, event: RunEvent) -> None:
        """Process one event."""
        match event:
            case RunStarted():
                self.started = event
            case AttemptStarted():
                self.started_s[event.file.path, event.attempt] = event.at_s
            case AttemptFinished():
                self.finished_s[event.file.path, event.result.attempt] = event.at_s
            case Sampled():
                self.samples.add(event)
            case RunStopping():
                self.cause = self.cause or event.cause.value
            case Notice() if len(self.notices) < MAX_NOTICES:
                self.notices.append((event.at_s, event.text))
            case Notice():
                self.hidden_notices += 1
            case _:
                pass

    def build(
        self,
        finished: RunFinished,
        *,
        earlier_runs: EarlierRuns,
        rerun: Callable[[FileAttempts], str] | None = None,
    ) -> ReportModel:
        """Return the model of a finished run."""
        results = finished.results
        run_id = self.started.plan.run_id if self.started else ""
        records = by_path(results.records)
        bars, earlier = self._bars(records)
        machines: dict[str, set[int]] = defaultdict(set)
        for bar in bars:
            machines[bar.result.worker].add(bar.result.slot)
        samples = self.samples.whole.whole()
        drawn_s = [*(bar.end_s for bar in bars), *(sample.at_s for sample in samples[-1:])]
        return ReportModel(
            run_id=run_id,
            started_at=self.started.started_at if self.started else 0.0,
            limits=self.started.limits if self.started else (),
            results=results,
            summary=summarize(results),
            records=records,
            bars=bars,
            earlier_bars=earlier,
            samples=samples,
            machine_samples={name: curve.whole() for name, curve in sorted(self.samples.machines.items())},
            cause=self.cause,
            notices=self.notices,
            hidden_notices=self.hidden_notices,
            earlier_runs=_read_earlier(run_id, records, earlier_runs),
            rerun=rerun,
            machines=machines,
            positions={record.file.path: position for position, record in enumerate(records)},
            start_s=min([0.0, *(bar.start_s for bar in bars)]),
            end_s=max([results.duration_s, 0.001, *drawn_s]),
        )

    def _bars(self, records: Sequence[FileAttempts]) -> tuple[list[Bar], int]:
        bars: list[Bar] = []
        earlier = 0
        for position, record in enumerate(records):
            for result in record.attempts:
                if result.started_at <= 0:
                    continue
                span_s = self._span_s(result)
                if span_s is None:
                    earlier += 1
                    continue
                start_s, end_s = span_s
                is_verdict = result is record.final
                bars.append(
                    Bar(file=position, result=result, start_s=start_s, end_s=end_s, is_verdict=is_verdict)
                )
        return sorted(bars, key=lambda bar: (bar.result.worker, bar.result.slot, bar.start_s)), earlier

    def _span_s(self, result: TestResult) -> tuple[float, float] | None:
        """Return when an attempt started and ended, in seconds of the run; None: before its start."""
        key = (result.file_path, result.attempt)
        if result.parts and key in self.started_s and key in self.finished_s:
            # Its time is that of the whole file, and its parts ran beside each other.
            return self.started_s[key], self.finished_s[key]
        start_s = self._start_s(result)
        return None if start_s is None else (start_s, start_s + max(result.duration, 0.0))

    def _start_s(self, result: TestResult) -> float | None:
        """Return when an attempt started, in seconds since the start of the run; None: before it.

        The attempt's own clock is the most precise, unless it disagrees with the run's. In a resumed run, the
        attempts of the interrupted one finish at once, with results that are hours old.
        """
        run_started_at = self.started.started_at if self.started else 0.0
        by_its_clock = result.started_at - run_started_at
        key = (result.file_path, result.attempt)
        finished_s = self.finished_s.get(key)
        if finished_s is None:
            return max(0.0, by_its_clock)
        end_by_its_clock = by_its_clock + result.duration
        took_s = finished_s - self.started_s.get(key, finished_s)
        if end_by_its_clock < -CLOCKS_DIFFER_S and took_s < result.duration / 2:
            return None
        if by_its_clock >= -CLOCKS_DIFFER_S and end_by_its_clock <= finished_s + CLOCKS_DIFFER_S:
            return max(0.0, by_its_clock)
        return max(0.0, finished_s - result.duration)


def _read_earlier(
    run_id: str, records: Sequence[FileAttempts], earlier_runs: EarlierRuns
) -> Mapping[str, Sequence[EarlierRun]]:
    unsteady = [record.file.path for record in records if record.is_flaky or record.status.is_failure]
    slowest = nlargest(SLOWEST_FILES, records, key=lambda record: record.final.duration)
    paths = {*unsteady[:EARLIER_FILES], *(record.file.path for record in slowest)}
    return earlier_runs(run_id, paths, {record.file.path for record in records}) if records else {}


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
