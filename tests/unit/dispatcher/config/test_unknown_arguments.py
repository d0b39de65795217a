"""Some unknown options are errors instead of warnings."""

from __future__ import annotations

import pytest

from dispatcher.config.settings import RUN_PARSER
from dispatcher.config.unknown_arguments import FOREIGN_OPTIONS, refuse_options, refuse_variables
from passmuster.model.errors import ConfigurationError

REVERSIBLE = [word for word in RUN_PARSER.known if len(word) > 5]


@pytest.mark.parametrize("word", REVERSIBLE)
def test_every_option_with_a_letter_left_out_is_refused_with_the_right_spelling(word: str) -> None:
    typed = word[:4] + word[5:]
    if typed in RUN_PARSER.known:
        return
    with pytest.raises(ConfigurationError, match=r"^unknown argument: .*; did you mean --"):
        refuse_options([typed])


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("--timout=5", "unknown argument: --timout=5; did you mean --timeout?"),
        ("-timeout", "unknown argument: -timeout; did you mean --timeout?"),
        (
            "--max-workers=3",
            "--max-workers is an option of other test runners, not of this one: use --jobs N",
        ),
        ("--workers", "--workers is an option of other test runners, not of this one: use --jobs N"),
        ("-xvs", "-s is an option of other test runners, not of this one: -v prints what each file printed"),
        (
            "-Werror",
            "of other test runners, not of this one: pass it to the pytest of every file",
        ),
        ("--tb=short", "pass it to the pytest of every file: add -- --tb=short at the end"),
        ("-l", "add -- -l at the end"),
        ("--pdb", "run one by itself: python -m pytest --pdb FILE"),
    ],
)
def test_a_refusal_says_what_to_do_instead(typed: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        refuse_options(["--frobnicate", typed])
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("argv", "typed"),
    [
        (["-W", "error"], "-W error"),
        (["-xW", "error"], "-W error"),
        (["-W", "ignore:a b", "tests"], "-W 'ignore:a b'"),
        (["--tb", "short"], "--tb short"),
        (["--showlocals", "tests"], "--showlocals"),
        (["-W"], "-W VALUE"),
        (["-W", "--list"], "-W VALUE"),
    ],
)
def test_options_for_pytest_are_shown_as_they_must_be_typed(argv: list[str], typed: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        refuse_options(argv[:1], argv)
    assert str(raised.value).endswith(f": add -- {typed} at the end")


def test_every_option_of_another_runner_is_refused() -> None:
    assert FOREIGN_OPTIONS.keys().isdisjoint(RUN_PARSER.known)
    for option in FOREIGN_OPTIONS:
        with pytest.raises(ConfigurationError):
            refuse_options([option])


def test_other_words_are_ignored() -> None:
    words = "--frobnicate --strange --with=value --ci --debug --fast --quick --skip --lint --test -Z"
    refuse_options([*words.split(), "--verify", "--paralel", "--unitt", "--no-such-word", "-zx"])


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("PASSMUSTER_TIMOUT", "PASSMUSTER_TIMEOUT"),
        ("PASSMUSTER_JOB", "PASSMUSTER_JOBS"),
        ("PASSMUSTER_MAX_WORKERS", "PASSMUSTER_JOBS"),
        ("PASSMUSTER_BROKER_ULR", "PASSMUSTER_BROKER_URL"),
    ],
)
def test_a_variable_that_is_almost_a_settings_is_refused(name: str, meant: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{name}; did you mean {meant}\?$"):
        refuse_variables([name])


def test_variables_of_other_parts_are_not_refused() -> None:
    refuse_variables(["PASSMUSTER_SECRET", "PASSMUSTER_SLOT", "PASSMUSTER_ATTEMPT", "PASSMUSTER_JOB_INDEX"])
