"""A text stream that can always be written to: the console and the live footer print through it.

A reader that goes away (`| head`), a terminal that hangs up, and an encoding that lacks a character are
everyday events and must not end a run.
"""

from __future__ import annotations

import errno
import os
from typing import Protocol

from passmuster.errors import InfrastructureError

_READER_IS_GONE = frozenset({errno.EPIPE, errno.EIO, errno.ECONNRESET, errno.ENXIO})


class TextStream(Protocol):
    """What is needed of a stream; every text file has it."""

    @property
    def encoding(self) -> str | None:
        """The encoding of what is written, where it has one."""

    def write(self, text: str, /) -> int:
        """Take text."""

    def flush(self) -> None:
        """Pass on what was taken."""

    def fileno(self) -> int:
        """Return the descriptor behind the stream.

        Raises:
            OSError: there is none.
        """


class SafeStream:
    """Writes to `stream` until nobody reads it any more, and then keeps silent."""

    def __init__(self, stream: TextStream) -> None:
        self._stream = stream
        self._silent = False
        self._make_blocking()

    @property
    def is_silent(self) -> bool:
        """Whether the reader has gone."""
        return self._silent

    def write(self, text: str) -> None:
        """Write `text` and flush it.

        Raises:
            InfrastructureError: the stream broke for another reason than its reader (a full disk).
        """
        if self._silent or not text:
            return
        try:
            self._write_encodable(text)
            self._stream.flush()
        except ValueError:
            # Only a closed stream raises this here; encoding errors were dealt with.
            self._silent = True
        except OSError as error:
            self._silent = True
            self._point_at_nothing()
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
        # A parent that shares its pipe with us may have made it non-blocking (Node does). Python would
        # then lose what does not fit the pipe at once.
        try:
            os.set_blocking(self._stream.fileno(), True)
        except (OSError, ValueError):
            return

    def _point_at_nothing(self) -> None:
        # What the stream still buffers would be flushed at exit, fail again, and turn the exit status
        # into 120 (https://docs.python.org/3/library/signal.html#note-on-sigpipe).
        try:
            descriptor = self._stream.fileno()
            nothing = os.open(os.devnull, os.O_WRONLY)
        except (OSError, ValueError):
            return
        os.dup2(nothing, descriptor)
        os.close(nothing)
