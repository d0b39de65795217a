"""The texts of `--help` and `--version`, made of the table of settings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dispatcher.config.command_line import parse_arguments
from dispatcher.config.setting import Group, Setting
from dispatcher.config.settings import PATHS, SETTINGS
from dispatcher.config.subcommand_names import SUBCOMMAND_HELP
from dispatcher.model.exit_codes import ExitCode

_COLUMN = 30
_WIDTH = 100

_EXIT_CODES: dict[ExitCode, str] = {
    ExitCode.OK: "all files passed, or there was nothing to run",
    ExitCode.FAILED: "some file did not pass, or what else was demanded (coverage, regressions) was not kept",
    ExitCode.USAGE: "wrong arguments or configuration; nothing was run",
    ExitCode.INFRASTRUCTURE: "what the run needs failed, so it could not be complete",
    ExitCode.NO_TESTS: "no test ran: the files hold none, or all are deselected (0 with --allow-no-tests)",
    ExitCode.INTERRUPTED: "stopped by Ctrl-C or SIGTERM",
}


def early_answer(argv: Sequence[str], *, program: str, version: str) -> str | None:
    """Return what `--help` or `--version` prints (the caller exits with 0); None: neither was asked for.

    Args:
        argv: the words after the program's name. Wrong ones beside `--help` do not matter.
        program: the program's name as it was called.
        version: this program's version.
    """
    arguments = parse_arguments(argv)
    if arguments.wants_help:
        return format_help(program)
    if arguments.wants_version:
        return f"{program} {version}"
    return None


def format_help(program: str) -> str:
    """Return the help text, without a final newline."""
    lines = [
        f"usage: {program} [OPTION...] [PATH...]",
        f"       {program} {'|'.join(SUBCOMMAND_HELP)} [OPTION...]",
        "",
        "Runs a project's test files, one isolated process each, in parallel, never over a memory budget.",
        "",
        *_entry("PATH...", f"{PATHS.summary} (default: {PATHS.default_text})"),
    ]
    for group in Group:
        entries = [line for setting in SETTINGS if setting.group is group for line in _setting_lines(setting)]
        if group is Group.OTHER:
            entries += _entry("-V, --version", "print the version, and exit")
            entries += _entry("-h, --help", "print this text, and exit")
        lines += ["", f"{group.value}:", *entries]
    lines += ["", "Instead of running (a file or folder of that name is given as ./NAME):"]
    lines += [line for word, text in SUBCOMMAND_HELP.items() for line in _entry(word, text)]
    lines += ["", *_notes(program)]
    return "\n".join(lines)


def _setting_lines(setting: Setting) -> Iterable[str]:
    if setting is PATHS:
        return ()
    words: dict[str, str] = {}
    for word, value in setting.constants:
        words[value] = f"{words[value]}, {word}" if value in words else word
    if setting.values_help:
        return [line for value, text in setting.values_help for line in _entry(words[value], text)]
    if not setting.kind.metavar:
        refusal = "do not " if setting.default_text == "true" else ""
        return _entry(next(iter(words.values())), f"{refusal}{setting.summary}")
    names = setting.options or (setting.name,)
    sign = " " if setting.options else " = "
    text = f"{setting.summary} (default: {setting.default_text})"
    return _entry(f"{', '.join(names)}{sign}{setting.kind.metavar}", text)


def _entry(head: str, text: str) -> list[str]:
    """Return one option and its text, wrapped, the text in a column of its own."""
    indent = " " * _COLUMN
    lines: list[str] = []
    line = f"  {head}".ljust(_COLUMN)
    if len(line.rstrip()) > _COLUMN - 2:
        lines.append(line.rstrip())
        line = indent
    start = len(line)
    for word in text.split():
        if len(line) > start and len(line) + 1 + len(word) > _WIDTH:
            lines.append(line)
            line, start = indent, _COLUMN
        line += word if len(line) == start else f" {word}"
    return [*lines, line]


def _notes(program: str) -> Iterable[str]:
    yield "A switch such as --integration is taken back by --no-integration, and --no-history by --history."
    yield "An unknown argument is warned of and ignored, unless --strict-args is given. One that is almost an"
    yield "option of this program, or that is an option of pytest which nothing here obeys, is an error."
    yield ""
    yield "Examples:"
    yield f"  {program}                                  unit tests"
    yield f"  {program} --integration --coverage         all tests, with coverage"
    yield f"  {program} tests/test_cart.py               one file"
    yield f"  {program} -j 4 --memory-budget 6GiB        four at once, 6 GiB for all together"
    yield f"  {program} --failed -x                      what failed last time, until the first failure"
    yield ""
    yield "Environment variables (an argument is stronger, the configuration file weaker; empty: unset):"
    yield "  PASSMUSTER_<NAME>           any setting: PASSMUSTER_MEMORY_BUDGET=6GiB, PASSMUSTER_INTEGRATION=1"
    for setting in SETTINGS:
        for name in setting.variables[1:]:
            yield f"  {name:<26}  the same as {setting.variables[0]}, which is stronger"
    yield ""
    yield 'Configuration file: [tool.passmuster] in the root\'s pyproject.toml, for example timeout = "90s".'
    yield ""
    yield "Exit status:"
    for code, text in _EXIT_CODES.items():
        yield f"  {code.value:<4} {text}"
