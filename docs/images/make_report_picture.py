"""Makes `report.png`: the HTML report of a real run, as a browser shows it.

    .venv/bin/python -m docs.images.make_report_picture

Copies the example project, adds a file that fails, one that waits too long and one that is flaky, runs it
four times so that there is a history, and takes a picture of the last report. In it the folders of this
checkout and of the project are shown as `~/passmuster` and `~/shop`. Needs Chromium and its driver.
"""

from __future__ import annotations

import base64
import shutil
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

from tests.e2e.support.browser import Browser, browser

HERE = Path(__file__).resolve().parent
HOME = HERE.parent.parent

WIDTH = 960
"""Pixels of the window: what a page of documents shows without making it smaller."""

MAX_BYTES = 250_000

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


def report_of(project: Path) -> Path:
    """Run the project until it has a history, and return the last report."""
    for name, source in (("gift_cards", FAILING), ("delivery", WAITING), ("newsletter", FLAKY)):
        (project / "tests" / f"test_{name}.py").write_text(source, encoding="utf-8")
    path = project / "report.html"
    command = [sys.executable, HOME / "run_tests.py", "--retries", "1", "--timeout", "9s"]
    command += ["--runner", "unittest", "--oversubscribe", "off", "-j", "4", "--report", f"html={path}"]
    for _ in range(4):
        subprocess.run(command, cwd=project, stdout=subprocess.DEVNULL, check=False)
    return path


def picture_of(page: Path, window: Browser) -> bytes:
    """Return the upper part of a page, down to the end of its timeline, as PNG."""
    text = page.read_text(encoding="utf-8")
    text = text.replace(str(HOME), "~/passmuster").replace(str(page.parent), "~/shop")
    page.write_text(text, encoding="utf-8")
    window.open(page, width=WIDTH)
    window.run(
        "const bar = [...document.querySelectorAll('#time-bars .is-fail')].pop();"
        "bar.dispatchEvent(new PointerEvent('pointerover', { bubbles: true }));"
        "document.querySelectorAll('#failures .file')[0].open = false;"
    )
    height = window.run("return document.getElementById('notes').getBoundingClientRect().top")
    clip = {"x": 0, "y": 0, "width": WIDTH, "height": height, "scale": 1}
    shot = {"format": "png", "captureBeyondViewport": True, "clip": clip}
    return base64.b64decode(window.driver.execute_cdp_cmd("Page.captureScreenshot", shot)["data"])


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


def main() -> None:
    """Make the picture."""
    with tempfile.TemporaryDirectory(prefix="pm-picture-") as directory:
        project = Path(directory) / "shop"
        ignored = shutil.ignore_patterns(".passmuster", "__pycache__")
        shutil.copytree(HOME / "examples" / "shop", project, ignore=ignored)
        page = report_of(project)
        with browser(Path(directory) / "browser") as window:
            picture = packed(picture_of(page, window))
    if len(picture) > MAX_BYTES:
        raise SystemExit(f"the picture has {len(picture)} bytes, more than {MAX_BYTES}")
    (HERE / "report.png").write_bytes(picture)


if __name__ == "__main__":
    main()
