"""`recording`: what it costs to record what each test file reads, in CPU time, beside pytest-testmon.

Runs with and without recording take turns, and each round gives one ratio: on a busy machine the CPU time of
the same run varies by several percent from minute to minute. Requires that the median ratio of each suite is
at most `MOST`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.bed.suites import SUITES, Place
from benchmarks.commands.setting import Setting
from benchmarks.measure import measure, plain_environment
from benchmarks.ours import our_command
from benchmarks.suites.products import PRODUCTS, ProductCopy
from benchmarks.tables import median, print_table, spread, write_json

MOST = 1.03
"""The CPU time of a run with recording, divided by that of one without."""

PEER_ROUNDS = 3
"""Rounds in which pytest-testmon runs too; its cost is so large that three tell."""

TRIVIAL = ("trivial", "trivial-pytest")
"""Suites of the test bed that measure nothing but the start of files. pytest-testmon does not run them."""

PLAIN, RECORDED = "ours, not recorded", "ours, recorded"
PYTEST, TESTMON = "pytest", "pytest-testmon, first run"


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRecord:
    """CPU seconds of a whole run of a suite's tests."""

    suite: str
    way: str
    round: int
    cpu_s: float


def run(setting: Setting) -> bool:
    """Measure and print; return whether recording costs no more than it may."""
    records: list[CostRecord] = []
    names = [*TRIVIAL, *(product.name for product in PRODUCTS)]
    for name in names:
        if not setting.only or name in setting.only:
            for record in _costs(name, setting):
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
                *(
                    (
                        f"{median(_seconds(records, suite, PYTEST)):.2f}",
                        spread(_ratios(records, suite, TESTMON, PYTEST), 3),
                    )
                    if suite not in TRIVIAL
                    else ("-", "-")
                ),
            )
            for suite in suites
        ],
    )
    return all(median(_ratios(records, suite, RECORDED, PLAIN)) <= MOST for suite in suites)


def _costs(name: str, setting: Setting) -> Iterator[CostRecord]:
    """Yield what each way costs in each round, after two runs that verify forked passes."""
    jobs = [] if setting.jobs is None else ["--jobs", str(setting.jobs)]
    usual = [*jobs, *setting.ours_options]
    ways = _trivial_ways(name, setting, usual) if name in TRIVIAL else _product_ways(name, setting, usual)
    for _ in range(2):
        ways[RECORDED]()
    for number in range(setting.rounds):
        # What comes second finds a warmer machine.
        wanted = [PLAIN, RECORDED] if number % 2 else [RECORDED, PLAIN]
        peers = [way for way in (PYTEST, TESTMON) if way in ways and number < PEER_ROUNDS]
        for way in wanted + peers:
            yield CostRecord(suite=name, way=way, round=number, cpu_s=ways[way]())


_Ways = dict[str, Callable[[], float]]


def _trivial_ways(name: str, setting: Setting, usual: Sequence[str]) -> _Ways:
    suite = SUITES[name].prepare(Place(cache=setting.cache, work=setting.work, seed=setting.seed))

    def ours(*options: str) -> float:
        command = our_command(
            suite.root,
            interpreter=suite.interpreter,
            events=setting.work / "recording.jsonl",
            options=["--runner", suite.kind.value, *usual, *options],
            paths=suite.files,
        )
        measured = measure(
            command,
            cwd=suite.root,
            environment=plain_environment(),
            output=setting.work / "recording.log",
            with_memory=False,
        )
        return measured.cpu_s

    return {PLAIN: partial(ours, "--no-record-inputs"), RECORDED: ours}


def _product_ways(name: str, setting: Setting, usual: Sequence[str]) -> _Ways:
    copy = ProductCopy(setting.cache, next(one for one in PRODUCTS if one.name == name))
    copy.forget()

    def measured(command: Sequence[str]) -> float:
        return copy.measure(command).cpu_s

    def testmon() -> float:
        copy.forget()
        return measured(copy.pytest("--testmon"))

    return {
        PLAIN: lambda: measured(copy.ours(*usual, "--no-record-inputs")),
        RECORDED: lambda: measured(copy.ours(*usual)),
        PYTEST: lambda: measured(copy.pytest("-p", "no:testmon")),
        TESTMON: testmon,
    }


def _seconds(records: Sequence[CostRecord], suite: str, way: str) -> list[float]:
    return [record.cpu_s for record in records if (record.suite, record.way) == (suite, way)]


def _ratios(records: Sequence[CostRecord], suite: str, way: str, base: str) -> list[float]:
    """Return the ratio of each round."""
    both = zip(_seconds(records, suite, way), _seconds(records, suite, base), strict=True)
    return [one / other for one, other in both]
