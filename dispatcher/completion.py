"""`run-tests completion SHELL`: what a shell reads to complete the words of this program."""

from __future__ import annotations

from dispatcher.config.arguments import RUN_WORDS
from dispatcher.exit_codes import ExitCode
from dispatcher.subcommand_names import SUBCOMMAND_HELP
from dispatcher.subcommand_tables import COMPLETION, TABLES
from dispatcher.subcommands import Call
from passmuster.errors import ConfigurationError
from passmuster.settings.completion import Shell, completed, completion

PROGRAMS = ("run-tests", "run_tests.py", "./run_tests.py")
"""The names by which the program is called: the installed command, and the file in a repository."""

_EXTRA = {"--help": "print the help text, and exit", "--version": "print the version, and exit"}


def show_completion(call: Call) -> int:
    """Print the text for one shell; return the exit status.

    Raises:
        ConfigurationError: none of the shells is named.
    """
    called = COMPLETION.read(call.argv, call.environ, call.cwd, program=call.program)
    if called.answer:
        call.write(called.answer)
        return ExitCode.OK
    if len(called.words) != 1 or called.words[0] not in tuple(Shell):
        raise ConfigurationError(
            f"completion needs one of {', '.join(Shell)}, got {list(called.words)}: {call.program} bash"
        )
    subcommands = {
        name.value: (SUBCOMMAND_HELP[name], completed(table.rows, _EXTRA)) for name, table in TABLES.items()
    }
    run = completed(RUN_WORDS.rows, _EXTRA)
    call.write(completion(Shell(called.words[0]), PROGRAMS, run, subcommands))
    return ExitCode.OK
