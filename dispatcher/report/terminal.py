"""Decides from the user's choice and the environment how a stream may be written to: colour, live footer.

The environment comes in as a mapping. The composition root asks them once for each stream.
"""

from __future__ import annotations

from collections.abc import Mapping

from dispatcher.config.choices import ColorChoice, Verbosity
from dispatcher.report.stream import TextStream

_OFF = frozenset({"0", "false", "no", "off"})


def use_color(choice: ColorChoice, environ: Mapping[str, str], *, is_terminal: bool) -> bool:
    """Return whether to colour: the choice, then `NO_COLOR`, then `FORCE_COLOR`, then the terminal itself.

    An empty `NO_COLOR` or `FORCE_COLOR` counts as unset (https://no-color.org), and `FORCE_COLOR=0` as off.
    """
    if choice is not ColorChoice.AUTO:
        return choice is ColorChoice.ALWAYS
    if environ.get("NO_COLOR"):
        return False
    forced = environ.get("FORCE_COLOR")
    if forced:
        return forced.lower() not in _OFF
    return is_terminal and not _is_dumb(environ)


def use_live_footer(verbosity: Verbosity, environ: Mapping[str, str], *, is_terminal: bool) -> bool:
    """Return whether to keep a footer on the terminal: never when quiet, on a dumb one, or on a CI's."""
    if verbosity is Verbosity.QUIET or not is_terminal:
        return False
    return not _is_dumb(environ) and environ.get("CI", "").lower() in ("", *_OFF)


def is_terminal(stream: TextStream) -> bool:
    """Return whether a stream goes to a terminal."""
    isatty = getattr(stream, "isatty", None)
    return bool(isatty is not None and isatty())


def _is_dumb(environ: Mapping[str, str]) -> bool:
    return environ.get("TERM", "") in ("dumb", "unknown")
