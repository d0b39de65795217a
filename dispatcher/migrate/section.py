"""Adds `[tool.passmuster]` to the text of a `pyproject.toml` without changing anything else. Pure."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence

from passmuster.model.errors import ConfigurationError

FILE_NAME = "pyproject.toml"


def check_toml(content: bytes) -> bool:
    """Return whether the file has a `[tool.passmuster]` table.

    Raises:
        ConfigurationError: it is broken.
    """
    try:
        document = tomllib.loads(content.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        why = " ".join(str(error).split())
        raise ConfigurationError(f"{FILE_NAME} is not valid TOML: {why}; repair it first") from error
    tool = document.get("tool", {})
    return isinstance(tool, dict) and "passmuster" in tool


def section_text(exclude: Sequence[str]) -> str:
    """Return the section, with a newline at its end."""
    # A JSON string is also a TOML string.
    values = ", ".join(json.dumps(path, ensure_ascii=False) for path in exclude)
    return f"[tool.passmuster]\nexclude = [{values}]   # the shell script did not run these\n"


def with_section(content: bytes | None, exclude: Sequence[str]) -> bytes | None:
    """Return a file with the section at its end.

    Args:
        content: the file, which is valid; None: it does not exist yet.

    Returns:
        None: the section cannot be added without changing existing text.
    """
    text = (content or b"").decode()
    newline = "\r\n" if "\r\n" in text else "\n"
    gap = newline if text else ""
    if text and not text.endswith("\n"):
        gap += newline
    extended = text + gap + section_text(exclude).replace("\n", newline)
    try:
        before, after = tomllib.loads(text), tomllib.loads(extended)
        if not isinstance(after["tool"], dict):
            return None
        after["tool"].pop("passmuster")
        if not after["tool"]:
            before.setdefault("tool", {})
        return extended.encode() if before == after else None
    except (tomllib.TOMLDecodeError, UnicodeEncodeError):
        return None
