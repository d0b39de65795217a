"""Targets are met, missed by so much, or not measured; never met by a run that ran something else."""

from __future__ import annotations

from benchmarks.bed.file_runners import FILE_RUNNERS
from benchmarks.bed.model import BedRun
from benchmarks.bed.our_runners import OUR_RUNNERS
from benchmarks.bed.pooled_runners import POOLED_RUNNERS
from benchmarks.bed.suites import SUITES
from benchmarks.bed.summary import summarise
from benchmarks.bed.targets import TARGET_HEAD, TARGETS, Target, judge, target_cells
from tests.unit.benchmarks.beds import a_ledger, a_run, verdict

HALF_OF_XDIST = Target(
    suite="small", runner="ours-auto", against=("xdist-load", "xdist-loadfile"), at_most=0.5
)


def verdicts(target: Target, *runs: BedRun) -> list[str]:
    return [one.verdict for one in judge(summarise(a_ledger(*runs), base=None), (target,))]


def test_the_fastest_of_the_peers_counts() -> None:
    runs = (a_run("xdist-load", wall_s=2.0), a_run("xdist-loadfile", wall_s=4.0))

    (judged,) = judge(summarise(a_ledger(*runs, a_run("ours-auto", wall_s=1.0)), base=None), (HALF_OF_XDIST,))

    assert target_cells(judged) == [
        *("small", "ours-auto", "wall", "xdist-load", "0.50", "0.50", "met"),
        *("50", "50"),
    ]
    assert verdicts(HALF_OF_XDIST, *runs, a_run("ours-auto", wall_s=1.5)) == ["missed by 50%"]


def test_memory_stands_beside_each_target_of_time() -> None:
    runs = (a_run("ours-auto"), a_run("xdist-load", peak_bytes=80_000_000))

    (judged,) = judge(summarise(a_ledger(*runs), base=None), (HALF_OF_XDIST,))

    assert dict(zip(TARGET_HEAD, target_cells(judged), strict=True))["peak MB"] == "50"
    assert dict(zip(TARGET_HEAD, target_cells(judged), strict=True))["peer's peak MB"] == "80"


def test_a_target_without_its_runs_is_not_measured() -> None:
    assert verdicts(HALF_OF_XDIST, a_run("ours-auto")) == ["not measured"]
    assert verdicts(HALF_OF_XDIST, a_run("xdist-load")) == ["not measured"]


def test_no_target_is_met_by_a_run_that_ran_something_else() -> None:
    runs = (a_run("xdist-load", wall_s=2.0), a_run("ours-auto", verdict(1), wall_s=0.1))

    assert verdicts(HALF_OF_XDIST, *runs) == ["outcomes differ"]


def test_a_figure_of_ours_alone_has_a_limit_of_its_own() -> None:
    own = Target(
        suite="small", runner="ours-auto", figure=lambda row: row.own_cpu_ms, what="own", at_most=5.0
    )

    assert verdicts(own, a_run("ours-auto", verdict(files_cpu_s=0.992), cpu_s=1.0)) == ["met"]
    assert verdicts(own, a_run("ours-auto", verdict(files_cpu_s=0.9), cpu_s=1.0)) == ["missed by 900%"]


def test_a_large_folder_is_held_against_a_small_one_by_the_file() -> None:
    target = next(one for one in TARGETS if one.against_suite)
    small = a_run("ours-auto", suite="trivial-pytest", wall_s=2.0, files=200)
    large = a_run("ours-auto", suite="trivial-pytest-1000", wall_s=11.0, files=1000)

    assert verdicts(target, small, large) == ["met"]


def test_every_target_names_suites_and_runners_that_exist() -> None:
    names = {runner.name for runner in (*FILE_RUNNERS, *POOLED_RUNNERS, *OUR_RUNNERS)}

    for target in TARGETS:
        assert {target.suite, target.against_suite or target.suite} <= set(SUITES)
        assert {target.runner, *target.against} <= names
