"""The documents of the repository and what stands in them: blocks of code, links, names of files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NOT_RUN = re.compile(r"<!-- not run: (.+?) -->\n\Z")
_EXIT = re.compile(r"<!-- exit (\d+): (.+?) -->\n\Z")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block.

    Args:
        page: the page, relative to the repository.
        line: the line of its fence, from 1.
        language: what stands behind the fence.
        code: its text.
        not_run: the reason in the comment above that says it is not run; empty: it is.
        status: the exit status it must have.
    """

    page: str
    line: int
    language: str
    code: str
    not_run: str
    status: int

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """Return every document: those of the folder `docs` and those beside it."""
    return sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])


def blocks_of(text: str, page: str) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    for match in _FENCE.finditer(text):
        above = text[: match.start()]
        not_run, status = _NOT_RUN.search(above), _EXIT.search(above)
        yield Block(
            page=page,
            line=above.count("\n") + 1,
            language=match[1],
            code=match[2],
            not_run=not_run[1] if not_run else "",
            status=int(status[1]) if status else 0,
        )


def all_blocks() -> list[Block]:
    """Return the fenced blocks of all documents."""
    return [
        block
        for page in pages()
        for block in blocks_of(page.read_text(encoding="utf-8"), page.relative_to(REPOSITORY).as_posix())
    ]


def without_blocks(text: str) -> str:
    """Return a page's text without its fenced blocks."""
    return _FENCE.sub("", text)


def links_of(text: str) -> list[str]:
    """Return the targets of the links and pictures of a page."""
    return _LINK.findall(without_blocks(text))


def anchors_of(text: str) -> set[str]:
    """Return the anchors that the headings of a page get."""
    headings = (heading.replace("`", "") for heading in _HEADING.findall(without_blocks(text)))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
