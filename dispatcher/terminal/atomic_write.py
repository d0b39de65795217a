"""Writes a report to a temporary file and renames it, so that it appears complete or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from passmuster.model.errors import ConfigurationError


def check_place(path: Path, *, what: str, option: str) -> None:
    """Create the directory of `path`, and check before the run that a file can be written there.

    Args:
        what: the kind of report, for the message, as is the option that named the path.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        is_directory, is_writable = path.is_dir(), os.access(path.parent, os.W_OK)
    except OSError as error:
        reason = error.strerror or str(error)
    else:
        reason = (
            "it is a directory" if is_directory else "" if is_writable else "its directory is not writable"
        )
    if reason:
        raise ConfigurationError(
            f"cannot write the {what} to {str(path)!r} (from {option}): {reason}; "
            "name a file that can be written"
        )


@contextmanager
def atomic_writer(path: Path, *, mode: int = 0o666) -> Iterator[TextIO]:
    """Yield a text file that appears at `path`, or replaces the file there, once everything is written.

    Args:
        mode: its permissions, minus the user's umask.

    Raises:
        OSError: it cannot be written.
    """
    if path.exists() and not path.is_file():
        # A pipe or a device (`/dev/stdout`) cannot be replaced.
        with path.open("w", encoding="utf-8") as file:
            yield file
        return
    target = path.resolve()
    temporary = target.with_name(f".{target.name[:100]}.{os.getpid()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(temporary, flags, mode), "w", encoding="utf-8") as file:
            yield file
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
