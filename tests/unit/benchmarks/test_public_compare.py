"""Each difference between two runs of a public suite is found, and gets the cause that was shown for it."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.public.compare import Case, Cause, Outcomes, collect_outcomes, differences
from benchmarks.public.table import Explanation


def outcomes(**cases: str) -> Outcomes:
    """Return outcomes of cases of one file, by name."""
    return collect_outcomes((Case("test_a.py", name), outcome) for name, outcome in cases.items())


def causes(
    plain: Sequence[Outcomes],
    ours: Outcomes,
    *,
    explained: Sequence[Explanation] = (),
    alone: Sequence[Outcomes] = (),
) -> dict[str, Cause]:
    found = differences(plain[0], ours, explained=explained, again=lambda: plain[1], alone=lambda file: alone)
    return {difference.case.name: difference.cause for difference in found}


def test_equal_runs_do_not_differ() -> None:
    run = outcomes(one="passed", two="failed")

    assert causes([run, outcomes()], run) == {}


def test_a_missing_case_an_added_case_and_another_outcome_are_unexplained() -> None:
    plain = outcomes(gone="passed", other="passed")

    found = causes([plain, plain], outcomes(other="failed", new="passed"))

    assert found == {"gone": Cause.UNEXPLAINED, "other": Cause.UNEXPLAINED, "new": Cause.UNEXPLAINED}


def test_cases_of_one_name_are_counted() -> None:
    case = Case("test_a.py", "twice")
    plain = collect_outcomes([(case, "passed"), (case, "passed")])

    assert causes([plain, plain], outcomes(twice="passed")) == {"twice": Cause.UNEXPLAINED}


def test_a_case_in_which_the_projects_own_runs_differ_is_unstable() -> None:
    plain = [outcomes(one="passed"), outcomes(one="failed")]

    assert causes(plain, outcomes(one="failed")) == {"one": Cause.UNSTABLE}


def test_names_that_are_new_in_every_run_are_matched_by_number() -> None:
    plain = [outcomes(at_1="passed"), outcomes(at_2="passed")]

    assert causes(plain, outcomes(at_3="passed")) == {"at_1": Cause.UNSTABLE, "at_3": Cause.UNSTABLE}
    assert causes(plain, outcomes()) == {"at_1": Cause.UNEXPLAINED}
    assert set(causes(plain, outcomes(at_3="passed", at_4="passed")).values()) == {Cause.UNEXPLAINED}


def test_what_the_command_says_of_the_file_alone_is_the_files_own_dependence_on_others() -> None:
    plain, ours = outcomes(one="passed"), outcomes(one="failed")

    assert causes([plain, plain], ours, alone=[ours]) == {"one": Cause.ALONE}
    assert causes([plain, plain], ours, alone=[plain]) == {"one": Cause.UNEXPLAINED}


def test_a_missing_or_an_added_case_is_not_explained_by_the_file_alone() -> None:
    plain, ours = outcomes(one="passed"), outcomes(two="failed")

    found = causes([plain, plain], ours, alone=[ours])

    assert found == {"one": Cause.UNEXPLAINED, "two": Cause.UNEXPLAINED}


def test_the_table_explains_by_pattern_and_brackets_stand_for_themselves() -> None:
    plain, ours = outcomes(**{"one[x]": "passed", "two": "passed"}), outcomes()
    known = Explanation(match=("test_a.py::one[*]",), why="because")

    found = causes([plain, plain], ours, explained=[known])

    assert found == {"one[x]": Cause.EXPLAINED, "two": Cause.UNEXPLAINED}
