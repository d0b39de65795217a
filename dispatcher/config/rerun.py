"""Makes the command that reruns a file, or its failing tests, exactly as this run ran them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

from dispatcher.config.settings import RUN_PARSER
from dispatcher.model.results import FileAttempts, names_of_tests
from passmuster.model.test_selection import SEPARATOR
from passmuster.settings.origins import GivenValue

MAX_NAMED_TESTS = 3
"""With more failing tests, the command names their file."""


def rerun_command(program: str, argv: Sequence[str], record: FileAttempts) -> str:
    """Return a line for a shell that runs the failing tests of a file again, or all of it.

    Args:
        program: as the user called it.
        argv: the arguments of this run.
    """
    file = record.file
    failing = names_of_tests(record.final, is_bad=True)
    tests = failing if 0 < len(failing) <= MAX_NAMED_TESTS else file.selection.tests
    labels = [f"{file.label}{SEPARATOR}{test}" for test in tests] or [file.label]
    arguments = RUN_PARSER.parse(argv).passed_on
    seed = file.selection.seed
    words = (
        program,
        *options_for_one_file(argv),
        *([f"--shuffle={seed}"] if seed else ()),
        *_named(labels),
        *(("--", *arguments) if arguments else ()),
    )
    return " ".join(map(_quoted, words))


def resume_command(program: str, argv: Sequence[str], run_id: str) -> str:
    """Return a line for a shell that resumes a run."""
    arguments = RUN_PARSER.parse(argv)
    words = [word for given in arguments.given if given.setting.name != "resume" for word in _words(given)]
    passed_on = ("--", *arguments.passed_on) if arguments.passed_on else ()
    return " ".join(map(_quoted, (program, *words, "--resume", run_id, *_named(arguments.paths), *passed_on)))


def options_for_one_file(argv: Sequence[str]) -> list[str]:
    """Return the options of a call that apply to the rerun of a single file."""
    words: list[str] = []
    for given in RUN_PARSER.parse(argv).given:
        if not given.setting.whole_run:
            words += _words(given)
    return words


def _words(given: GivenValue) -> list[str]:
    """Return an argument as it was given, by its present name and with secrets removed."""
    option = given.setting.renamed.get(given.origin.name, given.origin.name)
    if option not in given.setting.options:
        return [option]
    return [option, ",".join(map(given.setting.type.shown or str, given.texts))]


def _named(paths: Sequence[str]) -> list[str]:
    """Return paths in a form that cannot be mistaken for options."""
    return [f"./{path}" if path.startswith("-") else path for path in paths]


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
