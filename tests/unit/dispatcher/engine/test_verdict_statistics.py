"""Files that fail by chance make as many runs green as they do with plain pytest: no more, and no fewer.

The real loop plays each run with outcomes from a seeded generator, and remembers between runs what a history
does. Plain pytest runs every file once, and with reruns as often as these allow.
"""

from __future__ import annotations

import itertools
import math
import random

import pytest

from dispatcher.config.model import TestConfig
from dispatcher.model.results import FileAttempts, Finding, exit_code_of
from passmuster.model.status import Isolation, Status
from tests.unit.dispatcher.engine.scripted_backend import ScriptedBackend, Step, make_run, plan_of

RUNS = 200
FILES = "abcdefghij"
FAILS = 0.3
MAX_ATTEMPTS = 8
SLOTS = 3


def steps(generator: random.Random, *, first: Isolation, fails: float) -> list[Step]:
    """Return what each attempt at a file comes to; the first and the fourth are forked if they may be."""
    return [
        Step(
            status=Status.FAIL if generator.random() < fails else Status.PASS,
            isolation=first if number in (0, 3) else Isolation.SPAWN,
            was_alone=number > 0 and generator.random() < 0.5,
            seconds=1.0,
        )
        for number in range(MAX_ATTEMPTS)
    ]


def green_runs(*, retries: int, may_fork: bool) -> int:
    """Return how many of the runs are green."""
    green = 0
    spawned, failed, confirmed = set[str](), set[str](), set[str]()
    for number in range(RUNS):
        generator = random.Random(number)
        first = {
            path: Isolation.FORK if may_fork and path not in spawned | failed else Isolation.SPAWN
            for path in FILES
        }
        script = {path: steps(generator, first=first[path], fails=FAILS) for path in FILES}
        script["long"] = [Step(seconds=100.0)]
        backend = ScriptedBackend(script=script, slots=SLOTS)
        plan = plan_of(*script, confirmed="".join(confirmed), failed="".join(failed))
        results = make_run(backend, list(script), [], TestConfig(retries=retries), plan).execute()
        green += exit_code_of(results) == 0
        failed = {record.file.path for record in results.failed}
        confirmed |= {record.file.path for record in results.found(Finding.VERIFIED)}
        spawned |= {record.file.path for record in results.records if has_guilt(record)}
    return green


def has_guilt(record: FileAttempts) -> bool:
    return record.finding is not None and record.finding.must_spawn


@pytest.mark.parametrize("may_fork", [False, True], ids=["spawned", "forked"])
@pytest.mark.parametrize("retries", [0, 1, 2])
def test_the_share_of_green_runs_is_that_of_plain_pytest(retries: int, may_fork: bool) -> None:
    share = (1 - FAILS ** (retries + 1)) ** len(FILES)
    deviation = math.sqrt(RUNS * share * (1 - share))

    green = green_runs(retries=retries, may_fork=may_fork)

    assert abs(green - RUNS * share) <= 2 * deviation, (green, RUNS * share, deviation)


def test_files_that_always_pass_make_every_run_green() -> None:
    script = {path: [Step(isolation=Isolation.FORK)] for path in FILES}

    results = make_run(ScriptedBackend(script=script, slots=SLOTS), list(script), [], TestConfig()).execute()

    assert (exit_code_of(results), len(results.passed)) == (0, len(FILES))


def test_files_that_only_forking_fails_make_every_run_green_and_are_named() -> None:
    failed = Step(status=Status.FAIL, isolation=Isolation.FORK)
    guilty = [failed, Step(), Step(), failed]
    script = dict.fromkeys(FILES, guilty)

    results = make_run(ScriptedBackend(script=script, slots=SLOTS), list(script), [], TestConfig()).execute()

    assert exit_code_of(results) == 0
    assert len(results.found(Finding.FAILS_WHEN_FORKED)) == len(FILES)
    assert results.flaky == ()


LONGEST_PERIOD = 4
PERIODIC = [
    period
    for length in range(1, LONGEST_PERIOD + 1)
    for period in itertools.product((True, False), repeat=length)
]
"""Every way in which a file's attempts may pass and fail over and over again, from every phase."""

LIKE_A_PROOF = (False, True, True, False)
"""What the attempts come to of a file that fails only when forked."""


@pytest.mark.parametrize("period", PERIODIC, ids=lambda period: "".join("FP"[passes] for passes in period))
def test_files_whose_outcomes_repeat_are_green_only_if_the_first_attempt_passed(
    period: tuple[bool, ...],
) -> None:
    passes = list(itertools.islice(itertools.cycle(period), MAX_ATTEMPTS))
    script = {
        "a": [
            Step(
                status=Status.PASS if passed else Status.FAIL,
                isolation=Isolation.FORK if number in (0, 3) else Isolation.SPAWN,
            )
            for number, passed in enumerate(passes)
        ],
        "long": [Step(seconds=100.0)],
    }

    results = make_run(ScriptedBackend(script=script, slots=SLOTS), list(script), [], TestConfig()).execute()

    # Four attempts cannot tell chance from guilt where chance looks exactly like it.
    if tuple(passes[:4]) == LIKE_A_PROOF:
        assert [record.file.path for record in results.found(Finding.FAILS_WHEN_FORKED)] == ["a"]
    elif exit_code_of(results) == 0:
        assert passes[0]
    else:
        assert [record.file.path for record in results.failed] == ["a"]
    assert len(results.records[0].attempts) <= 4
