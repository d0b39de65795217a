"""`--changed`: what files read decides which of them run, wherever they ran before."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.e2e.support.outcome import Outcome
from tests.e2e.support.project import Project

USES = """
import unittest
{imports}
class T(unittest.TestCase):
    def test(self):
        {body}
if __name__ == "__main__":
    unittest.main()
"""


def git(root: Path, *words: str) -> None:
    who = ("-c", "user.name=x", "-c", "user.email=x@localhost")
    subprocess.run(["git", *who, *words], cwd=root, check=True, capture_output=True)


@pytest.fixture
def shop(project: Project) -> Project:
    """A project under git: two modules, each with a test, and a test that reads a data file."""
    project.write(
        {
            "pyproject.toml": OVERRIDE,
            "tests/prices.py": "cent = 1\n",
            "tests/stock.py": "many = 2\n",
            "tests/data.txt": "3\n",
            "tests/test_prices.py": USES.format(imports="import prices", body="self.assertTrue(prices.cent)"),
            "tests/test_stock.py": USES.format(
                imports="import importlib", body="importlib.import_module('stock')"
            ),
            "tests/test_data.py": USES.format(imports="", body="open('tests/data.txt').close()"),
        }
    )
    git(project.root, "init", "-q", "-b", "main")
    git(project.root, "add", "-A")
    git(project.root, "commit", "-qm", "first")
    return project


OVERRIDE = "[[tool.passmuster.overrides]]\nfiles = ['tests/test_data.py']\ncached = false\n"


def shop_files() -> list[str]:
    return [f"tests/test_{name}.py" for name in ("data", "prices", "stock")]


def selected(outcome: Outcome) -> set[str]:
    assert outcome.code == 0, outcome
    return {Path(line).stem.removeprefix("test_") for line in outcome.stdout.splitlines() if line[:1] != "["}


def test_files_run_whose_inputs_changed_since_they_passed(shop: Project) -> None:
    def listed(*options: str) -> set[str]:
        return selected(shop.run("--changed", "--list", *options, events=False))

    assert listed() == {"prices", "stock", "data"}
    assert shop.run().code == 0
    assert listed() == set()
    cached = shop.run("--cached", "--junitxml", "report.xml")
    assert cached.statuses() == dict.fromkeys(shop_files(), "PASS")
    others = [event["path"] for event in cached.of_kind("file-finished") if not event["cached"]]
    assert set(others) == {"tests/test_data.py"}  # Its override says so.
    assert "Cached: 2 file(s)" in cached.stdout
    assert (shop.root / "report.xml").read_text().count("PASS (cached)") == 2
    none = shop.run("--changed", events=False)
    assert (none.code, "No file can be affected by a change" in none.stdout) == (0, True)

    shop.write({"tests/stock.py": "many = 3\n"})
    reasons = shop.run("--changed", "--list", events=False)
    assert selected(reasons) == {"stock"}
    assert "test_stock.py: tests/stock.py changed" in reasons.stderr
    (listed_file,) = json.loads(shop.run("--changed", "--list", "--output", "json", events=False).stdout)[
        "files"
    ]
    assert (listed_file["path"], listed_file["reasons"][0]) == (
        "tests/test_stock.py",
        "tests/stock.py changed",
    )
    explained = shop.run("explain", "tests/test_stock.py", events=False)
    assert "affected          tests/stock.py changed" in explained.stdout
    ran = shop.run("--changed")
    assert ran.statuses() == {"tests/test_stock.py": "PASS"}
    assert listed() == {"stock"}  # It differs from the commit, although it passed.
    git(shop.root, "commit", "-qam", "second")
    assert listed() == set()
    assert selected(shop.run("--changed=HEAD~1", "--list", events=False)) == {"stock"}

    shop.write({"tests/test_data.py": USES.format(imports="", body="self.fail('no')")})
    assert shop.run("--changed").code == 1
    git(shop.root, "checkout", "-q", ".")
    assert listed() == {"data"}  # It failed in its last run.

    unknown = shop.run("--changed=nowhere", events=False)
    assert (unknown.code, "git does not know the commit nowhere" in unknown.stderr) == (2, True)


def test_shards_and_workers_record_inputs_too(shop: Project) -> None:
    for number in (1, 2):
        shard = shop.run("--shard", f"{number}/2", "--record", "records", "--no-history")
        assert shard.code == 0, shard
    assert shop.run("merge", "records", events=False).code == 0
    shop.write({"tests/data.txt": "4\n"})
    assert selected(shop.run("--changed", "--list", events=False)) == {"data"}

    history = shop.base / "shared.sqlite3"
    (shop.root / ".passmuster" / "history.sqlite3").rename(history)
    shared = ("--changed", "--list", "--history-from", str(history))
    assert selected(shop.run(*shared, events=False)) == {"data"}
    parts = [selected(shop.run(*shared, "--shard", f"{number}/2", events=False)) for number in (1, 2)]
    assert set.union(*parts) == {"data"}
    alone = shop.run("--changed", "--shard", "1/2", events=False)
    assert (alone.code, "name one with --history-from" in alone.stderr) == (2, True)

    git(shop.root, "commit", "-qam", "second")
    assert shop.run("--cluster", "1").code == 0
    assert selected(shop.run("--changed", "--list", events=False)) == set()
