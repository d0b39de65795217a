"""Makes `report.png` and `step_summary.png`: what a real run reports, as a browser and GitHub show it.

    npm pack mermaid && tar -xzf mermaid-*.tgz package/dist/mermaid.min.js
    .venv/bin/python -m docs.images.make_report_picture package/dist/mermaid.min.js

Takes pictures of what the reporters make of the run in `report_run.jsonl`, which `report_run.py` records.
Needs Chromium and its driver. Without the path of Mermaid, which GitHub draws the timeline with, only
`report.png` is made.
"""

from __future__ import annotations

import base64
import re
import sys
import tempfile
import zlib
from pathlib import Path

from markdown_it import MarkdownIt

from docs.images.report_run import HERE, MARK, digest, make_sources
from tests.e2e.support.browser import Browser, browser

WIDTH = 960
"""Pixels of the window: what a page of documents shows without making it smaller."""

SUMMARY_WIDTH = 1120
"""Pixels of a step summary, in which its tables fit."""

MAX_BYTES = 250_000
"""Bytes of a picture, so that the documents stay quick to load."""

GITHUB_STYLE = """\
body { margin: 24px 32px; font: 16px/1.5 "Noto Sans", Helvetica, Arial, sans-serif; color: #1f2328 }
h2 { padding-bottom: 9px; border-bottom: 1px solid #d1d9e0b3; font-size: 24px }
h3 { font-size: 20px }
table { border-collapse: collapse }
th, td { padding: 6px 13px; border: 1px solid #d1d9e0 }
tr:nth-child(even) { background: #f6f8fa }
code { padding: 3px 6px; border-radius: 6px; background: #818b981f; font-size: 85% }
a { color: #0969da; text-decoration: none }
"""

CROSS = '<span style="color: #e5534b">✖</span>'


def picture_of_report(report: str, folder: Path, window: Browser) -> bytes:
    """Return the upper part of the report, down to the end of its memory chart, as PNG."""
    page = folder / "report.html"
    page.write_text(report, encoding="utf-8")
    window.open(page, width=WIDTH)
    window.run(
        "const bar = [...document.querySelectorAll('#time-bars .is-fail')].pop();"
        "bar.dispatchEvent(new PointerEvent('pointerover', { bubbles: true }));"
        "document.querySelectorAll('#failures .file')[0].open = false;"
        "for (const name of ['trends', 'notes', 'files']) document.getElementById(name).hidden = true;"
        "document.querySelector('footer').hidden = true;"
    )
    return screenshot(window, "document.getElementById('memory').getBoundingClientRect().bottom")


def picture_of_summary(summary: str, folder: Path, window: Browser, mermaid: Path) -> bytes:
    """Return the step summary as PNG, about as GitHub shows it."""
    markdown = MarkdownIt("commonmark", {"html": True}).enable("table")
    body = markdown.render(summary)
    body = re.sub(
        r'<pre><code class="language-mermaid">(.*?)</code></pre>',
        r"<pre class=mermaid>\1</pre>",
        body,
        flags=re.DOTALL,
    )
    page = folder / "summary.html"
    page.write_text(
        # The machine may have no font for emoji.
        f'<!doctype html><meta charset="utf-8"><style>{GITHUB_STYLE}</style>{body.replace("❌", CROSS)}'
        f'<script src="{mermaid.resolve().as_uri()}"></script>',
        encoding="utf-8",
    )
    window.open(page, width=SUMMARY_WIDTH)
    window.wait_for("return document.querySelectorAll('.mermaid svg').length", 1)
    return screenshot(window, "document.documentElement.scrollHeight", width=SUMMARY_WIDTH)


def screenshot(window: Browser, height: str, *, width: int = WIDTH) -> bytes:
    """Return the page from its top down to a height, which is an expression, as PNG."""
    clip = {"x": 0, "y": 0, "width": width, "height": window.run(f"return {height}"), "scale": 1}
    shot = {"format": "png", "captureBeyondViewport": True, "clip": clip}
    return base64.b64decode(window.driver.execute_cdp_cmd("Page.captureScreenshot", shot)["data"])


def packed(png: bytes, *, source: str) -> bytes:
    """Return a PNG that contains the digest of its source, packed as well as possible.

    Browsers only pack fast.
    """
    signature, rest = png[:8], png[8:]
    before, after, pixels = b"", b"", b""
    while rest:
        size = 12 + int.from_bytes(rest[:4])
        chunk, rest = rest[:size], rest[size:]
        if chunk[4:8] == b"IDAT":
            pixels += chunk[8:-4]
        elif pixels:
            after += chunk
        else:
            before += chunk
    text = _chunk(MARK + digest(source).encode())
    return signature + before + text + _chunk(b"IDAT" + zlib.compress(zlib.decompress(pixels), 9)) + after


def _chunk(body: bytes) -> bytes:
    """Return a part of a PNG: its length without the four bytes of its kind, the part, and its checksum."""
    return (len(body) - 4).to_bytes(4) + body + zlib.crc32(body).to_bytes(4)


def main(mermaid: Path | None) -> None:
    """Make the pictures."""
    sources = make_sources()
    pictures = {}
    with tempfile.TemporaryDirectory(prefix="picture-") as directory:
        folder = Path(directory)
        with browser(folder / "browser") as window:
            pictures["report.png"] = picture_of_report(sources["report.png"], folder, window)
            if mermaid is not None:
                shown = picture_of_summary(sources["step_summary.png"], folder, window, mermaid)
                pictures["step_summary.png"] = shown
    for name, png in pictures.items():
        picture = packed(png, source=sources[name])
        if len(picture) > MAX_BYTES:
            raise SystemExit(f"{name} has {len(picture)} bytes, more than {MAX_BYTES}; it is not written")
        (HERE / name).write_bytes(picture)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
