"""A text stream that tolerates lost readers, and whether to colour it or show a live footer.

A reader that disappears (`| head`), a terminal that hangs up, and an encoding that lacks a character are
common and must not end a run.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from typing import Protocol

from dispatcher.config.choices import ColorChoice, OutputFormat, Verbosity
from passmuster.model.errors import InfrastructureError

_READER_IS_GONE = frozenset({errno.EPIPE, errno.EIO, errno.ECONNRESET, errno.ENXIO})


class TextStream(Protocol):
    """The required methods of a stream; every text file has them."""

    @property
    def encoding(self) -> str | None:
        """The encoding of the output, if it has one."""

    def write(self, text: str, /) -> int:
        """Write text, possibly buffered."""

    def flush(self) -> None:
        """Write buffered text."""

    def fileno(self) -> int:
        """Return the file descriptor of the stream; an `OSError` says that it has none."""


class SafeStream:
    """Writes to `stream` until its reader disappears, then discards the output."""

    def __init__(self, stream: TextStream) -> None:
        self._stream = stream
        self.is_silent = False
        """Whether the reader has disappeared."""
        self._make_blocking()

    def write(self, text: str) -> None:
        """Write `text` and flush it.

        Raises:
            InfrastructureError: the stream failed for another reason than its reader (a full disk).
        """
        if self.is_silent or not text:
            return
        try:
            self._write_encodable(text)
            self._stream.flush()
        except ValueError:
            # Only a closed stream raises this here; encoding errors are already handled.
            self.is_silent = True
        except OSError as error:
            self.is_silent = True
            self._discard()
            if error.errno not in _READER_IS_GONE:
                raise InfrastructureError(
                    f"cannot write to the output: {error.strerror or error}; "
                    "free space or choose another output"
                ) from error

    def _write_encodable(self, text: str) -> None:
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            encoding = self._stream.encoding or "ascii"
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))

    def _make_blocking(self) -> None:
        # A parent that shares its pipe with this process may make it non-blocking (Node does). Python would
        # then lose the part of a text that does not fit into the pipe.
        try:
            os.set_blocking(self._stream.fileno(), True)
        except (OSError, ValueError):
            return

    def _discard(self) -> None:
        # Text that the stream still buffers would be flushed at exit, fail again, and turn the exit status
        # into 120 (https://docs.python.org/3/library/signal.html#note-on-sigpipe).
        try:
            descriptor = self._stream.fileno()
            nothing = os.open(os.devnull, os.O_WRONLY)
        except (OSError, ValueError):
            return
        os.dup2(nothing, descriptor)
        os.close(nothing)


_OFF = frozenset({"0", "false", "no", "off"})


def use_color(choice: ColorChoice, environ: Mapping[str, str], *, is_terminal: bool) -> bool:
    """Return whether to colour: decided by the choice, then `NO_COLOR`, `FORCE_COLOR`, and the terminal.

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


def resolve_output(choice: OutputFormat, *, is_terminal: bool) -> OutputFormat:
    """Return what a run prints, which its standard output decides unless the user did."""
    if choice is not OutputFormat.AUTO:
        return choice
    return OutputFormat.COMPACT if is_terminal else OutputFormat.CONTRACT


def use_live_footer(verbosity: Verbosity, environ: Mapping[str, str], *, is_terminal: bool) -> bool:
    """Return whether to show a live footer: never when quiet, on a dumb terminal, or on a CI."""
    if verbosity is Verbosity.QUIET or not is_terminal:
        return False
    return not _is_dumb(environ) and environ.get("CI", "").lower() in ("", *_OFF)


def is_terminal(stream: TextStream) -> bool:
    """Return whether a stream is connected to a terminal."""
    isatty = getattr(stream, "isatty", None)
    return bool(isatty is not None and isatty())


def _is_dumb(environ: Mapping[str, str]) -> bool:
    return environ.get("TERM", "") in ("dumb", "unknown")


FALLBACK_SIZE = os.terminal_size((80, 24))


def terminal_size(stream: TextStream) -> os.terminal_size:
    """Return the size of the terminal behind a stream; 80 columns and 24 lines if it is unknown."""
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return FALLBACK_SIZE
    # A terminal without a known size reports zero (an `expect` script, some CI systems).
    return size if size.columns and size.lines else FALLBACK_SIZE
