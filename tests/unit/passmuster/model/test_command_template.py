"""A project's own command: its placeholders, and refused words."""

from __future__ import annotations

import pytest

from passmuster.model.command_template import PLACEHOLDERS, CommandTemplate, check_word, words_problem

VALUES = {"python": "/v/python", "file": "a b/t.py", "module": "a.t", "slot": "3", "junit": "/t/j.xml"}


def template(*words: str) -> CommandTemplate:
    return CommandTemplate(words=words, origin="somewhere")


def test_every_placeholder_is_replaced_wherever_it_stands_in_a_word() -> None:
    words = template("{python}", "--out={junit}", "{file}:{slot}", "{module}").fill(VALUES)

    assert words == ["/v/python", "--out=/t/j.xml", "a b/t.py:3", "a.t"]


def test_doubled_braces_are_braces_and_other_words_are_unchanged() -> None:
    words = template("{{file}}", "}}{{{file}", "$HOME; *", "").fill(VALUES)

    assert words == ["{file}", "}{a b/t.py", "$HOME; *", ""]


def test_a_value_that_looks_like_a_placeholder_is_not_replaced_again() -> None:
    assert template("{file}").fill(VALUES | {"file": "{slot}.py"}) == ["{slot}.py"]


@pytest.mark.parametrize("word", ["{files}", "{", "}", "{}", "{ file }", "{file}}", "{{file}", "{FILE}"])
def test_an_unknown_placeholder_is_refused_with_all_known_ones(word: str) -> None:
    with pytest.raises(ValueError, match="expected one of") as caught:
        check_word(word)

    assert all(f"{{{name}}}" in str(caught.value) for name in PLACEHOLDERS)
    assert str(caught.value).endswith(f"got {word!r}")


def test_a_word_with_a_nul_byte_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        check_word("a\0b")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((), "expected a program"),
        (("", "{file}"), "expected a program"),
        (("{python}", "{slot}"), "expected {file} or {module}"),
        (("make", "{{file}}"), "expected {file} or {module}"),
    ],
)
def test_a_command_that_would_do_the_same_for_every_file_is_refused(
    words: tuple[str, ...], problem: str
) -> None:
    assert (words_problem(words) or "").startswith(problem)


def test_a_command_with_the_file_or_its_module_can_be_used() -> None:
    assert words_problem(("./{file}",)) is None
    assert words_problem(("{python}", "-m", "unittest", "{module}")) is None


@pytest.mark.parametrize(
    ("words", "measured"),
    [
        ("{python} manage.py {module}", "{python} -m coverage run -p manage.py {module}"),
        ("{python} -m unittest {module}", "{python} -m coverage run -p -m unittest {module}"),
        ("{python} -X dev -B -m x {file}", "{python} -X dev -B -m coverage run -p -m x {file}"),
        ("{python} -m coverage run {file}", "{python} -m coverage run {file}"),
        ("{python} -c pass {file}", None),
        ("{python} -", None),
        ("{python}", None),
        ("make {file}", None),
    ],
)
def test_an_interpreter_that_runs_a_script_or_a_module_can_be_measured(
    words: str, measured: str | None
) -> None:
    found = template(*words.split()).measured(())

    assert (None if found is None else " ".join(found.words)) == measured


def test_sources_are_given_to_coverage_and_their_braces_are_kept() -> None:
    found = template("{python}", "{file}").measured(("src", "a{b}"))

    assert found is not None
    assert found.fill(VALUES)[1:] == ["-m", "coverage", "run", "-p", "--source=src,a{b}", "a b/t.py"]
