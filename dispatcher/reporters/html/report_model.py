"""What the page is made of: all that was told of a run, in the order in which the page shows it. Pure.

Nothing but events goes in, so that the page of a run is the same while it ends and when its events are told
again later, on another machine, together with those of other machines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

from msgspec import Struct, field

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
from dispatcher.reporters.console.totals import Summary, summarize
from dispatcher.reporters.html.samples import Sample, Samples
from passmuster.model.executor import Limit
from passmuster.model.result import TestResult
from passmuster.model.status import Status

CLOCKS_DIFFER_S = 5.0
"""Seconds by which an attempt's own clock may differ from the run's; beyond, that clock is wrong."""

MAX_NOTICES = 200

EARLIER_FILES = 500
"""Files of which the outcomes of earlier runs are shown."""

EarlierOutcomes = Callable[[str, Collection[str]], Mapping[str, Sequence[Sequence[Status]]]]
"""Given a run and paths: how the runs before it ended for each, oldest first, each with all its attempts."""


class Bar(Struct, frozen=True, kw_only=True):
    """One attempt at its place in time.

    Args:
        file: the position of its file in the page.
        result: what came of it.
        start_s: seconds from the start of the run.
        end_s: likewise.
        stands: whether it is the attempt that counts.
    """

    file: int
    result: TestResult
    start_s: float
    end_s: float
    stands: bool


class ReportModel(Struct, frozen=True, kw_only=True):
    """A run as the page tells it.

    Args:
        run_id: the run's name.
        started_at: Unix time.
        limits: what it started with.
        results: what it came to.
        summary: the same in numbers.
        records: the files, by path.
        bars: attempts, by machine, slot and time.
        earlier_bars: attempts left out of them because they ran before this run was gone on with.
        samples: memory of the whole run over time.
        machine_samples: likewise of each machine, where there are several.
        cause: why the run ended before all files ran; empty: it did not.
        notices: each with the seconds at which it was said.
        hidden_notices: how many more there were.
        outcomes: how earlier runs of some files ended.
        rerun: gives the command that runs a file again; None: nobody knows how the run was called.
        machines: the machines that ran files, with the slots they used.
        positions: where each file stands in `records`, by path.
        start_s: seconds from the start of the run to the start of what is drawn.
        end_s: likewise to its end; never 0.
    """

    run_id: str
    started_at: float
    limits: tuple[Limit, ...]
    results: TestResults
    summary: Summary
    records: tuple[FileAttempts, ...]
    bars: tuple[Bar, ...]
    earlier_bars: int
    samples: tuple[Sample, ...]
    machine_samples: Mapping[str, tuple[Sample, ...]]
    cause: str
    notices: tuple[tuple[float, str], ...]
    hidden_notices: int
    outcomes: Mapping[str, Sequence[Sequence[Status]]]
    rerun: Callable[[FileAttempts], str] | None
    machines: Mapping[str, frozenset[int]]
    positions: Mapping[str, int]
    start_s: float
    end_s: float

    @property
    def budget_bytes(self) -> int:
        """The most memory that might have been used at any time; 0: nobody said."""
        return max((sample.budget_bytes for sample in self.samples), default=0)


class ReportModelBuilder(Struct):
    """Keeps of the events what the page needs: no output, which the results have once more."""

    started: RunStarted | None = None
    samples: Samples = field(default_factory=Samples)
    cause: str = ""
    notices: list[tuple[float, str]] = field(default_factory=list)
    hidden_notices: int = 0
    began_s: dict[tuple[str, int], float] = field(default_factory=dict)
    ended_s: dict[tuple[str, int], float] = field(default_factory=dict)

    def listen(self, event: RunEvent) -> None:
        """Take note of one event."""
        match event:
            case RunStarted():
                self.started = event
            case AttemptStarted():
                self.began_s[event.file.path, event.attempt] = event.at_s
            case AttemptFinished():
                self.ended_s[event.file.path, event.result.attempt] = event.at_s
            case Sampled():
                self.samples.add(event)
            case RunStopping():
                self.cause = self.cause or event.cause.value
            case Notice():
                self._note(event)
            case _:
                pass

    def told(
        self,
        finished: RunFinished,
        *,
        outcomes: EarlierOutcomes,
        rerun: Callable[[FileAttempts], str] | None = None,
    ) -> ReportModel:
        """Return the whole, once the run is finished."""
        results = finished.results
        run_id = self.started.plan.run_id if self.started else ""
        records = tuple(sorted(results.records, key=lambda record: record.file.path))
        bars, earlier = self._bars(records)
        asked = [record.file.path for record in records if record.is_flaky or record.status.is_failure]
        asked = asked[:EARLIER_FILES]
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
            notices=tuple(self.notices),
            hidden_notices=self.hidden_notices,
            outcomes=outcomes(run_id, asked) if asked else {},
            rerun=rerun,
            machines=_machines(bars),
            positions={record.file.path: position for position, record in enumerate(records)},
            start_s=min([0.0, *(bar.start_s for bar in bars)]),
            end_s=max([results.duration_s, 0.001, *drawn_s]),
        )

    def _note(self, event: Notice) -> None:
        if len(self.notices) < MAX_NOTICES:
            self.notices.append((event.at_s, event.text))
        else:
            self.hidden_notices += 1

    def _bars(self, records: Sequence[FileAttempts]) -> tuple[tuple[Bar, ...], int]:
        bars: list[Bar] = []
        earlier = 0
        for position, record in enumerate(records):
            final = record.final
            for result in record.attempts:
                if result.started_at <= 0:
                    continue
                start_s = self._start_s(result)
                if start_s is None:
                    earlier += 1
                    continue
                bars.append(
                    Bar(
                        file=position,
                        result=result,
                        start_s=start_s,
                        end_s=start_s + max(result.duration, 0.0),
                        stands=result is final,
                    )
                )
        bars.sort(key=lambda bar: (bar.result.worker, bar.result.slot, bar.start_s))
        return tuple(bars), earlier

    def _start_s(self, result: TestResult) -> float | None:
        """Return when an attempt began, from the start of the run; None: before it.

        The attempt's own clock knows best, unless it disagrees with the run's. An attempt of a run that was
        gone on with is answered for at once, with what it came to hours before.
        """
        run_started_at = self.started.started_at if self.started else 0.0
        by_its_clock = result.started_at - run_started_at
        key = (result.file_path, result.attempt)
        ended_s = self.ended_s.get(key)
        if ended_s is None:
            return max(0.0, by_its_clock)
        end_by_its_clock = by_its_clock + result.duration
        took_s = ended_s - self.began_s.get(key, ended_s)
        if end_by_its_clock < -CLOCKS_DIFFER_S and took_s < result.duration / 2:
            return None
        if by_its_clock >= -CLOCKS_DIFFER_S and end_by_its_clock <= ended_s + CLOCKS_DIFFER_S:
            return max(0.0, by_its_clock)
        return max(0.0, ended_s - result.duration)


def _machines(bars: Sequence[Bar]) -> dict[str, frozenset[int]]:
    found: dict[str, set[int]] = {}
    for bar in bars:
        found.setdefault(bar.result.worker, set()).add(bar.result.slot)
    return {worker: frozenset(slots) for worker, slots in sorted(found.items())}


GROUPS = ("failed", "flaky", "passed", "not run", "without tests")


def file_group(record: FileAttempts) -> str:
    """Return how a file is counted in the page: each is in exactly one group."""
    if record.status.is_failure:
        return "failed"
    if record.status.is_cancelled:
        return "not run"
    if record.holds_no_tests:
        return "without tests"
    return "flaky" if record.is_flaky else "passed"


def group_counts(records: Sequence[FileAttempts]) -> Mapping[str, int]:
    """Return how many files are in each group, those without any left out."""
    counts = Counter(map(file_group, records))
    return {name: counts[name] for name in GROUPS if counts[name]}
