"""What the documents link to and what they name exists."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.docs.pages import REPOSITORY, anchors_of, links_of, pages, without_blocks

_NAMED_FILE = re.compile(r"`((?:[\w.-]+/)*[\w.-]+\.(?:py|md|toml|svg|txt))`")
_NAMED_FOLDER = re.compile(
    r"`((?:worker|dispatcher|passmuster|tests/(?:docs|architecture|e2e))(?:/[\w-]+)*/)`"
)

OF_USERS = {
    "tests/test_x.py",
    "tests/a.py",
    "manage.py",
    "runtests.py",
    "tests.py",
    "coverage_report.txt",
    "requirements.txt",
    "test_integration/test_integration_mock.py",
}
"""Files that a user's project has, or that a run writes."""

FOLDERS = (
    "passmuster",
    "worker",
    "dispatcher",
    "tests",
    "benchmarks",
    "scripts",
    "docs",
    "examples",
    "requirements",
)
REPOSITORY_FILES = {
    path.relative_to(REPOSITORY).as_posix()
    for folder in FOLDERS
    for path in (REPOSITORY / folder).rglob("*")
    if path.is_file()
} | {path.name for path in REPOSITORY.iterdir() if path.is_file()}

PAGES = pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)


@PAGES
def test_every_link_leads_somewhere(page: Path) -> None:
    wrong = []
    for link in links_of(page.read_text(encoding="utf-8")):
        target, _, anchor = link.partition("#")
        path = page.parent / target if target else page
        if not path.exists() or (anchor and anchor not in anchors_of(path.read_text(encoding="utf-8"))):
            wrong.append(link)

    assert wrong == []


@PAGES
def test_every_file_that_is_named_exists(page: Path) -> None:
    text = without_blocks(page.read_text(encoding="utf-8"))

    missing = [name for name in _NAMED_FILE.findall(text) if not _exists(name)]
    missing += [name for name in _NAMED_FOLDER.findall(text) if not (REPOSITORY / name).is_dir()]

    assert missing == []


def _exists(name: str) -> bool:
    return name in OF_USERS or any(path == name or path.endswith(f"/{name}") for path in REPOSITORY_FILES)


@pytest.mark.parametrize("name", ["running.svg", "failure.svg"])
def test_a_picture_is_whole_and_loads_nothing(name: str) -> None:
    text = (REPOSITORY / "docs" / "images" / name).read_text(encoding="utf-8")

    assert ElementTree.fromstring(text).tag.endswith("svg")
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text) == []


def test_every_page_of_the_folder_is_linked_from_the_readme() -> None:
    linked = set(links_of((REPOSITORY / "README.md").read_text(encoding="utf-8")))

    assert {page.relative_to(REPOSITORY).as_posix() for page in (REPOSITORY / "docs").rglob("*.md")} <= linked


def test_a_broken_name_would_be_found() -> None:
    assert not _exists("worker/not_there.py")
    assert _exists("passmuster_child_supervisor.py")
    assert anchors_of("# What is `not` promised?\n```\n# none\n```\n") == {"what-is-not-promised"}
