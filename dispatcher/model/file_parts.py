"""Combines the results of a file's parts into the result of the file. Pure.

Reporters, records, coverage, and history know only files. The parts together prove that each test ran once:
each reports a digest of the names and parameters of all tests that it collected in the file, and the
positions of those that it ran.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import chain, pairwise
from typing import TypeVar

from msgspec.structs import replace

from passmuster.model.inputs import FileInputs
from passmuster.model.result import TestResult
from passmuster.model.status import Isolation, Outcome, Status

_WORST_FIRST = (
    *(Status.CANCELLED, Status.LOST, Status.START_ERROR, Status.COLLECT_ERROR, Status.CRASH),
    *(Status.MEMORY, Status.TIMEOUT, Status.FAIL, Status.NO_TESTS, Status.PASS),
)


def join_parts(results: Sequence[TestResult]) -> TestResult:
    """Return the result of a file from one attempt at its parts, as if it had run as a whole.

    The status is the worst of the parts. If none failed but together they are not the whole file, it is
    `START_ERROR`.

    Args:
        results: of different parts, in any order; on a shard they may be only some of the file's.
    """
    ordered = sorted(results, key=lambda result: result.parts[0].part.number)
    worst = min(ordered, key=_rank)
    joined = replace(
        _with_usage(worst, ordered),
        output=_output(ordered),
        error=f"{worst.error} ({_named(worst)})" if worst.error else "",
        cases=_all(result.cases for result in ordered),
        leaked=_all(result.leaked for result in ordered),
        stacks="\n".join(result.stacks for result in ordered if result.stacks),
        coverage_files=_all(result.coverage_files for result in ordered),
        coverage_root=next((result.coverage_root for result in ordered if result.coverage_root), ""),
        stale_quarantine=tuple(dict.fromkeys(_all(result.stale_quarantine for result in ordered))),
        inputs=_inputs(ordered),
        parts=_all(result.parts for result in ordered),
    )
    seems_whole = worst.status.is_pass or worst.status is Status.NO_TESTS
    if not seems_whole or not (problem := _problem(ordered)):
        return joined
    first, *others = joined.parts
    return replace(
        joined,
        status=Status.START_ERROR,
        error=f"its parts are not the whole file: {problem}",
        parts=(replace(first, problem=problem), *others),
    )


_Item = TypeVar("_Item")


def _all(values: Iterable[tuple[_Item, ...]]) -> tuple[_Item, ...]:
    return tuple(chain.from_iterable(values))


def _with_usage(worst: TestResult, results: Sequence[TestResult]) -> TestResult:
    """Return a result with the time and the memory of the whole file.

    The time is that of all tests plus the longest start of a part. The CPU time is reduced in proportion.
    """
    tests_s = [math.fsum(case.seconds - case.shared_s for case in result.cases) for result in results]
    starts_s = [max(0.0, one.duration - own_s) for one, own_s in zip(results, tests_s, strict=True)]
    all_s = math.fsum(result.duration for result in results)
    duration_s = min(all_s, math.fsum(tests_s) + max(starts_s))
    cpu_s = [result.cpu_s for result in results if result.cpu_s is not None]
    peaks = [result.peak_bytes for result in results if result.peak_bytes is not None]
    is_forked = any(result.isolation is Isolation.FORK for result in results)
    return replace(
        worst,
        duration=duration_s,
        cpu_s=math.fsum(cpu_s) * duration_s / all_s if all_s > 0 and len(cpu_s) == len(results) else None,
        peak_bytes=max(peaks, default=None),
        started_at=min((result.started_at for result in results if result.started_at), default=0.0),
        start_delayed_by=results[0].start_delayed_by,
        output_dropped_bytes=sum(result.output_dropped_bytes for result in results),
        isolation=Isolation.FORK if is_forked else worst.isolation,
        was_alone=all(result.was_alone for result in results),
        was_extra=any(result.was_extra for result in results),
    )


def _rank(result: TestResult) -> int:
    """Return the rank of a result; the one with the lowest rank gives the file its status."""
    return -1 if result.is_evicted else _WORST_FIRST.index(result.status)


def _named(result: TestResult) -> str:
    part = result.parts[0].part
    return f"part {part.number} of {part.total}"


def _output(results: Sequence[TestResult]) -> str:
    """Return the output of all parts; a line above that of each part names the part."""
    texts = []
    for result in results:
        if result.output:
            end = "" if result.output.endswith("\n") else "\n"
            texts.append(f"----- {_named(result)} -----\n{result.output}{end}")
    return "".join(texts)


def _inputs(results: Sequence[TestResult]) -> FileInputs | None:
    """Return what the parts of a file read together; None: it is unknown for at least one part."""
    inputs = [result.inputs for result in results if result.inputs is not None]
    if len(inputs) != results[0].parts[0].part.total:
        return None

    def union(values: Iterable[tuple[_Item, ...]]) -> tuple[_Item, ...]:
        return tuple(dict.fromkeys(_all(values)))

    return FileInputs(
        read=union(one.read for one in inputs),
        absent=union(one.absent for one in inputs),
        listed=union(one.listed for one in inputs),
        modules=union(one.modules for one in inputs),
        path=union(one.path for one in inputs),
        names=union(one.names for one in inputs),
        unsure=next((one.unsure for one in inputs if one.unsure), ""),
        has_network=any(one.has_network for one in inputs),
    )


def count_skipped(results: Iterable[TestResult]) -> int:
    """Return how many tests were skipped."""
    return sum(case.outcome is Outcome.SKIPPED for result in results for case in result.cases)


def _problem(results: Sequence[TestResult]) -> str:
    """Return why parts that did not fail are not the whole file; empty: each test ran in exactly one of them.

    A part without tests is a problem too: otherwise its file could count as one without tests, and pass.
    """
    if (empty := next((one for one in results if one.status is Status.NO_TESTS), None)) is not None:
        return f"{_named(empty)} ran no test"
    runs = sorted(_all(result.parts for result in results), key=lambda run: run.part.number)
    if len({(run.collected, run.digest) for run in runs}) > 1:
        counts = sorted({run.collected for run in runs})
        what = (
            f"{counts[0]} and {counts[-1]} tests"
            if len(counts) > 1
            else "other names, other parameters, or another order"
        )
        return f"they collected different tests ({what})"
    skipped, skipped_whole = count_skipped(results), runs[0].part.skipped
    if skipped_whole is not None and skipped > skipped_whole:
        return f"they skipped {skipped} tests, the whole file {skipped_whole}"
    first, last = runs[0], runs[-1]
    is_cut_short = last.part.number == last.part.total and last.stop != last.collected
    if is_cut_short or (first.part.number == 1 and first.start != 0) or not first.digest:
        return "they left tests out"
    for one, other in pairwise(runs):
        if one.part.number + 1 == other.part.number and one.stop != other.start:
            return "they left tests out, or ran some twice"
    names = [{case.case_id for case in result.cases} for result in results]
    if len(set().union(*names)) != sum(map(len, names)):
        return "one test ran in several of them"
    return ""
