"""Which overrides hold for a file, and which of them count."""

from __future__ import annotations

import pytest

from dispatcher.config.choices import Override
from dispatcher.config.overrides import Overrides
from passmuster.model.status import Isolation


def matches(pattern: str, path: str) -> bool:
    return Overrides([Override(files=(pattern,))]).unmatched([path]) == ()


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("tests/test_a.py", "tests/test_a.py"),
        ("tests/test_*.py", "tests/test_a.py"),
        ("tests/*.py", "tests/[odd].py"),
        ("tests", "tests/db/test_a.py"),
        ("tests/*", "tests/db/test_a.py"),
        ("tests/**", "tests/db/deep/test_a.py"),
        ("**/test_a.py", "test_a.py"),
        ("**/test_a.py", "tests/db/test_a.py"),
        ("tests/**/test_a.py", "tests/test_a.py"),
        ("tests/test_[ab].py", "tests/test_b.py"),
        ("tests/test_[!ab].py", "tests/test_c.py"),
        ("tests/test_?.py", "tests/test_c.py"),
        ("tests/test_[.py", "tests/test_[.py"),
        ("a+b(c).py", "a+b(c).py"),
    ],
)
def test_a_pattern_matches(pattern: str, path: str) -> None:
    assert matches(pattern, path)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("test_a.py", "tests/test_a.py"),
        ("tests/test_a.py", "tests/test_a.pyc"),
        ("tests/*.py", "tests/db/test_a.py"),
        ("tests/?db.py", "tests//db.py"),
        ("tests[!x]db.py", "tests/db.py"),
        ("tests/test_[!ab].py", "tests/test_a.py"),
        ("tests/[z-a].py", "tests/b.py"),
        ("test", "tests/test_a.py"),
        ("**/a.py", "tests/ba.py"),
        ("a.py", "aXpy"),
    ],
)
def test_a_pattern_does_not_match(pattern: str, path: str) -> None:
    assert not matches(pattern, path)


def test_the_last_override_that_says_something_counts() -> None:
    rules = Overrides(
        [
            Override(files=("tests/**",), timeout_s=1, retries=1, group="db"),
            Override(files=("tests/a.py",), timeout_s=2, group=""),
            Override(files=("other.py",), retries=9),
            Override(files=("tests/a.py",), isolation=Isolation.SPAWN),
        ]
    )

    assert rules.rule_for("tests/a.py") == Override(
        files=(), timeout_s=2, retries=1, group="", isolation=Isolation.SPAWN
    )
    assert rules.rule_for("nothing.py") == Override(files=())


def test_an_override_without_files_is_found() -> None:
    used, useless = Override(files=("a.py", "never.py")), Override(files=("b.py",))

    assert Overrides([used, useless]).unmatched(["c.py", "a.py"]) == (useless,)
