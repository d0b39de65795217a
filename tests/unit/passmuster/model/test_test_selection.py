"""Selections of tests: expressions, arguments that stay local, and the words of the child."""

from __future__ import annotations

import pytest

from passmuster.model.test_selection import (
    TestSelection,
    is_expression,
    local_only_argument,
)
from worker.child import passmuster_child_select as child


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "a and not b",
        "(a or b.c) and d[1-x]",
        "not slow",
        "device(serial=1)",
        "mark(name='a b')",
        "a::b/c",
    ],
)
def test_what_pytest_accepts_is_accepted(text: str) -> None:
    assert is_expression(text)


@pytest.mark.parametrize("text", ["a b", "a or", "(a", "not", "a & b", "a; b", "and a", ""])
def test_what_pytest_refuses_is_refused(text: str) -> None:
    assert not is_expression(text)


@pytest.mark.parametrize(
    "word",
    [
        *("-p", "-pmine", "-vpmine", "-c", "-o", "-oaddopts=-pmine", "@arguments"),
        *("--rootdir=/x", "--confcutdir", "--basetemp=t", "--override-ini=x"),
    ],
)
def test_arguments_that_name_code_or_places_stay_local(word: str) -> None:
    assert local_only_argument(["--runslow", word, "x"]) == word


def test_other_arguments_are_sent() -> None:
    words = ["--runslow", "-v", "--tb=short", "--pdbcls", "-rpfE", "-Wignore::pkg.Code", "-kcopy", "--"]
    assert local_only_argument(words) is None


def test_the_child_reads_what_was_selected() -> None:
    selection = TestSelection(
        tests=("A::b[x=1]", "c"),
        failed=("j",),
        deselected=("d",),
        keyword="e=f",
        marker="g",
        arguments=("-v", "--h=i"),
        quarantined=("k",),
        seed="7",
    )
    read = child.Selection(selection.as_words())

    assert (read.tests, read.deselected) == (["A::b[x=1]", "c"], ["d"])
    assert (read.keyword, read.marker, read.arguments) == ("e=f", "g", ["-v", "--h=i"])
    assert (read.failed, read.quarantined, read.seed) == (["j"], ["k"], "7")
    assert not read.is_empty
    assert not read.is_whole_file
    assert child.Selection(TestSelection(seed="7").as_words()).is_whole_file
    assert child.Selection(TestSelection().as_words()).is_empty
