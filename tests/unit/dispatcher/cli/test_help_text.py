"""`--help` shows every option, and works next to wrong arguments."""

from __future__ import annotations

from dispatcher.cli.help import early_answer, format_help
from dispatcher.config.settings import RUN_PARSER, SETTINGS, WITHOUT_EFFECT
from dispatcher.model.exit_codes import ExitCode
from passmuster.model.version import VERSION
from passmuster.settings.setting import Group

REVERSED = tuple(s.constants[1][0] for s in SETTINGS if s.constants and not s.type.metavar)


def test_every_argument_and_every_legacy_variable_is_shown() -> None:
    words = format_help("run_tests.py").replace(",", " ").replace("(", " ").replace("[", " ").split()
    for word in RUN_PARSER.known:
        if word not in WITHOUT_EFFECT and word not in REVERSED:
            assert word.removesuffix(":") in [shown.removesuffix(":") for shown in words]
    for setting in SETTINGS:
        for name in setting.variables[1:]:
            assert name in words


def test_the_sections_are_there() -> None:
    text = format_help("run_tests.py")
    for heading in (*(group.value for group in Group), "Examples", "Exit status", "usage"):
        assert f"{heading}:" in text
    for code in ExitCode:
        assert f"\n  {code.value} " in text


def test_no_line_is_wider_than_a_terminal_of_110_columns() -> None:
    assert max(map(len, format_help("run_tests.py").splitlines())) <= 110


def test_help_and_version_are_answered_before_anything_is_checked() -> None:
    help_text = early_answer(["--timeout", "x", "--word", "-h"], program="p")
    assert help_text is not None
    assert help_text.startswith("usage: p ")
    assert early_answer(["--version"], program="p") == f"p {VERSION}"
    assert early_answer(["--list"], program="p") is None
