"""The run that `report.png` and `step_summary.png` show, and what the reporters make of it now.

    .venv/bin/python -m docs.images.report_run

Copies the example project, adds a file that fails, one that exceeds its time limit and one that is flaky,
runs it four times so that there is a history, and keeps the events of the last run in `report_run.jsonl`. The
directories of this checkout and of the project are kept as `~/passmuster` and `~/shop`.

A picture contains the digest of its source, the page or the summary. `tests/docs/test_pictures.py` makes the
source again from the kept events, so that it notices a picture older than the reporters.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from msgspec import convert, to_builtins

from dispatcher.config.load import load_config
from dispatcher.config.rerun import rerun_command
from dispatcher.history.file_history import EarlierRun
from dispatcher.history.history import History
from dispatcher.merge.replay import replay_events
from dispatcher.model.events import RunEvent, RunFinished, RunStarted
from dispatcher.reporters.ci.output import source_url
from dispatcher.reporters.ci.reporters import MAX_BYTES
from dispatcher.reporters.ci.summary import PageRequest, summary_page
from dispatcher.reporters.console.lines import memory_budget
from dispatcher.reporters.html.reporter import HtmlReporter
from passmuster.model.version import VERSION
from run_tests import TestRunner

HERE = Path(__file__).resolve().parent
HOME = HERE.parent.parent

KEPT = HERE / "report_run.jsonl"
"""An event a line, by the name of its class; at the end, the earlier runs of the files."""

EARLIER = "EarlierRuns"

MARK = b"tEXtSource SHA-256\0"
"""What precedes the digest in a PNG: the kind of the chunk, and its keyword."""

RETRIES = ("--retries", "1")
# A fork server would add attempts that verify the failures, and the flaky file counts its attempts.
ARGUMENTS = (*RETRIES, "--runner", "unittest", "--isolation", "spawn", "--oversubscribe", "off", "-j", "4")

GITHUB = {
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "example/shop",
    "GITHUB_SHA": "0123456789abcdef",
}

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


class _Kept:
    """A reporter that keeps the events."""

    def __init__(self) -> None:
        self.events: list[RunEvent] = []

    def handle(self, event: RunEvent) -> None:
        """Keep an event."""
        self.events.append(event)

    def close(self) -> None:
        """Do nothing."""


def record(project: Path) -> str:
    """Run the project until it has a history, and return the events of the last run as lines."""
    for name, source in (("gift_cards", FAILING), ("delivery", WAITING), ("newsletter", FLAKY)):
        (project / "tests" / f"test_{name}.py").write_text(source, encoding="utf-8")
    with (project / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(TIME_LIMIT)
    # Only the values of `ARGUMENTS` count, and no other run on this machine.
    environ = {name: os.environ[name] for name in ("PATH", "HOME")}
    loaded = load_config(ARGUMENTS, environ, project)
    for _ in range(4):
        kept = _Kept()
        runner = TestRunner(loaded.config, environ=environ, cwd=project, origins=loaded.origins)
        runner.run_tests([kept], samples_usage=True)
    started, finished = kept.events[0], kept.events[-1]
    assert isinstance(started, RunStarted)
    assert isinstance(finished, RunFinished)
    paths = [one.file.path for one in finished.results.records]
    with contextlib.closing(History(project)) as history:
        earlier = history.load_earlier_runs(paths, run_id=started.plan.run_id)
    found = [(type(event).__name__, to_builtins(event)) for event in kept.events]
    found.append((EARLIER, to_builtins(earlier)))
    text = "".join(f"{json.dumps({name: value})}\n" for name, value in found)
    for place, shown in ((project, "~/shop"), (HOME, "~/passmuster"), (sys.base_prefix, "/usr")):
        text = text.replace(str(place), shown)
    return text


def load() -> tuple[Sequence[RunEvent], Mapping[str, Sequence[EarlierRun]]]:
    """Return the kept events, and the earlier runs of the files."""
    kinds = {kind.__name__: kind for kind in get_args(RunEvent)}
    lines = [json.loads(line).popitem() for line in KEPT.read_text(encoding="utf-8").splitlines()]
    *events, (_, earlier) = lines
    # Not strictly: an event may have got a field since then.
    return [convert(value, kinds[name]) for name, value in events], convert(
        earlier, dict[str, tuple[EarlierRun, ...]]
    )


def make_sources() -> dict[str, str]:
    """Return what each picture shows, by its name: the HTML report, and the step summary in Markdown."""
    events, earlier = load()
    started, finished = events[0], events[-1]
    assert isinstance(started, RunStarted)
    assert isinstance(finished, RunFinished)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        reporter = HtmlReporter(
            page,
            runs_dir=Path(folder),
            earlier_runs=lambda run_id, paths, or_unsteady: earlier,
            rerun=lambda file: rerun_command("./run_tests.py", RETRIES, file),
            say=lambda line: None,
        )
        lost = replay_events(events, [reporter])
        assert not lost, lost
        report = page.read_text(encoding="utf-8")
    request = PageRequest(
        results=finished.results,
        budget=memory_budget(started.limits),
        planned={one.file.path: one for one in started.plan.files},
        source_url=source_url(GITHUB, ""),
    )
    return {"report.png": report, "step_summary.png": summary_page(request, MAX_BYTES)}


def digest(source: str) -> str:
    """Return what a picture contains of its source: a digest that does not depend on the version."""
    return hashlib.sha256(source.replace(f"Passmuster {VERSION}", "Passmuster").encode()).hexdigest()


def digest_in(picture: Path) -> str:
    """Return the digest that a picture contains; empty: it has none."""
    return picture.read_bytes().partition(MARK)[2][:64].decode("ascii", "replace")


def main() -> None:
    """Record the run."""
    with tempfile.TemporaryDirectory(prefix="picture-") as directory:
        project = Path(directory) / "shop"
        ignored = shutil.ignore_patterns(".passmuster", "__pycache__")
        shutil.copytree(HOME / "examples" / "shop", project, ignore=ignored)
        KEPT.write_text(record(project), encoding="utf-8")


if __name__ == "__main__":
    main()
