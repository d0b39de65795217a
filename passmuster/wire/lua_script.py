"""Loads the Lua scripts that the broker executes, from the files beside this module."""

from __future__ import annotations

from pathlib import Path


def load_script(name: str, **constants: int) -> str:
    """Return the script of a file, preceded by a line that defines `constants`."""
    names, values = ", ".join(constants), ", ".join(map(str, constants.values()))
    text = Path(__file__).with_name(name).read_text(encoding="utf-8")
    return f"local {names} = {values}\n{text}"
