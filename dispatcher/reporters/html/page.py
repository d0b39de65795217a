"""Renders the page: one document that loads nothing, and that runs no script but its own.

The page's policy names the hashes of `page.css` and `page.js`, so that nothing else in the page can run,
style, load or send anything.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Callable, Iterator
from pathlib import Path

from dispatcher.reporters.html.data import counted, page_values
from dispatcher.reporters.html.entries import look
from dispatcher.reporters.html.report_model import Told
from dispatcher.reporters.templates import make_environment
from passmuster.model.units import format_bytes, format_seconds
from passmuster.model.version import VERSION

_HERE = Path(__file__).parent


def render_page(model: Told) -> Iterator[str]:
    """Yield the page in pieces."""
    from markupsafe import Markup

    style, script = (Markup((_HERE / name).read_text(encoding="utf-8")) for name in ("page.css", "page.js"))
    filters: dict[str, Callable[..., object]] = {
        "bytes": format_bytes,
        "counted": counted,
        "grouped": "{:,}".format,
        "look": look,
        # The line breaks of a printed text stay; its control characters went when it was cut to size.
        "printed": lambda text: Markup(html.escape(text, quote=False)),
        "seconds": format_seconds,
    }
    template = make_environment(_HERE, escape=html.escape, filters=filters).get_template("page.html.j2")
    yield from template.generate(
        page_values(model),
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        version=VERSION,
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
