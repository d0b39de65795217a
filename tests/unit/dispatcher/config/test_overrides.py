"""Which overrides apply to a file, and which of them count."""

from __future__ import annotations

import pytest

from dispatcher.config.choices import SERIAL, FileGroup, Override
from dispatcher.config.model import TestConfig
from dispatcher.config.overrides import Overrides, command_lines, group_limits
from dispatcher.model.plan import TestFile
from passmuster.model.status import Isolation, RunnerKind


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


def test_the_last_override_that_sets_a_value_counts() -> None:
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


def test_a_group_has_its_limit_and_serial_groups_have_one() -> None:
    config = TestConfig(
        groups=(FileGroup(name="db", max_files=3),),
        overrides=(
            Override(files=("a.py",), group="db"),
            Override(files=("b.py",), group=f"{SERIAL}-browser"),
            Override(files=("c.py",), group=""),
            Override(files=("d.py",), retries=1),
        ),
    )

    assert group_limits(config) == {"db": 3, f"{SERIAL}-browser": 1}


def test_each_command_is_listed_with_the_number_of_its_files() -> None:
    files = [TestFile(path=path, label=path) for path in ("a.py", "b.py", "ui/c.py", "ui/d.py")]
    overrides = (
        Override(files=("ui/**",), command=("xvfb-run", "{python}", "{file}"), runner=RunnerKind.COMMAND),
        Override(files=("ui/d.py",), runner=RunnerKind.PYTEST),
    )
    whole = TestConfig(command=("{python}", "run.py", "{file}"))

    assert command_lines(files, TestConfig()) == ()
    assert command_lines(files, TestConfig(overrides=overrides)) == (
        (
            "1 of 4 file(s) run by the command xvfb-run {python} {file} "
            "(from [tool.passmuster] overrides in pyproject.toml, number 1)"
        ),
    )
    assert [line.partition(" file")[0] for line in command_lines(files, whole)] == ["4 of 4"]
