"""The documentation builds as a site without a warning, and shows the Python API from its docstrings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import REPOSITORY


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with the built site; a dead link or a page outside the menu fails the build."""
    folder = tmp_path_factory.mktemp("site")
    # Not with --quiet, which hides warnings from the check that fails the build.
    built = subprocess.run(
        [sys.executable, "-m", "properdocs", "build", "--site-dir", str(folder)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert built.returncode == 0, built.stderr
    return folder


def test_every_page_is_in_the_site(site: Path) -> None:
    pages = {
        path.relative_to(REPOSITORY / "docs").with_suffix(".html")
        for path in (REPOSITORY / "docs").rglob("*.md")
    }

    assert [page for page in pages if not (site / page).is_file()] == []


def test_the_readme_is_the_home_page(site: Path) -> None:
    assert "<h1" in (site / "index.html").read_text(encoding="utf-8")
    assert 'href="how-to/ci.html"' in (site / "index.html").read_text(encoding="utf-8")


def test_the_api_page_has_the_docstrings(site: Path) -> None:
    text = (site / "reference" / "api.html").read_text(encoding="utf-8")

    assert 'id="passmuster.api.TestRunner.discover_tests"' in text
    assert 'id="passmuster.api.TestConfig"' in text
