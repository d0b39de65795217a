"""In what a forked attempt at a file differs from a spawned one: `--verify-isolation`. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from msgspec import Struct

from dispatcher.plan import TestFile
from passmuster.result import TestResult
from passmuster.status import Outcome


class Difference(Struct, frozen=True, kw_only=True):
    """A file that came to something else when forked.

    Args:
        file: the file.
        texts: each difference as a phrase, at least one.
    """

    file: TestFile
    texts: tuple[str, ...]


def differences(forked: TestResult, spawned: TestResult) -> tuple[str, ...]:
    """Return every difference in the verdicts, in which tests there were, and in how each ended.

    Times and messages differ from run to run and say nothing.
    """
    return tuple(_differences(forked, spawned))


def _differences(forked: TestResult, spawned: TestResult) -> Iterator[str]:
    if forked.status is not spawned.status:
        yield f"{forked.status} when forked, {spawned.status} when spawned"
    when_forked, when_spawned = _outcomes(forked), _outcomes(spawned)
    for case_id in dict.fromkeys((*when_forked, *when_spawned)):
        before, after = when_forked.get(case_id), when_spawned.get(case_id)
        if before == after:
            continue
        if after is None:
            yield f"{case_id}: ran only when forked"
        elif before is None:
            yield f"{case_id}: ran only when spawned"
        else:
            yield f"{case_id}: {_named(before)} when forked, {_named(after)} when spawned"


def _outcomes(result: TestResult) -> dict[str, Counter[Outcome]]:
    """Return how often each test ended how: a name may stand for several (subtests, parameters)."""
    found: dict[str, Counter[Outcome]] = {}
    for case in result.cases:
        found.setdefault(case.case_id, Counter())[case.outcome] += 1
    return found


def _named(outcomes: Counter[Outcome]) -> str:
    return ", ".join(
        str(outcome) if outcomes[outcome] == 1 else f"{outcomes[outcome]} {outcome}"
        for outcome in Outcome
        if outcomes[outcome]
    )
