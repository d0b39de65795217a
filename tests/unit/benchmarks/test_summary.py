"""Medians, ratios to the base and lower bounds."""

from __future__ import annotations

import pytest

from benchmarks.bed.summary import Spread, faster_peers, lower_bound_s, summarise
from tests.unit.benchmarks.beds import a_ledger, a_run, verdict


def test_ratios_are_of_medians_and_their_range_is_of_the_same_rounds() -> None:
    walls = {"unlimited": (10.0, 20.0, 30.0), "ours-auto": (4.0, 10.0, 9.0)}
    runs = [
        a_run(name, round=number, wall_s=walls[name][number - 1]) for number in (1, 2, 3) for name in walls
    ]

    (summary,) = summarise(a_ledger(*runs), base="unlimited")

    unlimited, ours = summary.rows
    assert ours.wall_s == Spread(median=9.0, least=4.0, most=10.0)
    assert ours.ratio == pytest.approx(9 / 20)
    assert ours.ratio_of_rounds == Spread(median=0.4, least=0.3, most=0.5)
    assert unlimited.ratio == 1.0
    assert (ours.rounds, ours.differing) == (3, 0)


def test_a_suite_without_the_base_refers_to_its_first_runner() -> None:
    ledger = a_ledger(a_run("pytest", suite="click"), a_run("unlimited"), a_run("pytest"))

    bases = {summary.suite: summary.base for summary in summarise(ledger, base="unlimited")}

    assert bases == {"click": "pytest", "small": "unlimited"}


@pytest.mark.parametrize(
    ("cpu_s", "longest_s", "bound_s"), [(10.0, 3.0, 5.0), (10.0, 7.0, 7.0), (10.0, None, 5.0)]
)
def test_the_lower_bound_is_cpu_by_cores_or_the_longest_file(
    cpu_s: float, longest_s: float | None, bound_s: float
) -> None:
    assert lower_bound_s(cpu_s=cpu_s, cores=2, longest_s=longest_s) == bound_s


def test_the_longest_file_is_the_least_that_any_run_tells_and_binds_who_splits_no_file() -> None:
    ledger = a_ledger(
        a_run("unlimited", cpu_s=2.0, wall_s=8.0),
        a_run("ours-auto", verdict(longest_s=5.0), cpu_s=2.0, wall_s=6.0),
        a_run("ours-auto", verdict(longest_s=4.0), cpu_s=2.0, wall_s=4.4, round=2),
        a_run("xdist-load", cpu_s=2.0, wall_s=2.0, isolates=False),
    )

    (summary,) = summarise(ledger, base=None)

    assert {row.runner: row.bound_s for row in summary.rows} == {
        "unlimited": 4.0,
        "ours-auto": 4.0,
        "xdist-load": 1.0,
    }
    assert [row.of_bound for row in summary.rows] == pytest.approx([2.0, 1.3, 2.0])


def test_own_cpu_is_what_the_files_did_not_take() -> None:
    run = a_run("ours-auto", verdict(files_cpu_s=0.9), cpu_s=1.0, files=20)

    (summary,) = summarise(a_ledger(a_run("xargs", files=20), run), base=None)

    assert [row.own_cpu_ms for row in summary.rows] == [None, pytest.approx(5.0)]


def test_a_run_with_another_outcome_is_counted_and_named() -> None:
    ledger = a_ledger(a_run("pytest"), a_run("rstest"), a_run("rstest", verdict(2), round=2))

    (summary,) = summarise(ledger, base=None)

    assert [row.differing for row in summary.rows] == [0, 1]
    assert [line.partition(": 2 ran")[0] for line in summary.differences] == ["small: rstest, round 2"]


def test_where_nothing_has_an_outcome_every_run_differs() -> None:
    (summary,) = summarise(a_ledger(a_run("pytest", verdict(0, problem="killed"))), base=None)

    assert summary.rows[0].differing == 1
    assert summary.differences == ("small: pytest: killed",)


def test_it_says_where_a_peer_was_faster_but_not_one_that_ran_something_else() -> None:
    ledger = a_ledger(
        a_run("unlimited", wall_s=3.0),
        a_run("xargs", wall_s=1.0),
        a_run("rstest", verdict(1), wall_s=0.1),
        a_run("ours-auto", wall_s=2.0),
        a_run("ours-fork", wall_s=0.5),
    )

    (summary,) = summarise(ledger, base=None)

    assert faster_peers(summary) == ("small: ours-auto took longer than xargs (2.00 x, 1.00 x memory)",)
