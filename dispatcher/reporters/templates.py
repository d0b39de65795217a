"""Jinja2 environments for the pages that reporters write: whatever a template prints is escaped.

Jinja2 takes 50 ms to import, so only the functions here import it, when a page is written.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from passmuster.model.text import one_line

if TYPE_CHECKING:
    from jinja2 import Environment

MAX_PRINTED_CHARS = 1000
"""Characters of one printed value, such as a path or a message; of a longer one, both ends."""


def make_environment(
    folder: Path, *, escape: Callable[[str], str], filters: dict[str, Callable[..., object]]
) -> Environment:
    """Return an environment for the templates in `folder`.

    Args:
        escape: turns one line of text without control characters into markup; it is applied to every
            printed value that is not already markup, results of filters included.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def finalize(value: object) -> object:
        return value if hasattr(value, "__html__") else Markup(escape(bounded_line(str(value))))

    environment = Environment(
        autoescape=True,
        finalize=finalize,
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(filters)
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return environment


def bounded_line(text: str) -> str:
    """Return `text` as one line without control characters, of about `MAX_PRINTED_CHARS` at most."""
    line = one_line(text)
    if len(line) <= MAX_PRINTED_CHARS:
        return line
    half = MAX_PRINTED_CHARS // 2
    return f"{line[:half]}[... {len(line) - 2 * half} characters left out ...]{line[-half:]}"
