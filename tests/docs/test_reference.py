"""The reference is complete: settings, statuses, variables, events as the program has them."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from dispatcher.config.settings import SETTINGS
from dispatcher.discovery.layout import SCRIPT_EXTRA_ROOTS
from dispatcher.discovery.patterns import ORDINARY_EXCLUDED_NAMES
from dispatcher.history.schema import BROKEN_NAME
from dispatcher.model.exit_codes import ExitCode
from dispatcher.reporters import jsonl
from passmuster.model.status import Outcome, Status, StopReason
from passmuster.model.task import TestTask
from tests.docs.pages import REPOSITORY
from worker.process.environment import get_test_environment

PAGE = (REPOSITORY / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")


def test_the_settings_are_those_of_the_program() -> None:
    made = runpy.run_path(str(REPOSITORY / "docs" / "make_reference.py"))

    assert made["page_with_tables"](PAGE) == PAGE, "run: .venv/bin/python docs/make_reference.py"
    assert all(f"**{setting.name}**" in PAGE for setting in SETTINGS)


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
    described = (jsonl.__doc__ or "").partition("\n\n    ")[2].partition("\n\nThe file is ASCII")[0]
    events = re.findall(r"^(?: {4})?([a-z]+(?:-[a-z]+)?)  ", described, re.MULTILINE)
    fields = re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", described)

    assert len(events) == 10
    assert [name for name in [*events, *fields] if f"`{name}`" not in PAGE] == []


def test_the_changelog_has_a_place_for_what_is_not_released() -> None:
    changelog = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")

    _, _, section = changelog.partition("\n## Unreleased\n")
    assert section.strip().startswith(("The first version", "- "))
