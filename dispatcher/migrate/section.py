"""Puts `[tool.passmuster]` into the text of a `pyproject.toml`, and disturbs nothing else in it. Pure."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence

from passmuster.errors import ConfigurationError

FILE_NAME = "pyproject.toml"


def check_toml(content: bytes) -> bool:
    """Return whether the file has a table of ours.

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
    # A JSON text is a TOML text too, when it holds nothing but ASCII.
    values = ", ".join(json.dumps(path) for path in exclude)
    return f"[tool.passmuster]\nexclude = [{values}]   # the shell script did not follow links\n"


def with_section(content: bytes | None, exclude: Sequence[str]) -> bytes | None:
    """Return a file with the section at its end.

    Args:
        content: the file; None: there is none yet.
        exclude: what the section leaves out.

    Returns:
        None: it cannot be put there without changing what stands there.
    """
    section = section_text(exclude)
    if not content:
        return section.encode()
    newline = "\r\n" if b"\r\n" in content else "\n"
    text = content.decode()
    gap = "" if text.endswith("\n") else newline
    extended = f"{text}{gap}{newline}{section.replace(chr(10), newline)}".encode()
    try:
        before, after = tomllib.loads(text), tomllib.loads(extended.decode())
    except tomllib.TOMLDecodeError:
        return None
    after["tool"].pop("passmuster")
    if not after["tool"] and "tool" not in before:
        after.pop("tool")
    return extended if before == after else None
