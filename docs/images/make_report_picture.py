"""Makes `report.png` and `step_summary.png`: what a real run reports, as a browser and GitHub show it.

    npm pack mermaid && tar -xzf mermaid-*.tgz package/dist/mermaid.min.js
    .venv/bin/python -m docs.images.make_report_picture package/dist/mermaid.min.js

Copies the example project, adds a file that fails, one that exceeds its time limit and one that is flaky,
runs it four times so that there is a history, and takes pictures of the last run. The directories of this
checkout and of the project are shown as `~/passmuster` and `~/shop`. Needs Chromium and its driver. Without
the path of Mermaid, which GitHub draws the timeline with, only `report.png` is made.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

from markdown_it import MarkdownIt

from tests.e2e.support.browser import Browser, browser

HERE = Path(__file__).resolve().parent
HOME = HERE.parent.parent

WIDTH = 960
"""Pixels of the window: what a page of documents shows without making it smaller."""

SUMMARY_WIDTH = 1120
"""Pixels of a step summary, in which its tables fit."""

MAX_BYTES = 250_000
"""Bytes of a picture, so that the documents stay quick to load."""

GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_RUN_ID": "1",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "example/shop",
    "GITHUB_SHA": "0123456789abcdef",
}

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

FAILING = """\
import unittest

from shop.cart import Cart


class GiftCards(unittest.TestCase):
    def test_a_card_pays_for_the_whole_cart(self):
        print("card 4711 holds 25.00, the cart costs 30.00")
        self.assertEqual(30 - 25, 0)

    def test_a_card_is_valid_for_three_years(self):
        self.assertTrue(Cart)
"""

WAITING = """\
import time
import unittest


class Delivery(unittest.TestCase):
    def test_the_parcel_service_answers(self):
        print("asking the parcel service", flush=True)
        time.sleep(60)
"""

FLAKY = """\
import pathlib
import unittest

RUNS = pathlib.Path(__file__).with_suffix(".runs")


class Newsletter(unittest.TestCase):
    def test_the_mail_is_sent_in_time(self):
        count = int(RUNS.read_text()) if RUNS.exists() else 0
        RUNS.write_text(str(count + 1))
        self.assertIn(count, (1, 2, 4, 6), "the queue was not empty after 2 s")
"""
"""Fails in its 1st, 4th and 6th attempt: it is flaky in the 1st, 3rd and 4th run with one retry each."""

TIME_LIMIT = """
[[tool.passmuster.overrides]]
files = ["tests/test_delivery.py"]
timeout = "4s"
"""


def run_project(project: Path) -> tuple[Path, Path]:
    """Run the project until it has a history, and return the last report and step summary."""
    for name, source in (("gift_cards", FAILING), ("delivery", WAITING), ("newsletter", FLAKY)):
        (project / "tests" / f"test_{name}.py").write_text(source, encoding="utf-8")
    with (project / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(TIME_LIMIT)
    report, summary = project / "report.html", project / "summary.md"
    command = [sys.executable, str(HOME / "run_tests.py"), "--retries", "1", "--runner", "unittest"]
    # A fork server would add attempts that verify the failures, and the flaky file counts its attempts.
    command += ["--isolation", "spawn", "--oversubscribe", "off", "-j", "4", "--report", f"html={report}"]
    environ = {**os.environ, **GITHUB, "GITHUB_STEP_SUMMARY": str(summary)}
    for _ in range(4):
        summary.unlink(missing_ok=True)
        subprocess.run(command, cwd=project, env=environ, stdout=subprocess.DEVNULL, check=False)
    return report, summary


def picture_of_report(page: Path, window: Browser) -> bytes:
    """Return the upper part of the report, down to the end of its memory chart, as PNG."""
    text = page.read_text(encoding="utf-8")
    text = text.replace(str(HOME), "~/passmuster").replace(str(page.parent), "~/shop")
    page.write_text(text, encoding="utf-8")
    window.open(page, width=WIDTH)
    window.run(
        "const bar = [...document.querySelectorAll('#time-bars .is-fail')].pop();"
        "bar.dispatchEvent(new PointerEvent('pointerover', { bubbles: true }));"
        "document.querySelectorAll('#failures .file')[0].open = false;"
        "for (const name of ['trends', 'notes', 'files']) document.getElementById(name).hidden = true;"
        "document.querySelector('footer').hidden = true;"
    )
    return screenshot(window, "document.getElementById('memory').getBoundingClientRect().bottom")


def picture_of_summary(summary: Path, window: Browser, mermaid: Path) -> bytes:
    """Return the step summary as PNG, about as GitHub shows it."""
    markdown = MarkdownIt("commonmark", {"html": True}).enable("table")
    body = markdown.render(summary.read_text(encoding="utf-8"))
    body = re.sub(
        r'<pre><code class="language-mermaid">(.*?)</code></pre>',
        r"<pre class=mermaid>\1</pre>",
        body,
        flags=re.DOTALL,
    )
    page = summary.with_suffix(".html")
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
    return packed(base64.b64decode(window.driver.execute_cdp_cmd("Page.captureScreenshot", shot)["data"]))


def packed(png: bytes) -> bytes:
    """Return a PNG with its pixels packed as well as they can be: browsers only pack them fast."""
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
    body = b"IDAT" + zlib.compress(zlib.decompress(pixels), 9)
    data = (len(body) - 4).to_bytes(4) + body + zlib.crc32(body).to_bytes(4)
    return signature + before + data + after


def main(mermaid: Path | None) -> None:
    """Make the pictures."""
    with tempfile.TemporaryDirectory(prefix="picture-") as directory:
        project = Path(directory) / "shop"
        ignored = shutil.ignore_patterns(".passmuster", "__pycache__")
        shutil.copytree(HOME / "examples" / "shop", project, ignore=ignored)
        report, summary = run_project(project)
        with browser(Path(directory) / "browser") as window:
            pictures = {"report.png": picture_of_report(report, window)}
            if mermaid is not None:
                pictures["step_summary.png"] = picture_of_summary(summary, window, mermaid)
    for name, picture in pictures.items():
        if len(picture) > MAX_BYTES:
            raise SystemExit(f"{name} has {len(picture)} bytes, more than {MAX_BYTES}; it is not written")
        (HERE / name).write_bytes(picture)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
