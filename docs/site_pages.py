"""Adds to the site what the pages link to outside docs/: the changelog, the examples, and the like.

A hook of the site builder. The README is the home page, so that there is one text of it.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from properdocs.config.defaults import ProperDocsConfig
    from properdocs.structure.files import Files
    from properdocs.structure.pages import Page

REPOSITORY = Path(__file__).resolve().parents[1]

OUTSIDE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "LICENSE": "LICENSE",
    "benchmarks/README.md": "benchmarks.md",
    "tests/faults/README.md": "fault-harness.md",
    "benchmarks/public/suites.toml": "benchmarks/public/suites.toml",
    ".github/workflows/run-tests.yml": "workflows/run-tests.yml",
    "templates/run-tests.yml": "templates/run-tests.yml",
    **{
        f"examples/ci/{path.name}": f"examples/ci/{path.name}"
        for path in (REPOSITORY / "examples/ci").iterdir()
    },
    **{
        path.relative_to(REPOSITORY).as_posix(): path.relative_to(REPOSITORY).as_posix()
        for path in (REPOSITORY / "deploy").rglob("*")
        if path.is_file()
    },
}
"""Files of the repository by their path, and where each stands in the site."""

_LINK = re.compile(r"\]\(([^)\s#:]+)")


def on_files(files: Files, config: ProperDocsConfig) -> Files:
    """Add the files of `OUTSIDE`."""
    from properdocs.structure.files import File

    for source, place in OUTSIDE.items():
        files.append(File.generated(config, place, abs_src_path=str(REPOSITORY / source)))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Point links at the place that a file has in the site."""
    places = {place: source for source, place in OUTSIDE.items()}
    here = page.file.src_uri
    source_folder = posixpath.dirname(places.get(here, f"docs/{here}"))

    def link(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(source_folder, match[1]))
        place = OUTSIDE.get(target, target.removeprefix("docs/"))
        return f"]({posixpath.relpath(place, posixpath.dirname(here) or '.')}"

    return _LINK.sub(link, markdown)
