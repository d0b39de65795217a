"""Colour and footer follow the user's choice, then the environment, then the terminal."""

from __future__ import annotations

import pytest

from dispatcher.config.choices import ColorChoice, Verbosity
from dispatcher.terminal.stream import use_color, use_live_footer


@pytest.mark.parametrize(
    ("choice", "environ", "is_terminal", "expected"),
    [
        (ColorChoice.AUTO, {}, True, True),
        (ColorChoice.AUTO, {}, False, False),
        (ColorChoice.AUTO, {"TERM": "dumb"}, True, False),
        (ColorChoice.AUTO, {"NO_COLOR": "1"}, True, False),
        (ColorChoice.AUTO, {"NO_COLOR": ""}, True, True),
        (ColorChoice.AUTO, {"FORCE_COLOR": "1"}, False, True),
        (ColorChoice.AUTO, {"FORCE_COLOR": "1", "TERM": "dumb"}, False, True),
        (ColorChoice.AUTO, {"FORCE_COLOR": "0"}, True, False),
        (ColorChoice.AUTO, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
        (ColorChoice.ALWAYS, {"NO_COLOR": "1", "TERM": "dumb"}, False, True),
        (ColorChoice.NEVER, {"FORCE_COLOR": "1"}, True, False),
    ],
)
def test_the_choice_beats_the_environment_and_that_the_terminal(
    choice: ColorChoice, environ: dict[str, str], is_terminal: bool, expected: bool
) -> None:
    assert use_color(choice, environ, is_terminal=is_terminal) is expected


@pytest.mark.parametrize(
    ("verbosity", "environ", "is_terminal", "expected"),
    [
        (Verbosity.NORMAL, {"TERM": "xterm"}, True, True),
        (Verbosity.VERBOSE, {}, True, True),
        (Verbosity.QUIET, {}, True, False),
        (Verbosity.NORMAL, {}, False, False),
        (Verbosity.NORMAL, {"TERM": "dumb"}, True, False),
        (Verbosity.NORMAL, {"CI": "true"}, True, False),
        (Verbosity.NORMAL, {"CI": "false"}, True, True),
    ],
)
def test_a_footer_needs_a_terminal_and_is_never_shown_in_quiet_mode(
    verbosity: Verbosity, environ: dict[str, str], is_terminal: bool, expected: bool
) -> None:
    assert use_live_footer(verbosity, environ, is_terminal=is_terminal) is expected
