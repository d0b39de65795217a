"""The arguments of a run: those of the settings, and those that only restate the default."""

from __future__ import annotations

from dispatcher.config.settings import SETTINGS
from passmuster.settings.values import on_one_line
from passmuster.settings.words import WordTable

SILENT = ("--unit", "--parallel", "--full", "--ff", "--failed-first")
"""Words of later shell scripts and of pytest that name what happens anyway."""

RUN_WORDS = WordTable(SETTINGS, ignored=SILENT, passes_on=True)


def unknown_warning(word: str) -> str:
    """Return the shell scripts' own warning for an unknown word."""
    return f"Unknown argument: {on_one_line(word)}"
