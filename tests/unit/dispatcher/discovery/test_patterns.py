"""Names decide what is taken and what is left out."""

from __future__ import annotations

import pytest

from dispatcher.discovery.layout import is_below, label_of
from dispatcher.discovery.patterns import DiscoveryRules, compile_names


def rules(
    *, user: tuple[str, ...] = (), paths: tuple[str, ...] = (), skips_hidden: bool = False
) -> DiscoveryRules:
    return DiscoveryRules(
        files=compile_names(("test_*.py", "*_test.py")),
        excluded_names=frozenset(("venv",)),
        excluded_patterns=compile_names(user) if user else None,
        excluded_paths=frozenset(paths),
        skips_hidden=skips_hidden,
    )


@pytest.mark.parametrize(
    ("name", "is_taken"),
    [
        ("test_a.py", True),
        ("a_test.py", True),
        ("test_.py", True),
        ("test_a\nb.py", True),
        ("test_a.pyc", False),
        ("test_a.py\n", False),
        ("testa.py", False),
        ("TEST_A.py", False),
        ("my_test_a.py", False),
        ("tests.py", False),
    ],
)
def test_a_name_is_matched_whole_and_exactly(name: str, *, is_taken: bool) -> None:
    assert rules().takes(name, f"d/{name}") is is_taken


def test_directories_are_left_out_by_name_by_path_and_when_hidden() -> None:
    some = rules(user=("slow*",), paths=("a/b",))
    entered = {
        path: some.enters(path.rpartition("/")[2], path)
        for path in ("a", "a/b", "b", "x/venv", "slow1", ".x")
    }
    assert entered == {"a": True, "a/b": False, "b": True, "x/venv": False, "slow1": False, ".x": True}
    assert not rules(skips_hidden=True).enters(".x", ".x")


def test_every_directory_on_the_way_counts() -> None:
    some = rules(paths=("a/b",))
    assert [some.leads_to(path) for path in ("", "a", "a/b/c", "venv/x", "x/venvy")] == [
        True,
        True,
        False,
        False,
        True,
    ]
    assert [some.leaves_out(path) for path in ("a", "a/b/c", "venv/x")] == [False, True, False]


def test_a_path_lies_below_whole_names_only() -> None:
    cases = (("a/b", "a"), ("a", "a"), ("ab", "a"), ("a", ""), ("a", "a/b"))
    assert [is_below(*case) for case in cases] == [True, True, False, True, False]


@pytest.mark.parametrize(
    ("path", "workdir", "label"),
    [
        ("a/b.py", "", "a/b.py"),
        ("w/a.py", "w", "a.py"),
        ("x/a.py", "w", "../x/a.py"),
        ("w2/a.py", "w", "../w2/a.py"),
    ],
)
def test_a_label_is_relative_to_the_working_directory(path: str, workdir: str, label: str) -> None:
    assert label_of(path, workdir) == label
