"""The command line is parsed as users of the shell scripts and of other runners expect."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dispatcher.config.settings import RUN_PARSER, WITHOUT_EFFECT
from passmuster.settings.argument_parser import ParsedArguments


def values(arguments: ParsedArguments) -> list[tuple[str, tuple[str, ...], str]]:
    return [(given.setting.name, given.texts, given.origin.name) for given in arguments.given]


@pytest.mark.parametrize("argv", [["-j4"], ["-j", "4"], ["-j=4"]])
def test_a_short_option_takes_its_value_in_every_spelling(argv: list[str]) -> None:
    assert values(RUN_PARSER.parse(argv)) == [("jobs", ("4",), "-j")]


@pytest.mark.parametrize("argv", [["--jobs", "4"], ["--jobs=4"]])
def test_a_long_option_takes_its_value_in_both_spellings(argv: list[str]) -> None:
    assert values(RUN_PARSER.parse(argv)) == [("jobs", ("4",), "--jobs")]


def test_short_options_may_share_one_word() -> None:
    assert values(RUN_PARSER.parse(["-xqj4"])) == [
        ("max-fail", ("1",), "-x"),
        ("verbosity", ("quiet",), "-q"),
        ("jobs", ("4",), "-j"),
    ]


def test_paths_may_stand_anywhere_between_options() -> None:
    arguments = RUN_PARSER.parse(["a.py", "--integration", "b.py", "--timeout", "5", "c.py"])
    assert arguments.paths == ["a.py", "b.py", "c.py"]
    assert [name for name, _, _ in values(arguments)] == ["integration", "timeout"]


def test_arguments_after_two_hyphens_are_passed_on() -> None:
    arguments = RUN_PARSER.parse(["-q", "a.py", "--", "--integration", "-x", "--"])
    assert (arguments.paths, arguments.passed_on) == (["a.py"], ["--integration", "-x", "--"])
    assert [name for name, _, _ in values(arguments)] == ["verbosity"]


@pytest.mark.parametrize("word", ["--word", "-w", "--word=value", "-xw", "--integ", "--time"])
def test_an_unknown_option_is_kept_as_typed_and_is_never_an_abbreviation(word: str) -> None:
    arguments = RUN_PARSER.parse([word, "a.py"])
    assert (arguments.unknown, arguments.paths, arguments.given) == ([word], ["a.py"], [])
    assert arguments.problems == []


def test_the_words_of_later_scripts_are_accepted_silently() -> None:
    assert RUN_PARSER.parse(["--unit", "--parallel", "--full"]) == RUN_PARSER.parse([])


@pytest.mark.parametrize(
    "argv", [["--timeout"], ["--timeout", "--integration"], ["-j", "-x"], ["--root", "--"]]
)
def test_an_option_without_its_value_is_a_problem_that_says_what_is_allowed(argv: list[str]) -> None:
    (problem,) = RUN_PARSER.parse(argv).problems
    assert problem.startswith(f"{argv[0]} needs a value: expected ")


def test_a_value_may_start_with_a_hyphen_so_that_its_reader_can_refuse_it() -> None:
    assert values(RUN_PARSER.parse(["--timeout", "-5"])) == [("timeout", ("-5",), "--timeout")]


def test_a_switch_takes_no_value() -> None:
    assert RUN_PARSER.parse(["--integration=yes"]).problems == [
        "--integration takes no value, got 'yes': leave out '=yes'"
    ]


def test_a_switch_can_be_undone() -> None:
    assert values(RUN_PARSER.parse(["--integration", "--no-integration"]))[-1][1] == ("false",)


def test_two_things_to_show_cannot_be_combined() -> None:
    assert RUN_PARSER.parse(["--list", "--dry-run"]).problems == [
        "--dry-run and --list cannot be combined: choose one"
    ]
    assert RUN_PARSER.parse(["--list", "--collect-only"]).problems == []


def test_lists_are_split_at_commas() -> None:
    assert values(RUN_PARSER.parse(["--coverage-source", "a,b"])) == [
        ("coverage-source", ("a", "b"), "--coverage-source")
    ]


def test_help_is_recognized_next_to_wrong_arguments() -> None:
    arguments = RUN_PARSER.parse(["--timeout", "--help"])
    assert arguments.wants_help
    assert RUN_PARSER.parse(["--version"]).wants_version
    assert RUN_PARSER.parse(["-V"]).wants_version
    assert not RUN_PARSER.parse(["--", "--help"]).wants_help


@pytest.mark.parametrize(
    ("typed", "ours"),
    [
        (["--lf"], ["--failed"]),
        (["--last-failed"], ["--failed"]),
        (["-n", "4"], ["-j", "4"]),
        (["-n4"], ["-j4"]),
        (["--numprocesses=auto"], ["--jobs", "auto"]),
        (["--maxfail=3"], ["--max-fail", "3"]),
        (["--exitfirst"], ["-x"]),
        (["--failfast"], ["--fail-fast"]),
        (["--collect-only"], ["--list"]),
        (["--junitxml=x.xml"], ["--junit-xml", "x.xml"]),
        (["--ff"], []),
    ],
    ids=str,
)
def test_what_other_runners_call_an_option_is_understood(typed: list[str], ours: list[str]) -> None:
    found, meant = (
        [(name, texts) for name, texts, _ in values(RUN_PARSER.parse(words))] for words in (typed, ours)
    )
    assert found == meant
    assert RUN_PARSER.parse(typed).unknown == []


WORDS = st.one_of(
    st.sampled_from([*RUN_PARSER.known, *WITHOUT_EFFECT]), st.text(max_size=8), st.just("--"), st.just("-")
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(WORDS, max_size=8))
def test_any_command_line_is_parsed_without_an_exception_or_a_lost_word(argv: list[str]) -> None:
    arguments = RUN_PARSER.parse(argv)
    for word in argv:
        if not word.startswith("-") and arguments.problems == []:
            given_texts = [",".join(given.texts) for given in arguments.given]
            assert word in (*arguments.paths, *arguments.passed_on, *given_texts)
