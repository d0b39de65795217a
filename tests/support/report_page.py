"""Reads a page of the HTML report as a browser without scripts would, and insists that it is well-formed."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from dispatcher.history.file_history import EarlierRun
from dispatcher.model.events import RunEvent, RunFinished
from dispatcher.model.results import FileAttempts
from dispatcher.reporters.html.report_model import EarlierRuns, ReportModel
from dispatcher.reporters.html.reporter import render_page

_VOID = {"meta", "link", "input", "br"}
_SHAPES = {"rect", "line", "path", "circle", "polyline"}
"""Elements of SVG that close themselves."""


@dataclass(slots=True)
class Page:
    """What stands in a page.

    Args:
        source: all of it.
        elements: each element's name and attributes, in their order.
        text: what can be read, without styles and scripts.
        data: what the page's script gets.
    """

    source: str
    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    text: str = ""
    data: dict[str, Any] = field(default_factory=dict)

    def named(self, name: str) -> list[dict[str, str]]:
        """Return the attributes of each element of that name."""
        return [attributes for element, attributes in self.elements if element == name]

    def of_class(self, name: str) -> list[dict[str, str]]:
        """Return the attributes of each element of that class."""
        return [found for _, found in self.elements if name in found.get("class", "").split()]

    def section(self, name: str) -> str:
        """Return the source of one section."""
        return self.source.partition(f'<section id="{name}"')[2].partition("</section>")[0]


class _Reader(HTMLParser):
    def __init__(self, read: Page) -> None:
        super().__init__(convert_charrefs=True)
        self.read = read
        self.open: list[str] = []
        self.kinds: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, attrs)
        self.read.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _VOID:
            self.open.append(tag)
        if tag == "script":
            self.kinds.append(dict(attrs).get("type") or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in _SHAPES, tag
        self.read.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data: str) -> None:
        inside = self.open[-1] if self.open else ""
        if inside == "script":
            if self.kinds[-1] == "application/json":
                self.read.data = json.loads(data)
        elif inside != "style":
            self.read.text += data


def read_page(source: str) -> Page:
    """Return what stands in a page; fails when its elements are not closed in order."""
    read = Page(source=source)
    reader = _Reader(read)
    reader.feed(source)
    reader.close()
    assert reader.open == []
    return read


def no_history(
    run_id: str, paths: Collection[str], or_unsteady: Collection[str]
) -> Mapping[str, Sequence[EarlierRun]]:
    return {}


def rerun_command(record: FileAttempts) -> str:
    return f"run-tests '{record.file.label}'"


def page_of(events: Iterable[RunEvent], *, earlier_runs: EarlierRuns = no_history) -> Page:
    """Return the page of a run that is told of, read."""
    return read_page(source_of(events, earlier_runs=earlier_runs))


def source_of(events: Iterable[RunEvent], *, earlier_runs: EarlierRuns = no_history) -> str:
    """Return the page of a run that is told of, as it is written."""
    model = ReportModel(earlier_runs, rerun_command)
    for event in events:
        model.handle(event)
        if isinstance(event, RunFinished):
            return "".join(render_page(model))
    raise AssertionError("the run was not finished")


def hashes_of(read: Page, element: str) -> list[str]:
    """Return the hash of each style or script that is not data, as a policy names it."""
    found = re.findall(rf"<{element}>(.*?)</{element}>", read.source, re.DOTALL)
    return ["sha256-" + base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in found]
