"""What `benchmarks.run machine` records, and how its file is read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OURS, XDIST = "passmuster", "pytest-xdist"
RUNNERS = (OURS, XDIST)


@dataclass(frozen=True, slots=True, kw_only=True)
class AtOnce:
    """One measurement of runs of a suite that start together.

    Args:
        runner: `passmuster` or `pytest-xdist`.
        suite: its name.
        runs: how many start together.
        wall_s: seconds until all have ended.
        serial_s: seconds that as many runs take one after the other: the mean of a run alone just before and
            one just after, times their number; None: not measured.
        mean_s: mean of the seconds until a run has ended.
        cpu_s: processor seconds of all runs.
        alone_cpu_s: those of one run alone, as the mean of `serial_s` has them; None: not measured.
        fairness: Jain's index of the runs' speeds: 1 where all took the same time, 1 / runs at worst.
        peak_bytes: the highest memory of all runs together, see `benchmarks.measure`.
        budget_bytes: what the files of all runs may use by the default of `--machine-memory`.
        limit_bytes: hard limit of their control group; None: none.
        runnable: processes of these runs that wanted a processor, on average.
        load: the machine's load average of one minute just before.
        oom_kills: processes that the kernel killed for want of memory; None: not known.
        failed: runs that did not end with exit status 0.
    """

    runner: str
    suite: str
    runs: int
    wall_s: float
    serial_s: float | None
    mean_s: float
    cpu_s: float
    alone_cpu_s: float | None
    fairness: float
    peak_bytes: int
    budget_bytes: int
    limit_bytes: int | None
    runnable: float
    load: float
    oom_kills: int | None
    failed: int

    @property
    def ratio(self) -> float | None:
        """Seconds until all have ended, against the same runs one after the other."""
        return None if self.serial_s is None else self.wall_s / self.serial_s

    @property
    def cpu_ratio(self) -> float | None:
        """Processor seconds of a run among the others, against a run alone."""
        return None if self.alone_cpu_s is None else self.cpu_s / self.runs / self.alone_cpu_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """One measurement of the small suite while long runs go on.

    Args:
        runner: of all of them.
        long_runs: how many long runs.
        wall_s: seconds that the small suite took.
        alone_s: seconds that it took alone, just before.
        alone_cpu_s: processor seconds that it took alone.
        busy_cpus: processors that the long runs and the small suite kept busy together while that ran: all of
            them on a machine that does nothing else.
        start_s: seconds from its command to its `run-started` event; None: the runner writes none.
        first_file_s: seconds from there to its first `file-started` event.
        load: the machine's load average of one minute before the long runs started.
        failed: whether the small suite did not end with exit status 0.
    """

    runner: str
    long_runs: int
    wall_s: float
    alone_s: float
    alone_cpu_s: float
    busy_cpus: float
    start_s: float | None
    first_file_s: float | None
    load: float
    failed: bool

    @property
    def fair_s(self) -> float:
        """Seconds that its fair share allows: one part for each run of what all had together.

        As long as alone where it needs no more than that part. What other programs take is nobody's share.
        """
        return max(self.alone_s, self.alone_cpu_s * (self.long_runs + 1) / self.busy_cpus)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """A recorded session.

    Args:
        at: when, as ISO 8601.
        python: the version of Python of all runs.
        cpus: processors.
        memory_bytes: of the machine.
        at_once: runs that start together.
        beside: a small suite beside long runs.
    """

    at: str
    python: str
    cpus: int
    memory_bytes: int
    at_once: tuple[AtOnce, ...]
    beside: tuple[Beside, ...]


def read_figures(path: Path) -> Figures:
    """Return what a file of `tables.write_json` holds."""
    document: dict[str, Any] = json.loads(path.read_text())
    records = document["records"]
    return Figures(
        at=document["at"],
        python=document["python"],
        cpus=document["cpus"],
        memory_bytes=document["memory_bytes"],
        at_once=tuple(AtOnce(**record) for record in records if "runs" in record),
        beside=tuple(Beside(**record) for record in records if "long_runs" in record),
    )
