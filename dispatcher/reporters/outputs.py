"""Stores the output of every attempt below the run's own directory.

The output of `tests/test_a.py` is `tests/test_a.py.log`, that of its second attempt `tests/test_a.py.2.log`,
and the stacks of a timeout are `tests/test_a.py.stacks`. The files contain the output unchanged, including
control characters.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from dispatcher.model.events import AttemptFinished, RunEvent
from passmuster.model.errors import InfrastructureError

OUTPUTS = "output"
"""Their directory in that of the run."""

_MAX_NAME_BYTES = 200
"""Bytes of one component: file systems allow 255, and suffixes come on top."""

_NOT_PORTABLE = frozenset('%\\:*?"<>|')
_LOOKS_LIKE_ATTEMPT = re.compile(r"\.(?=[0-9]+$)")
_LOOKS_LIKE_OURS = re.compile(r"\.(?=(?:log|stacks)$)")


class OutputReporter:
    """Writes the output of each attempt to a file below `directory` that only the user can read."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def handle(self, event: RunEvent) -> None:
        """Store the output of a finished attempt.

        Raises:
            InfrastructureError: it cannot be written.
        """
        if not isinstance(event, AttemptFinished):
            return
        path = output_path(self._directory, event.file.path, event.result.attempt)
        try:
            self._write(path, event.result.output)
            if event.result.stacks:
                self._write(path.with_suffix(".stacks"), event.result.stacks)
        except OSError as error:
            raise InfrastructureError(
                f"cannot store outputs in {str(self._directory)!r}: {error.strerror or error}; "
                "free space there, or run without history; further outputs are not stored"
            ) from error

    def close(self) -> None:
        """Every file is closed already."""

    def _write(self, path: Path, text: str) -> None:
        data = text.encode("utf-8", "backslashreplace")
        try:
            _write_private(path, data)
        except FileNotFoundError:
            # The first one there; or a test has cleaned the project's tree (`git clean`) while it ran.
            self._directory.parent.mkdir(parents=True, exist_ok=True)
            for inner in reversed(path.relative_to(self._directory).parents):
                (self._directory / inner).mkdir(mode=0o700, exist_ok=True)
            _write_private(path, data)


def output_path(directory: Path, path: str, attempt: int) -> Path:
    """Return the path of the output of an attempt at a file."""
    suffix = "" if attempt <= 1 else f".{attempt}"
    return directory / f"{safe_name(path)}{suffix}.log"


def safe_name(path: str) -> str:
    """Return a relative path that is safe to create, and different for different `path`s.

    What is not printable, or not portable, is percent-encoded; so are names that lead out of the
    directory, and endings that could be taken for those of another file's log.
    """
    *folders, name = [_safe_component(part) for part in path.split("/") if part]
    folders = [_LOOKS_LIKE_OURS.sub("%2E", folder) for folder in folders]
    return "/".join([*folders, _LOOKS_LIKE_ATTEMPT.sub("%2E", name)])


def _safe_component(part: str) -> str:
    if part in (".", ".."):
        return part.replace(".", "%2E")
    safe = "".join(
        character if character.isprintable() and character not in _NOT_PORTABLE else _percent(character)
        for character in part
    )
    if len(safe.encode()) <= _MAX_NAME_BYTES:
        return safe
    # The hash keeps long names apart; a percent sign that no escape follows keeps it from any short one.
    digest = hashlib.sha256(part.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return safe.encode()[: _MAX_NAME_BYTES - 20].decode(errors="ignore") + "%~" + digest


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def _write_private(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, 0o600), "wb") as file:
        file.write(data)
