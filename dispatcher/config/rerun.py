"""Makes the command that reruns one file exactly as this run ran it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

from dispatcher.config.settings import RUN_PARSER
from passmuster.settings.origins import GivenValue


def rerun_command(program: str, argv: Sequence[str], label: str) -> str:
    """Return a line for a shell."""
    return " ".join(map(_quoted, (program, *options_for_one_file(argv), *_named([label]))))


def resume_command(program: str, argv: Sequence[str], run_id: str) -> str:
    """Return a line for a shell that resumes a run."""
    arguments = RUN_PARSER.parse(argv)
    words = [word for given in arguments.given if given.setting.name != "resume" for word in _words(given)]
    return " ".join(map(_quoted, (program, *words, "--resume", run_id, *_named(arguments.paths))))


def options_for_one_file(argv: Sequence[str]) -> list[str]:
    """Return the options of a call that a run of one file needs again."""
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
    return ["--", *paths] if any(path.startswith("-") for path in paths) else list(paths)


def _quoted(word: str) -> str:
    """Return a word quoted for a shell, on one line of harmless characters."""
    if word.isprintable():
        return shlex.quote(word)
    escaped = word.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + "".join(map(_shell_escape, escaped)) + "'"


def _shell_escape(character: str) -> str:
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))
