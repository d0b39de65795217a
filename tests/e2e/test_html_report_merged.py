"""The HTML report of several machines' records: one page, with each machine at its place."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.support.project import Project
from tests.support.report_page import read_page


def test_records_of_two_shards_make_one_page(project: Project) -> None:
    passing = "import unittest\n\nclass Fine(unittest.TestCase):\n    def test_fine(self):\n        pass\n"
    failing = passing.replace("pass\n", "self.fail('on the other machine')\n")
    sources = {f"tests/test_{name}.py": failing if name == "d" else passing for name in "abcdef"}
    project.write(sources)
    records = [str(project.base / f"record-{number}") for number in (1, 2)]
    for number, record in enumerate(records, start=1):
        project.run("--shard", f"{number}/2", "--record", record, events=False)
    merged = project.run("merge", *records, "--report", "html", "--root", str(project.root), events=False)

    (path,) = (project.root / ".passmuster" / "runs").glob("*/report.html")
    assert merged.stdout.splitlines()[-1] == f"[INFO] Report: {path}", merged
    page = read_page(Path(path).read_text(encoding="utf-8"))
    assert "1 of 6 files failed" in page.text
    assert "on the other machine" in page.section("failures")
    assert [name.partition(",")[0] for name in page.data["workers"]] == ["shard 1", "shard 2"]
    assert sorted(row[0] for row in page.data["files"]) == sorted(sources)
    assert len({bar[6] for bar in page.data["bars"]}) == 2
