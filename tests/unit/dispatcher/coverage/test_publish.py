"""A new report replaces the previous one, and no other files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dispatcher.coverage.combine import LIST_NAME, publish


def report(directory: Path, *names: str, text: str = "new") -> Path:
    directory.mkdir(exist_ok=True)
    for name in names:
        (directory / name).write_text(text)
    return directory


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.name != LIST_NAME)


def test_pages_of_files_that_vanished_go_and_foreign_files_stay(tmp_path: Path) -> None:
    target = report(tmp_path / "target", "notes.html", "mine.txt", text="mine")
    publish(report(tmp_path / "first", "index.html", "a.html", "b.html"), target)
    publish(report(tmp_path / "second", "index.html", "b.html", text="newer"), target)
    assert names(target) == ["b.html", "index.html", "mine.txt", "notes.html"]
    assert (target / "index.html").read_text() == "newer"
    assert (target / "mine.txt").read_text() == "mine"


def test_a_report_by_coverage_itself_is_replaced_by_its_own_list(tmp_path: Path) -> None:
    target = report(tmp_path / "target", "index.html", "a_py.html", "b_py.html", "notes.html")
    (target / "status.json").write_text(json.dumps({"files": {"a_py": {}, "b_py": {}}}))
    publish(report(tmp_path / "new", "index.html", "b_py.html", "status.json"), target)
    assert names(target) == ["b_py.html", "index.html", "notes.html", "status.json"]


def test_an_own_gitignore_is_neither_overwritten_nor_removed(tmp_path: Path) -> None:
    target = report(tmp_path / "target", ".gitignore", text="mine")
    publish(report(tmp_path / "first", "index.html", ".gitignore"), target)
    publish(report(tmp_path / "second", "index.html"), target)
    assert (target / ".gitignore").read_text() == "mine"


@pytest.mark.parametrize(
    "content", ["no json", "{}", "[1, null]", '["../outside", "/etc/hostname", ".", "", "sub/x"]']
)
def test_a_forged_list_deletes_nothing(tmp_path: Path, content: str) -> None:
    outside = tmp_path / "outside"
    outside.write_text("keep")
    target = report(tmp_path / "target", "mine.txt")
    (target / "sub").mkdir()
    (target / "sub" / "x").write_text("keep")
    (target / LIST_NAME).write_text(content)
    publish(report(tmp_path / "new", "index.html"), target)
    assert outside.exists()
    assert (target / "sub" / "x").exists()
    assert names(target) == ["index.html", "mine.txt", "sub"]


def test_a_directory_named_like_a_stale_page_stays(tmp_path: Path) -> None:
    target = tmp_path / "target"
    (target / "a.html").mkdir(parents=True)
    (target / LIST_NAME).write_text('["a.html"]')
    publish(report(tmp_path / "new", "index.html"), target)
    assert names(target) == ["a.html", "index.html"]
