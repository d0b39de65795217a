"""What one run of the harness does: everything that chance decides, drawn from one seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What goes wrong."""

    KILL = "kill"  # SIGKILL of a worker
    TERM = "term"  # SIGTERM of a worker
    FREEZE = "freeze"  # SIGSTOP of a worker, SIGCONT later
    FREEZE_ALL = "freeze-all"  # the same of a worker and all that it runs: a machine that sleeps
    CUT = "cut"  # nothing gets through between a worker and the server, for a while
    RESET = "reset"  # all its connections are reset
    DELAY = "delay"  # all that it sends and gets is late, for a while
    CUT_DISPATCHER = "cut-dispatcher"
    RESET_DISPATCHER = "reset-dispatcher"
    DELAY_DISPATCHER = "delay-dispatcher"
    KILL_DISPATCHER = "kill-dispatcher"  # SIGKILL; it is started again with --resume
    CRASH = "server-crash"  # SIGKILL of the server, which comes back: with its data, where it keeps any
    REPLACE = "server-replaced"  # the same, and it comes back empty
    FLUSH = "flush"  # the server forgets everything
    FULL = "full"  # the server takes no data, for a while
    DISK_FULL = "disk-full"  # the disk below the run's folder takes nothing more, for a while
    OTHER_RUN = "other-run"  # a run of another project begins on the same machine, and comes to its end
    OTHER_RUN_KILLED = "other-run-killed"  # the same; it gets a SIGKILL in the middle
    OTHER_RUN_FROZEN = (
        "other-run-frozen"  # SIGSTOP of such a run, SIGCONT later; where there is none, one begins
    )


OF_WORKERS = (Kind.KILL, Kind.TERM, Kind.FREEZE, Kind.FREEZE_ALL, Kind.CUT, Kind.RESET, Kind.DELAY)
OF_DISPATCHERS = (
    *(Kind.CUT_DISPATCHER, Kind.RESET_DISPATCHER, Kind.DELAY_DISPATCHER),
    *(Kind.KILL_DISPATCHER, Kind.KILL_DISPATCHER),
)
OF_THE_SERVER = (Kind.CRASH, Kind.REPLACE, Kind.FLUSH, Kind.FULL)
OF_OTHER_RUNS = (Kind.OTHER_RUN, Kind.OTHER_RUN_KILLED, Kind.OTHER_RUN_FROZEN)
OF_THE_MACHINE = (*OF_OTHER_RUNS, Kind.DISK_FULL, Kind.KILL, Kind.KILL_DISPATCHER)

LASTING = (
    *(Kind.FREEZE, Kind.FREEZE_ALL, Kind.CUT, Kind.DELAY, Kind.CUT_DISPATCHER, Kind.DELAY_DISPATCHER),
    *(Kind.CRASH, Kind.REPLACE, Kind.FULL, Kind.KILL_DISPATCHER),
    *(Kind.DISK_FULL, Kind.OTHER_RUN_KILLED, Kind.OTHER_RUN_FROZEN),
)
SHORT = (Kind.CRASH, Kind.REPLACE, Kind.FULL, Kind.KILL_DISPATCHER, Kind.OTHER_RUN_KILLED)
"""Those that last a few seconds at most: everything stands still meanwhile."""

LAST_FAULT_S = 8.0


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault.

    Args:
        at_s: seconds after the run's start.
        kind: what goes wrong.
        target: which worker's place; without meaning for others.
        length_s: how long it lasts; 0: it is over at once.
    """

    at_s: float
    kind: Kind
    target: int
    length_s: float

    def __str__(self) -> str:
        length = f" for {self.length_s:.1f} s" if self.length_s else ""
        return (
            f"{self.at_s:5.2f} s  {self.kind}{f' {self.target}' if self.kind in OF_WORKERS else ''}{length}"
        )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One run.

    Args:
        seed: what it was drawn from.
        workers: how many at any time.
        slots: files at once on each.
        isolation: as the worker's argument.
        is_green: whether all files pass.
        has_poison: whether a file kills the worker that runs it.
        keeps_data: whether the server survives its crashes.
        runs: how many at the same time, 1 or 2.
        interrupt_s: when Ctrl-C ends the runs; None: they come to their end.
        abandon_s: when dispatchers and workers are killed for good, and nobody resumes the runs; None: they
            are not.
        faults: by time.
    """

    seed: int
    workers: int
    slots: int
    isolation: str
    is_green: bool
    has_poison: bool
    keeps_data: bool
    runs: int
    interrupt_s: float | None
    abandon_s: float | None
    faults: tuple[Fault, ...]

    @property
    def only_kills(self) -> bool:
        """Whether nothing goes wrong but that workers die: then the time until they are replaced counts."""
        return all(fault.kind is Kind.KILL for fault in self.faults) and self.comes_to_its_end

    @property
    def comes_to_its_end(self) -> bool:
        """Whether nobody stops the runs or kills them for good."""
        return self.interrupt_s is None and self.abandon_s is None

    def has(self, kind: Kind) -> bool:
        """Whether a fault of this kind is planned."""
        return any(fault.kind is kind for fault in self.faults)

    def __str__(self) -> str:
        words = [
            f"seed {self.seed}: {self.workers} workers of {self.slots} slots, isolation {self.isolation}",
            f"{self.runs} run(s)",
            "a server that keeps its data" if self.keeps_data else "a server without a disk",
        ]
        words += ["all files pass"] * self.is_green + ["a poisonous file"] * self.has_poison
        if self.interrupt_s is not None:
            words.append(f"Ctrl-C after {self.interrupt_s:.1f} s")
        if self.abandon_s is not None:
            words.append(f"abandoned after {self.abandon_s:.1f} s")
        return ", ".join(words) + "".join(f"\n    {fault}" for fault in self.faults)


def make_plan(seed: int) -> Plan:
    """Return the plan that belongs to a seed, always the same."""
    chance = random.Random(seed)
    workers = chance.randint(2, 4)
    keeps_data = chance.random() < 0.4
    groups = (
        (Kind.KILL,),
        OF_WORKERS,
        OF_THE_SERVER,
        OF_DISPATCHERS,
        *[OF_THE_MACHINE] * 2,
        *[tuple(Kind)] * 4,
    )
    kinds = list(chance.choice(groups))
    times = sorted(chance.uniform(0.2, LAST_FAULT_S) for _ in range(chance.randint(1, 6)))
    is_green = chance.random() < 0.25
    end = chance.random()
    return Plan(
        seed=seed,
        workers=workers,
        slots=chance.randint(1, 2),
        isolation=chance.choice(("auto", "spawn")),
        is_green=is_green,
        has_poison=not is_green and chance.random() < 0.25,
        keeps_data=keeps_data,
        runs=2 if chance.random() < 0.2 else 1,
        interrupt_s=chance.uniform(0.5, 8.0) if end < 0.1 else None,
        abandon_s=chance.uniform(0.5, 8.0) if 0.1 <= end < 0.15 else None,
        faults=tuple(_fault(chance, at_s, kinds, workers) for at_s in times),
    )


def _fault(chance: random.Random, at_s: float, kinds: list[Kind], workers: int) -> Fault:
    kind = chance.choice(kinds)
    length_s = 0.0
    if kind in LASTING:
        longest_s = 4.0 if kind in SHORT else chance.choice((6.0, 15.0))
        length_s = chance.uniform(0.2 if kind in SHORT else 1.0, longest_s)
    return Fault(at_s=at_s, kind=kind, target=chance.randrange(workers), length_s=length_s)
