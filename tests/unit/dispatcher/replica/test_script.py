"""The script of a CI step is taken to pieces without a shell: what runs the tests, and what else."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.replica.command_kind import CommandKind
from dispatcher.replica.expressions import Unknowns
from dispatcher.replica.script import ScriptCommand, read_script

VARIABLES = {"FOLDER": "tests/unit", "WORDS": "--limit 3", "QUOTED": 'a "b"'}


def own(commands: tuple[ScriptCommand, ...]) -> list[ScriptCommand]:
    return [command for command in commands if command.kind is CommandKind.RUNNER]


def script_of(text: str) -> tuple[ScriptCommand, ...]:
    return read_script(text, VARIABLES, Unknowns())


def run_of(text: str) -> ScriptCommand:
    [run] = own(script_of(text))
    return run


@pytest.mark.parametrize(
    "command",
    [
        "./run_tests.py",
        "run-tests",
        "run_tests.sh",
        "../tools/run_tests.py",
        "python run_tests.py",
        "python3.12 -P -X dev ./run_tests.py",
        "python -m run_tests",
        "bash ./run_tests.sh",
        "bash -e run_tests.sh",
        "time ./run_tests.py",
        "env ./run_tests.py",
        "{ ./run_tests.py; }",
        "(./run_tests.py)",
        "true && ./run_tests.py",
        "if [ -d x ]; then ./run_tests.py; fi",
        "cat <<'EOF' >x\nit's text\nEOF\n./run_tests.py",
        "# don't\n./run_tests.py # \"",
        'echo "a # b"\n./run_tests.py',
        "./run_tests.py &",
    ],
)
def test_the_command_that_runs_the_tests_is_found(command: str) -> None:
    assert "run" in run_of(command).program
    assert run_of(command).arguments == ()


@pytest.mark.parametrize(
    "command",
    [
        "pytest",
        "echo run-tests",
        "chmod +x run_tests.py",
        "git add run_tests.py",
        "ruff check run_tests.py",
        "python -m pytest run_tests.py",
        "python -m mypy ./run_tests.py",
        "python -c 'import run_tests'",
        "python other.py run_tests.py",
        "uv pip install run-tests",
        "cat <<EOF\nrun-tests\nEOF",
        "# run-tests",
        "./my_run_tests.py",
        "'run-tests now'",
        "",
    ],
)
def test_what_only_names_it_is_not(command: str) -> None:
    assert own(script_of(command)) == []


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("run-tests --integration --timeout 30s", ("--integration", "--timeout", "30s")),
        ("run-tests \\\n  --integration \\\n  -j 4", ("--integration", "-j", "4")),
        ("run-tests 'tests/a b.py' \"tests/c d.py\"", ("tests/a b.py", "tests/c d.py")),
        ("run-tests $FOLDER \"${FOLDER}/x\" '$FOLDER'", ("tests/unit", "tests/unit/x", "$FOLDER")),
        ("run-tests $WORDS", ("--limit", "3")),
        ('run-tests "$WORDS"', ("--limit 3",)),
        ('run-tests "$QUOTED"', ('a "b"',)),
        ("run-tests tests/a#b.py --limit 3 >out 2>&1", ("tests/a#b.py", "--limit", "3")),
        ("run-tests --limit 3 > >(tee log) 2> errors.txt", ("--limit", "3")),
        ("run-tests -q | tee log", ("-q",)),
        ("run-tests ''", ("",)),
        ("run-tests --exclude \\$FOLDER", ("--exclude", "$FOLDER")),
    ],
)
def test_its_arguments_are_those_that_a_shell_would_give(command: str, arguments: tuple[str, ...]) -> None:
    assert run_of(command).arguments == arguments


@pytest.mark.parametrize(
    ("argument", "shown"),
    [
        ("$(nproc)", "$(nproc)"),
        ('"$(cat $(ls))"', "$(cat $(ls))"),
        ("`nproc`", "`nproc`"),
        ("$NOWHERE", "$NOWHERE"),
        ("${FOLDER:-x}", "${FOLDER:-x}"),
        ('"$@"', "$@"),
        ("$((2 * 2))", "$((2 * 2))"),
    ],
)
def test_what_only_a_shell_could_say_is_marked_and_keeps_its_place(argument: str, shown: str) -> None:
    unknowns = Unknowns()

    [run] = read_script(f"run-tests --jobs {argument} --integration", VARIABLES, unknowns)

    assert [unknowns.are_in(word) for word in run.arguments] == [False, True, False]
    assert unknowns.restore(run.arguments[1]) == shown


def test_variables_come_from_the_script_and_from_before_the_command() -> None:
    script = "export A=1 B=2\nC=3 env D='4 4' run-tests\nE=5 other"

    assert run_of(script).variables == (("A", "1"), ("B", "2"), ("C", "3"), ("D", "4 4"))


def test_the_script_may_go_elsewhere_first() -> None:
    assert run_of("cd backend\ncd api && run-tests").folder == "backend/api"
    assert run_of("cd /srv && ../run-tests").folder == "/srv"


@pytest.mark.parametrize(
    ("command", "around"),
    [
        ("run-tests", ()),
        ("run-tests && echo good", ()),
        ("run-tests || true", ("||",)),
        ("run-tests | tee log", ("|",)),
        ("timeout -k 5 600 run-tests", ("timeout -k 5 600",)),
        ("uv run --with x run-tests", ("uv run --with x",)),
        ("A=1 env B=2 python -P run_tests.py", ()),
        ("if ! run-tests; then", ("if", "!")),
    ],
)
def test_what_changes_the_meaning_of_its_exit_status_is_named(command: str, around: tuple[str, ...]) -> None:
    assert run_of(command).wrappers == around


def test_the_other_commands_are_named() -> None:
    script = script_of("set -e\npip install -r 'a b.txt'\nrun-tests\nrun-tests --integration; echo $(date)")

    assert len(own(script)) == 2
    assert [" ".join(one.words) for one in script if one.kind is CommandKind.INSTALL] == [
        "pip install -r a b.txt"
    ]
    assert [one.program for one in script if one.kind is CommandKind.OTHER] == ["echo"]


def test_the_replica_is_told_from_the_runner() -> None:
    assert run_of("python run_ci_replica.py --cpus 2").program == "run_ci_replica.py"
    assert run_of("run-ci-replica").program == "run-ci-replica"


def test_an_open_quotation_is_an_error() -> None:
    with pytest.raises(ValueError, match="quotation"):
        script_of("run-tests 'x")


@given(st.text("ab $\\'\"`#|&;<>(){}!\n=-/", max_size=40))
def test_any_text_gives_pieces_or_a_value_error(text: str) -> None:
    try:
        found = script_of(text)
    except ValueError:
        return
    assert own(found) == []


@given(st.lists(st.text("ab '\"\\$#;|&\n*-é", min_size=1, max_size=6), max_size=4))
def test_quoted_words_come_back_as_they_were(words: list[str]) -> None:
    plain = [word for word in words if not set(word) <= set("();<>|&\n")]

    assert run_of(f"run-tests {shlex.join(plain)}").arguments == tuple(plain)
