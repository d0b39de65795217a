"""The texts of `--help`, `--version` and `completion`, generated from the table of settings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from dispatcher.cli.command import CommandCall
from dispatcher.cli.subcommands import SUBCOMMANDS, NoOptions, SubcommandArguments
from dispatcher.config.choices import SUBCOMMAND_HELP
from dispatcher.config.file_schema import file_schema
from dispatcher.config.settings import PATHS, RUN_PARSER, SETTINGS
from dispatcher.model.exit_codes import ExitCode
from passmuster.model.version import VERSION
from passmuster.settings.completion import completion_script, completion_table, requested_shell
from passmuster.settings.help import entry, setting_lines
from passmuster.settings.setting import Group

PROGRAMS = ("run-tests", "run_tests.py", "./run_tests.py")
"""The names by which the program is called: the installed command, and the file in a repository."""

_EXIT_CODES: dict[ExitCode, str] = {
    ExitCode.OK: "all files passed, or there was nothing to run",
    ExitCode.FAILED: "at least one file did not pass, or a required check failed (coverage, regressions)",
    ExitCode.USAGE: "wrong arguments or configuration; nothing was run",
    ExitCode.INFRASTRUCTURE: "infrastructure error: the run could not complete",
    ExitCode.NO_TESTS: "no test ran: the files contain none, or all are deselected (0 with --allow-no-tests)",
    ExitCode.INTERRUPTED: "stopped by Ctrl-C or SIGTERM",
}


def early_answer(argv: Sequence[str], *, program: str) -> str | None:
    """Return the output of `--help` or `--version` (the caller exits with 0); None: neither was requested.

    Args:
        argv: the words after the program's name. Wrong words next to `--help` do not matter.
    """
    arguments = RUN_PARSER.parse(argv)
    if arguments.wants_help:
        return format_help(program)
    if arguments.wants_version:
        return f"{program} {VERSION}"
    return None


def format_help(program: str) -> str:
    """Return the help text, without a final newline."""
    lines = [
        f"usage: {program} [OPTION...] [PATH...]",
        f"       {program} {'|'.join(SUBCOMMAND_HELP)} [OPTION...]",
        "",
        "Runs a project's test files in parallel, each in its own process, within a memory budget.",
        "",
        *entry("PATH...", f"{PATHS.summary} (default: {PATHS.default_text})"),
    ]
    for group in Group:
        entries = [line for setting in SETTINGS if setting.group is group for line in setting_lines(setting)]
        if group is Group.OTHER:
            entries += entry("-V, --version", "print the version, and exit")
            entries += entry("-h, --help", "print this text, and exit")
        lines += ["", f"{group.value}:", *entries]
    lines += ["", "Subcommands (to name a file or directory like one, write ./NAME):"]
    lines += [line for word, text in SUBCOMMAND_HELP.items() for line in entry(word, text)]
    lines += ["", *_notes(program)]
    return "\n".join(lines)


def _notes(program: str) -> Iterable[str]:
    yield "--no-integration undoes a switch such as --integration, and --history undoes --no-history."
    yield "An unknown argument is ignored with a warning, unless --strict-args is given. One that is almost"
    yield "an option of this program, or is an option of pytest without effect here, is an error."
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


def show_completion(call: CommandCall, arguments: SubcommandArguments[NoOptions]) -> int:
    """Print the completion script for one shell; return the exit status.

    Raises:
        ConfigurationError: the argument is not a supported shell.
    """
    shell = requested_shell(arguments.words, program=f"{call.program} completion")
    subcommands = {
        name: (SUBCOMMAND_HELP[name], completion_table(table.rows)) for name, table in SUBCOMMANDS.items()
    }
    call.out.write(completion_script(shell, PROGRAMS, completion_table(SETTINGS), subcommands))
    return ExitCode.OK


def show_schema(call: CommandCall, arguments: SubcommandArguments[NoOptions]) -> int:
    """Print the JSON schema of the configuration file; return the exit status."""
    call.out.write(f"{json.dumps(file_schema(), indent=2)}\n")
    return ExitCode.OK
