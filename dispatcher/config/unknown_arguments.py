"""Refuses unknown words that the user surely did not want ignored; any other word only causes a warning.

Refused are words that are almost an option of this program, and options of other test runners that select
tests or change how they run: ignoring them would run something else than was asked for, and could pass.
Loaded only for an unknown word.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from dispatcher.config.settings import OWN_VARIABLES, RUN_PARSER, SETTINGS
from passmuster.model.errors import ConfigurationError
from passmuster.settings.setting import VARIABLE_PREFIX, variable_name
from passmuster.settings.spelling import nearest
from passmuster.settings.values import on_one_line

_BY_PYTEST = "pass it to the pytest of every file: add -- {typed} at the end"
_EXCLUDE = 'name the files to run, or set exclude = ["..."] in [tool.passmuster]'
_ONE_FILE = "files run side by side without a terminal; run one by itself: python -m pytest {word} FILE"

FOREIGN_OPTIONS: dict[str, str] = {
    **dict.fromkeys(("-p", "-r", "-l", "-o", "-W", "-c"), _BY_PYTEST),
    **dict.fromkeys(("--tb", "--no-header", "--no-summary", "--showlocals"), _BY_PYTEST),
    **dict.fromkeys(("--import-mode", "--runxfail", "--reruns-delay", "--strict-markers"), _BY_PYTEST),
    **dict.fromkeys(("--confcutdir", "--assert", "--doctest-modules", "--full-trace"), _BY_PYTEST),
    **dict.fromkeys(("--pdb", "--trace", "--setup-show", "--setup-plan", "--fixtures"), _ONE_FILE),
    **dict.fromkeys(("-s", "--capture"), "-v prints what each file printed when it ends"),
    **dict.fromkeys(("--durations", "--durations-min"), "-v lists the slowest files"),
    **dict.fromkeys(("--ignore", "--ignore-glob"), _EXCLUDE),
    **dict.fromkeys(("--sw", "--stepwise", "--stepwise-skip"), "use --failed -x"),
    **dict.fromkeys(("-f", "--looponfail"), "use -x to stop at the first file that fails"),
    **dict.fromkeys(("--cov", "--cov-report", "--cov-config", "--cov-branch"), "use --coverage"),
    **dict.fromkeys(("--dist", "--tx", "--maxprocesses"), "use -j N; files run side by side anyway"),
    "--cov-fail-under": "use --coverage --coverage-fail-under PERCENT",
    "--no-cov": "coverage is measured only with --coverage",
    "--nf": "files run in an order of their own: those that failed first",
    "--new-first": "files run in an order of their own: those that failed first",
    "--pyargs": "name files or folders",
    "--reruns": "use --retries N, which runs a failed file again",
    "--rootdir": "use --root FOLDER",
    "--workers": "use --jobs N",
    "--processes": "use --jobs N",
    "--max-workers": "use --jobs N",
}
"""What to do instead, by the options of pytest, its plugins and unittest that no setting has as an alias."""

_WITHOUT_VALUE = frozenset(
    (
        *("-l", "--no-header", "--no-summary", "--showlocals"),
        *("--runxfail", "--strict-markers", "--doctest-modules", "--full-trace"),
    )
)
"""The options of pytest to pass on that take no value."""

_TEST_VARIABLES = tuple(f"{VARIABLE_PREFIX}{name}" for name in ("SLOT", "ATTEMPT", "FILE_MEMORY"))
"""Variables that a run sets for its tests, which may start another run."""

_OTHER_VARIABLES = (*OWN_VARIABLES, *_TEST_VARIABLES)


def refuse_options(words: Iterable[str], argv: Sequence[str] = ()) -> None:
    """Raise for the first unknown option that must not be ignored.

    Args:
        argv: all arguments, to find the value that follows an option.

    Raises:
        ConfigurationError: there is one; the message says what to use instead.
    """
    for word in words:
        name = word.partition("=")[0]
        is_long = name.startswith("--")
        foreign = name if is_long else _first_unknown_letter(name)
        if is_long and foreign in FOREIGN_OPTIONS:
            raise _foreign(foreign, word, argv)
        # Such as `-timeout`; `-kx` is nearer to `-k` than to any word.
        meant = nearest(name, RUN_PARSER.known)
        if meant:
            raise ConfigurationError(f"unknown argument: {on_one_line(word)}; did you mean {meant}?")
        if foreign in FOREIGN_OPTIONS:
            raise _foreign(foreign, word, argv)


def refuse_variables(names: Iterable[str]) -> None:
    """Raise for the first unknown variable whose name is almost that of a setting.

    Raises:
        ConfigurationError: there is one; the message names the right variable.
    """
    # People also try the names of the Python API's fields, such as `max_workers` for `jobs`.
    settings = [setting for setting in SETTINGS if setting.variables]
    meant = {name: name for setting in settings for name in setting.variables}
    meant |= {variable_name(setting.target): setting.variables[0] for setting in settings}
    known = {name.removeprefix(VARIABLE_PREFIX): right for name, right in meant.items()}
    for name in names:
        found = None if name in _OTHER_VARIABLES else nearest(name.removeprefix(VARIABLE_PREFIX), known)
        if found:
            raise ConfigurationError(
                f"unknown variable in the environment: {on_one_line(name)}; did you mean {known[found]}?"
            )


def _first_unknown_letter(word: str) -> str:
    """Return the option of one letter that made a word such as `-xvs` unknown."""
    return next((f"-{letter}" for letter in word[1:] if f"-{letter}" not in RUN_PARSER.known), word)


def _foreign(option: str, word: str, argv: Sequence[str]) -> ConfigurationError:
    typed = on_one_line(shlex.join(_words_of(option, word, argv)))
    instead = FOREIGN_OPTIONS[option].format(word=option, typed=typed)
    return ConfigurationError(f"{option} is an option of other test runners, not of this one: {instead}")


def _words_of(option: str, word: str, argv: Sequence[str]) -> list[str]:
    """Return the option with its value, from the same word or the next one."""
    if option in _WITHOUT_VALUE:
        return [option]
    if option.startswith("--"):
        if "=" in word:
            return [word]
    else:
        value = word.partition(option[1:])[2]
        if value:
            return [option, value]
    behind = argv[argv.index(word) + 1 :][:1] if word in argv else ()
    has_value = behind and not behind[0].startswith("-")
    return [option, *behind] if has_value else [option, "VALUE"]
