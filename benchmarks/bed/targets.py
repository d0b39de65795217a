"""What the measured runs are to show, and whether they do. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.bed.summary import Row, SuiteSummary
from benchmarks.tables import MB, megabytes

PANDAS_SUITES = ("pandas-series", "pandas-series-without-bytecode")
IMPORT_SUITES = ("scikit-learn", "scipy", "sympy", "pydantic", "djangorestframework", "attrs", "starlette")
"""Suites in which most of a file's time passes before its first test."""

XDIST = ("xdist-load", "xdist-loadfile", "xdist-worksteal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One figure that is to be reached.

    Args:
        suite: the suite.
        runner: the runner of ours.
        against: peers, the fastest of which counts; none: `figure` is taken of ours alone.
        figure: what is compared, or what must be kept.
        what: what the figure is, for people.
        at_most: the most that it may be: a ratio where there are peers, else in the figure's unit.
        against_suite: the suite in which `against` ran; empty: the same.
    """

    suite: str
    runner: str
    against: tuple[str, ...] = ()
    figure: Callable[[Row], float | None] = lambda row: row.wall_s.median
    what: str = "wall"
    at_most: float
    against_suite: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A target and what was measured.

    Args:
        target: the target.
        against: the peer that counted; empty: there is none.
        value: what was measured; None: it was not.
        is_same: whether all outcomes of ours were the reference's.
        peak_bytes: the most memory of ours; None: it was not measured.
        against_peak_bytes: the same of the peer; None: there is none.
    """

    target: Target
    against: str
    value: float | None
    is_same: bool
    peak_bytes: float | None = None
    against_peak_bytes: float | None = None

    @property
    def verdict(self) -> str:
        """Whether it is met, for people."""
        if self.value is None:
            return "not measured"
        if not self.is_same:
            return "outcomes differ"
        return "met" if self.value <= self.target.at_most else f"missed by {self.missed_by:.0%}"

    @property
    def missed_by(self) -> float:
        """How far the value is beyond what it may be, as a share of that."""
        return (self.value or 0.0) / self.target.at_most - 1


def _versus(suite: str, runner: str, against: str, at_most: float) -> Target:
    return Target(suite=suite, runner=runner, against=(against,), at_most=at_most)


TARGETS = (
    _versus("trivial", "ours-auto", "unlimited", 0.20),
    Target(
        suite="trivial",
        runner="ours-auto",
        figure=lambda row: row.own_cpu_ms,
        what="own CPU, ms a file",
        at_most=5.0,
    ),
    Target(
        suite="trivial",
        runner="ours-auto",
        figure=lambda row: row.peak_bytes / MB,
        what="peak memory, MB",
        at_most=40.0,
    ),
    _versus("trivial", "ours-spawn", "xargs", 1.05),
    _versus("trivial-pytest", "ours-auto", "pytest", 2.0),
    Target(suite="trivial-pytest", runner="ours-auto", against=XDIST, at_most=1.3),
    _versus("trivial-pytest-1000", "ours-auto", "pytest", 2.0),
    Target(suite="trivial-pytest-1000", runner="ours-auto", against=XDIST, at_most=1.3),
    Target(
        suite="trivial-pytest-1000",
        runner="ours-auto",
        against=("ours-auto",),
        against_suite="trivial-pytest",
        figure=lambda row: row.wall_s.median / row.files,
        what="wall a file",
        at_most=1.1,
    ),
    *(
        Target(suite=suite, runner="ours-auto", against=XDIST, at_most=0.85)
        for suite in (*IMPORT_SUITES, "networkx")
    ),
    _versus("pandas-series", "ours-auto", "xdist-loadfile", 0.70),
    _versus("pandas-series", "ours-auto", "pytest", 0.80),
    _versus("pandas-series-without-bytecode", "ours-auto", "xdist-loadfile", 0.75),
    *(
        Target(
            suite=suite,
            runner="ours-auto",
            against=("pytest",),
            figure=lambda row: row.cpu_s.median,
            what="CPU",
            at_most=1.35,
        )
        for suite in (*PANDAS_SUITES, *IMPORT_SUITES, "click", "werkzeug", "networkx", "sqlalchemy")
    ),
    _versus("heavy", "ours-auto", "unlimited", 0.38),
    Target(suite="heavy", runner="ours-auto", figure=lambda row: row.of_bound, what="x bound", at_most=1.05),
    _versus("heavy", "ours-auto-first", "ours-auto", 1.15),
    _versus("cpython", "ours-auto", "unlimited", 0.75),
    _versus("cpython", "ours-auto", "regrtest", 0.55),
    Target(suite="click", runner="ours-auto", against=XDIST, at_most=0.45),
    Target(suite="werkzeug", runner="ours-auto", against=XDIST, at_most=0.75),
    *(_versus(suite, "ours-auto", "pytest-zygote", 1.0) for suite in ("click", "werkzeug")),
    _versus("click", "ours-auto", "rstest", 0.70),
    _versus("werkzeug", "ours-auto", "rstest", 0.95),
    _versus("jinja2-coverage", "ours-auto", "coverage-append", 0.38),
    _versus("networkx", "ours-auto-preload", "xdist-loadfile", 0.9),
    _versus("sqlalchemy", "ours-auto", "xdist-loadfile", 0.7),
)


def judge(summaries: Sequence[SuiteSummary], targets: Sequence[Target] = TARGETS) -> tuple[Judged, ...]:
    """Return what became of each target.

    A peer counts with what it took, also where crowding cost it tests; ours must have run everything.
    """
    rows = {(summary.suite, row.runner): row for summary in summaries for row in summary.rows}
    return tuple(_judge(target, rows) for target in targets)


def _judge(target: Target, rows: dict[tuple[str, str], Row]) -> Judged:
    mine = rows.get((target.suite, target.runner))
    value = None if mine is None else target.figure(mine)
    if mine is None or value is None:
        return Judged(target=target, against="", value=None, is_same=True)
    if not target.against:
        return Judged(
            target=target, against="", value=value, is_same=not mine.differing, peak_bytes=mine.peak_bytes
        )
    suite = target.against_suite or target.suite
    peers = [rows[suite, name] for name in target.against if (suite, name) in rows]
    told = [(figure, peer) for peer in peers if (figure := target.figure(peer))]
    if not told:
        return Judged(target=target, against="", value=None, is_same=True)
    least, best = min(told, key=lambda pair: pair[0])
    return Judged(
        target=target,
        against=best.runner,
        value=value / least,
        is_same=not mine.differing,
        peak_bytes=mine.peak_bytes,
        against_peak_bytes=best.peak_bytes,
    )


def target_cells(judged: Judged) -> list[str]:
    """Return a target as the cells of a table."""
    target = judged.target
    name = judged.against or " or ".join(target.against) or "-"
    if target.against_suite:
        name = f"{name}, {target.against_suite}"
    value = "-" if judged.value is None else f"{judged.value:.2f}"
    peaks = [megabytes(judged.peak_bytes), megabytes(judged.against_peak_bytes)]
    limit = f"{target.at_most:.2f}"
    return [target.suite, target.runner, target.what, name, value, limit, judged.verdict, *peaks]


TARGET_HEAD = (
    *("suite", "runner", "what", "against", "value", "at most", "verdict"),
    *("peak MB", "peer's peak MB"),
)
