"""Decides which long files run in parts, and where they are cut. Pure.

A file bounds a run when it alone takes longer than all files together take on all slots. Its parts are
sequences of its tests in the order in which they last ran, so that only tests at a cut lose their neighbours;
a class is never cut. Each part repeats the work outside the tests: the imports, and the fixtures of the
module and the session. A file whose parts would repeat more than they save runs as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from dispatcher.config.choices import Split
from dispatcher.config.model import TestConfig
from dispatcher.config.overrides import Overrides
from dispatcher.history.file_history import FileHistory
from dispatcher.history.test_times import TimedTest, inseparable, read_skipped, read_tests
from dispatcher.model.plan import PlannedFile, RunPlan
from passmuster.model.status import Isolation, RunnerKind
from passmuster.model.test_selection import FilePart

MIN_SAVED_S = 0.5
"""Seconds by which parts must shorten a run: predictions are no more accurate than that."""

MAX_PARTS = 64
"""Maximum number of parts of a file: shorter parts would take less time than the start of their processes."""

ALMOST = 1.03
"""With fewer parts, a run may take this many times as long as with the best number of them."""

_DIVISIBLE = frozenset({RunnerKind.AUTO, RunnerKind.PYTEST, RunnerKind.UNITTEST})


class Divisible(Struct, frozen=True, kw_only=True):
    """A file that can run in parts.

    Args:
        seconds: of the whole file.
        start_s: the seconds of it that each part takes too.
        pieces: its tests, with those added up that are not separated; at least two.
        skipped: how many of its tests were skipped.
        at_once: how many of its parts fit into the memory of the run.
    """

    seconds: float
    start_s: float
    pieces: tuple[TimedTest, ...]
    skipped: int
    at_once: int

    def parts_s(self, count: int) -> list[float]:
        """Return the seconds of each part if there are at most `count`."""
        return [self._part_s(part) for part in balance(self.pieces, count)]

    def cut(self, count: int) -> tuple[FilePart, ...]:
        """Return the parts, at most `count`."""
        parts = balance(self.pieces, count)
        firsts = ["", *(part[0].name for part in parts[1:]), ""]
        return tuple(
            FilePart(
                number=number,
                total=len(parts),
                first=firsts[number - 1],
                until=firsts[number],
                skipped=self.skipped,
                share=min(1.0, self._part_s(part) / self.seconds),
            )
            for number, part in enumerate(parts, start=1)
        )

    def _part_s(self, part: Sequence[TimedTest]) -> float:
        return self.start_s + math.fsum(piece.seconds for piece in part)


def with_parts(
    plan: RunPlan, known: Mapping[str, FileHistory], config: TestConfig, *, slots: int, budget_bytes: int
) -> RunPlan:
    """Return the plan with the parts of the files that should run in parts.

    Args:
        known: the history, by path.
        slots: how many files run at once, on all machines of the run.
        budget_bytes: the memory budget of all machines together.
    """
    asked = {config.split, *(override.split for override in config.overrides)}
    if config.verify_isolation or asked.isdisjoint((Split.AUTO, Split.FORCE)):
        return plan
    rules = Overrides(config.overrides)
    wanted = {one.file.path: rules.rule_for(one.file.path).split or config.split for one in plan.files}
    groups = dict(plan.groups)
    work_s = _work_s(plan)
    forced = {path for path, split in wanted.items() if split is Split.FORCE}
    divisible = {
        one.file.path: found
        for one in plan.files
        if wanted[one.file.path] is not Split.OFF
        and one.task.group not in groups
        and (one.file.path in forced or (one.task.predicted_s or 0.0) > work_s / slots)
        and (found := find_divisible(one, known.get(one.file.path), budget_bytes=budget_bytes)) is not None
    }
    counts = _count_parts(plan, divisible, work_s=work_s, slots=slots)
    forced &= divisible.keys()
    counts |= {path: max(2, counts.get(path, 0), min(slots, MAX_PARTS)) for path in forced}
    return replace(
        plan,
        files=tuple(
            in_parts(one, divisible[one.file.path].cut(counts[one.file.path]))
            if one.file.path in counts
            else one
            for one in plan.files
        ),
    )


def find_divisible(planned: PlannedFile, known: FileHistory | None, *, budget_bytes: int) -> Divisible | None:
    """Return where a file can be cut; None: it must run as a whole.

    It must have passed as a whole when it had the same size, in the same order of its tests. Which of its
    tests fail then never depends on where it was cut.
    """
    task, file = planned.task, planned.file
    is_usual = task.selection.is_whole_file and not task.selection.seed and not task.exclusive
    if known is None or not is_usual or task.runner not in _DIVISIBLE:
        return None
    is_same = known.last_status.is_pass and known.size_bytes == file.size_bytes
    if known.is_indivisible or not is_same:
        return None
    tests, skipped = read_tests(known.test_times), read_skipped(known.test_times)
    pieces = tuple(inseparable(tests))
    if len(pieces) < 2 or skipped is None:
        return None
    usage = known.spawned if known.spawned.runs or known.forked is None else known.forked
    tests_s = math.fsum(test.seconds for test in tests)
    start_s = max(0.0, usage.duration_s - tests_s)
    return Divisible(
        seconds=start_s + tests_s,
        start_s=start_s,
        pieces=pieces,
        skipped=skipped,
        at_once=max(1, budget_bytes // max(1, task.predicted_bytes or 0)),
    )


def balance(pieces: Sequence[TimedTest], count: int) -> list[Sequence[TimedTest]]:
    """Return at most `count` stretches of the pieces, the longest of them as short as possible."""
    low_s = max(piece.seconds for piece in pieces)
    high_s = math.fsum(piece.seconds for piece in pieces) * (1 + 1e-9)  # More than sums that are rounded.
    for _ in range(40):
        middle_s = (low_s + high_s) / 2
        if len(_fill(pieces, middle_s)) <= count:
            high_s = middle_s
        else:
            low_s = middle_s
    return _fill(pieces, high_s)


def _fill(pieces: Sequence[TimedTest], limit_s: float) -> list[Sequence[TimedTest]]:
    """Return stretches that take at most `limit_s` seconds each, unless they are a single piece."""
    cuts, taken_s = [0], 0.0
    for at, piece in enumerate(pieces):
        if at > cuts[-1] and taken_s + piece.seconds > limit_s:
            cuts.append(at)
            taken_s = 0.0
        taken_s += piece.seconds
    return [pieces[start:stop] for start, stop in zip(cuts, [*cuts[1:], len(pieces)], strict=True)]


def _work_s(plan: RunPlan) -> float:
    """Return the seconds of all files together; one that never ran takes the median of the others."""
    from statistics import median  # Importing it takes longer than a small test runs; few runs have parts.

    known_s = [one.task.predicted_s for one in plan.files if one.task.predicted_s is not None]
    usual_s = median(known_s) if known_s else 0.0
    return math.fsum(known_s) + usual_s * (len(plan.files) - len(known_s))


def _count_parts(
    plan: RunPlan, divisible: Mapping[str, Divisible], *, work_s: float, slots: int
) -> dict[str, int]:
    """Return, for the files that bound the run, into how many parts they should be cut.

    To cut one of several long files helps only if the others are cut too, so a file that turns out not to be
    worth it bounds the others.
    """
    whole_s = [one.task.predicted_s or 0.0 for one in plan.files if one.file.path not in divisible]
    left = dict(divisible)
    while True:
        shortest_s = [max(file.parts_s(_max_parts(file, slots))) for file in left.values()]
        lower_bound_s = max([*whole_s, *shortest_s], default=0.0)
        counts = _best_counts(left, work_s=work_s, lower_bound_s=lower_bound_s, slots=slots)
        uncut = [path for path, file in left.items() if path not in counts and file.seconds > lower_bound_s]
        if not uncut:
            return counts
        whole_s += [left.pop(path).seconds for path in uncut]


def _best_counts(
    files: Mapping[str, Divisible], *, work_s: float, lower_bound_s: float, slots: int
) -> dict[str, int]:
    """Return into how many parts to cut each file that is worth it; see `_best_count`."""
    counts: dict[str, int] = {}
    for path, file in sorted(files.items(), key=lambda item: (-item[1].seconds, item[0])):
        count = _best_count(file, work_s=work_s, lower_bound_s=lower_bound_s, slots=slots)
        if count > 1:
            counts[path] = count
            work_s += (count - 1) * file.start_s
    return counts


def _max_parts(file: Divisible, slots: int) -> int:
    return min(len(file.pieces), slots, file.at_once, MAX_PARTS)


def _best_count(file: Divisible, *, work_s: float, lower_bound_s: float, slots: int) -> int:
    """Return into how many parts a file should be cut; 1: it should not be.

    Args:
        work_s: the seconds of all files of the run together.
        lower_bound_s: what the run takes at least, because of the other files.
    """
    if file.seconds <= max(work_s / slots, lower_bound_s):
        return 1  # It does not bound the run.

    def run_s(count: int) -> float:
        return max((work_s + (count - 1) * file.start_s) / slots, max(file.parts_s(count)), lower_bound_s)

    runs_s = {count: run_s(count) for count in range(2, _max_parts(file, slots) + 1)}
    worthwhile = {
        count: seconds
        for count, seconds in runs_s.items()
        if file.seconds - seconds >= max(MIN_SAVED_S, (count - 1) * file.start_s)
    }
    best_s = min(worthwhile.values(), default=0.0)
    return next((count for count, seconds in worthwhile.items() if seconds <= ALMOST * best_s), 1)


def in_parts(planned: PlannedFile, parts: tuple[FilePart, ...]) -> PlannedFile:
    """Return a planned file that runs in parts.

    Unless the user chose how files start, parts are forked only if forking is known to give the same result:
    a pass in parts verifies nothing.
    """
    task = replace(planned.task, parts=parts)
    if task.isolation is Isolation.AUTO and not planned.is_fork_verified:
        task = replace(task, isolation=Isolation.SPAWN)
    return replace(planned, task=task)
