"""argparse as our smaller commands use it: a wrong argument is one line, and a misspelt one is named.

`run_tests.py` reads its many settings by itself (`dispatcher/config/command_line.py`).
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import NoReturn

from passmuster.model.errors import ConfigurationError
from passmuster.model.version import VERSION
from passmuster.settings.spelling import nearest

_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


class OptionParser(argparse.ArgumentParser):
    """A parser that knows `-V` and raises a `ConfigurationError` where argparse prints and exits with 2."""

    def __init__(self, *, prog: str | None = None, description: str, epilog: str = "") -> None:
        super().__init__(prog=prog, description=description, epilog=epilog, allow_abbrev=False)
        self.add_argument("-V", "--version", action="version", version=f"%(prog)s {VERSION}")

    def error(self, message: str) -> NoReturn:
        """Raise what argparse found wrong."""
        raise ConfigurationError(f"{message}; see --help")

    def refuse_misspelt(self, words: Sequence[str]) -> None:
        """Raise for the first of these unknown words that is almost an option.

        Raises:
            ConfigurationError: there is one; the message names the option.
        """
        known = dict.fromkeys(_OPTION.findall(self.format_help()))
        for word in words:
            meant = nearest(word.partition("=")[0], known) if word.startswith("-") else None
            if meant:
                raise ConfigurationError(f"unknown argument: {word}; did you mean {meant}?")
