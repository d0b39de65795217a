"""`recording`: what it costs to record what each test file reads, in CPU time, beside pytest-testmon.

Runs with and without recording take turns, and each round gives one ratio: on a busy machine the CPU time of
the same run varies by several percent from minute to minute. Requires that the median ratio of each suite is
at most `MOST`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.commands.setting import Setting
from benchmarks.suites.products import PRODUCTS, ProductCopy
from benchmarks.tables import median, print_table, spread, write_json

MOST = 1.03
"""The CPU time of a run with recording, divided by that of one without."""

PEER_ROUNDS = 3
"""Rounds in which pytest-testmon runs too; its cost is so large that three tell."""

PLAIN, RECORDED = "ours, not recorded", "ours, recorded"
PYTEST, TESTMON = "pytest", "pytest-testmon, first run"


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRecord:
    """CPU seconds of a whole run of a package's tests."""

    suite: str
    way: str
    round: int
    cpu_s: float


def run(setting: Setting) -> bool:
    """Measure and print; return whether recording costs no more than it may."""
    records: list[CostRecord] = []
    for product in PRODUCTS:
        if not setting.only or product.name in setting.only:
            for record in _costs(ProductCopy(setting.cache, product), setting):
                records.append(record)
                write_json(setting.output, "recording", records)
    suites = list(dict.fromkeys(record.suite for record in records))
    print_table(
        f"Cost of recording, {setting.rounds} round(s): CPU time divided by that without it",
        ("suite", "CPU s", "with recording", "CPU s of pytest", "with pytest-testmon"),
        [
            (
                suite,
                f"{median(_seconds(records, suite, PLAIN)):.2f}",
                spread(_ratios(records, suite, RECORDED, PLAIN), 3),
                f"{median(_seconds(records, suite, PYTEST)):.2f}",
                spread(_ratios(records, suite, TESTMON, PYTEST), 3),
            )
            for suite in suites
        ],
    )
    return all(median(_ratios(records, suite, RECORDED, PLAIN)) <= MOST for suite in suites)


def _costs(copy: ProductCopy, setting: Setting) -> Iterator[CostRecord]:
    jobs = [] if setting.jobs is None else ["--jobs", str(setting.jobs)]

    def ours(*options: str) -> float:
        return copy.measure(copy.ours(*jobs, *setting.ours_options, *options)).cpu_s

    def pytest(*options: str) -> float:
        return copy.measure(copy.pytest(*options)).cpu_s

    def testmon() -> float:
        for path in copy.root.glob(".testmondata*"):
            path.unlink()
        return pytest("--testmon")

    ways: dict[str, Callable[[], float]] = {
        PLAIN: partial(ours, "--no-record-inputs"),
        RECORDED: ours,
        PYTEST: partial(pytest, "-p", "no:testmon"),
        TESTMON: testmon,
    }
    ours()
    ours()  # The second run verifies forked passes.
    for number in range(setting.rounds):
        wanted = [PLAIN, RECORDED][:: 1 if number % 2 else -1]  # What comes second finds a warmer machine.
        for way in wanted + ([PYTEST, TESTMON] if number < PEER_ROUNDS else []):
            yield CostRecord(suite=copy.product.name, way=way, round=number, cpu_s=ways[way]())


def _seconds(records: Sequence[CostRecord], suite: str, way: str) -> list[float]:
    return [record.cpu_s for record in records if (record.suite, record.way) == (suite, way)]


def _ratios(records: Sequence[CostRecord], suite: str, way: str, base: str) -> list[float]:
    """Return the ratio of each round."""
    both = zip(_seconds(records, suite, way), _seconds(records, suite, base), strict=True)
    return [one / other for one, other in both]
