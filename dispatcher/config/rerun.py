"""Makes the command that reruns a file, or its failing tests, exactly as this run ran them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence

from dispatcher.config.settings import RUN_PARSER, SETTINGS
from dispatcher.model.results import FileAttempts, names_of_tests
from passmuster.model.test_selection import SEPARATOR
from passmuster.settings.argument_parser import ParsedArguments
from passmuster.settings.origins import GivenValue
from passmuster.settings.setting import Group

_OF_WHOLE_RUN = {
    *("integration", "failed", "changed", "shuffle", "limit", "resume", "cached", "join"),
    *("run-timeout", "max-fail", "fail-on-regression"),
    *("junit-xml", "report", "events", "metrics", "metrics-file"),
    *(row.name for row in SETTINGS if row.group in (Group.COVERAGE, Group.SHARDS)),
}
"""Settings that apply to a run as a whole, so that the rerun of one file leaves them out."""

MAX_NAMED_TESTS = 3
"""With more failing tests, the command names their file."""


def rerun_command(program: str, argv: Sequence[str], record: FileAttempts) -> str:
    """Return a line for a shell that runs the failing tests of a file again, or all of it."""
    file = record.file
    failing = names_of_tests(record.final, is_bad=True)
    tests = failing if 0 < len(failing) <= MAX_NAMED_TESTS else file.selection.tests
    labels = [f"{file.label}{SEPARATOR}{test}" for test in tests] or [file.label]
    seed = [f"--shuffle={file.selection.seed}"] if file.selection.seed else []
    parsed = RUN_PARSER.parse(argv)
    options = [
        word for given in parsed.given if given.setting.name not in _OF_WHOLE_RUN for word in _words(given)
    ]
    return _command(program, [*options, *seed], labels, parsed)


def resume_command(program: str, argv: Sequence[str], run_id: str) -> str:
    """Return a line for a shell that resumes a run."""
    parsed = RUN_PARSER.parse(argv)
    options = [word for given in parsed.given if given.setting.name != "resume" for word in _words(given)]
    return _command(program, [*options, "--resume", run_id], parsed.paths, parsed)


def _command(program: str, options: Iterable[str], paths: Iterable[str], parsed: ParsedArguments) -> str:
    """Return a call with the arguments that the given one passes on, quoted for a shell."""
    # A path that begins like an option would be one.
    named = (f"./{path}" if path.startswith("-") else path for path in paths)
    passed_on = ("--", *parsed.passed_on) if parsed.passed_on else ()
    return " ".join(map(_quoted, (program, *options, *named, *passed_on)))


def _words(given: GivenValue) -> list[str]:
    """Return an argument as it was given, by its present name and with secrets removed."""
    setting = given.setting
    option = setting.renamed.get(given.origin.name, given.origin.name)
    value = ",".join(map(setting.type.shown or str, given.texts))
    if option not in setting.options or (option, value) in setting.constants:
        return [option]
    # A value that may be left out is only taken from behind `=`.
    return [f"{option}={value}"] if option in dict(setting.constants) else [option, value]


def _quoted(word: str) -> str:
    """Return a word quoted for a shell, on one line of printable characters."""
    if word.isprintable():
        return shlex.quote(word)
    escaped = word.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + "".join(map(_shell_escape, escaped)) + "'"


def _shell_escape(character: str) -> str:
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))
