"""Reads a secret or a password from a file."""

from __future__ import annotations

from pathlib import Path

from passmuster.errors import ConfigurationError


def read_secret_file(path: Path, *, source: str) -> str:
    """Return what a file holds, without the line's end.

    Args:
        path: the file.
        source: who named it (`--secret-file`), for errors.

    Raises:
        ConfigurationError: it cannot be read, or is empty.
    """
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{source} {path} cannot be read: {error}") from error
    if not text:
        raise ConfigurationError(f"{source} {path} is empty: write what it is to hold into it")
    return text
