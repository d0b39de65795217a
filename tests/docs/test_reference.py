"""The reference is complete: settings, statuses, variables, events as the program has them."""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatcher.config.settings import SETTINGS
from dispatcher.discovery.layout import SCRIPT_EXTRA_ROOTS
from dispatcher.discovery.patterns import ORDINARY_EXCLUDED_NAMES
from dispatcher.history.schema import BROKEN_NAME
from dispatcher.model.exit_codes import ExitCode
from passmuster.model.status import Outcome, Status, StopReason
from passmuster.model.task import TestTask
from tests.docs.pages import REPOSITORY
from worker.process.environment import get_test_environment

PAGE = (REPOSITORY / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")


def test_the_settings_are_those_of_the_program() -> None:
    made = runpy.run_path(str(REPOSITORY / "docs" / "make_reference.py"))

    assert made["page_with_tables"](PAGE) == PAGE, "run: .venv/bin/python docs/make_reference.py"
    assert all(f"**{setting.name}**" in PAGE for setting in SETTINGS)
    for schema, document in made["SCHEMAS"].items():
        assert made["schema_of"](document) == schema.read_text(encoding="utf-8")


@pytest.mark.parametrize("code", ExitCode)
def test_every_exit_status_is_explained(code: ExitCode) -> None:
    assert f"\n| {code.value} | " in PAGE


@pytest.mark.parametrize("status", Status)
def test_every_verdict_is_explained(status: Status) -> None:
    assert f"\n| `{status}` | " in PAGE


@pytest.mark.parametrize(
    "word", [*Outcome, *StopReason, *SCRIPT_EXTRA_ROOTS, *ORDINARY_EXCLUDED_NAMES, BROKEN_NAME]
)
def test_every_closed_set_is_complete(word: str) -> None:
    assert f"`{word}`" in PAGE


def test_every_variable_that_a_test_finds_is_listed() -> None:
    task = TestTask(run_id="r", file_path="tests/test_a.py")
    added = get_test_environment({}, task=task, tmp_dir=Path("/tmp/x"), coverage_file=Path("/tmp/y"))

    assert [name for name in added if f"| `{name}` |" not in PAGE] == []


def test_every_event_and_every_field_is_listed() -> None:
    golden = REPOSITORY / "tests" / "contract" / "golden" / "events.jsonl"
    events = [json.loads(line) for line in golden.read_text(encoding="ascii").splitlines()]
    names = {event["event"] for event in events} | {key for event in events for key in _keys(event)}
    rows = PAGE.partition("\n## Events\n")[2].partition("\n## ")[0]

    assert sorted(name for name in names if f"`{name}`" not in rows and f'`"{name}":' not in rows) == []
    assert f"`version` ({events[0]['version']})" in rows


def _keys(value: object) -> Iterator[str]:
    """Yield every key in a JSON value, at any depth."""
    if isinstance(value, dict):
        yield from value
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _keys(inner)


def test_the_changelog_has_a_place_for_what_is_not_released() -> None:
    changelog = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")

    _, _, section = changelog.partition("\n## Unreleased\n")
    assert section.strip().startswith(("The first version", "- "))
