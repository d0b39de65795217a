"""Workflows in the forms of public projects: what the replica runs of each, and what it names.

The workflows in `tests/fixtures/workflows/` imitate forms, not texts. Beside each is what is expected of it,
for each call of the replica.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from dispatcher.replica.choose import choose_job
from dispatcher.replica.reading import read_file, read_workflow
from dispatcher.replica.workflow_command import Replica, WorkflowCommand
from passmuster.model.errors import ConfigurationError

WORKFLOWS = Path(__file__).resolve().parents[3] / "fixtures" / "workflows"
FORMS = sorted(path.name for path in WORKFLOWS.iterdir())


def shown_command(command: WorkflowCommand) -> dict[str, object]:
    shown: dict[str, object] = {"step": command.step, "runs": command.shown, "shell": " ".join(command.shell)}
    for name in ("folder", "unknown", "installs", "machine", "programs"):
        if getattr(command, name):
            shown[name] = getattr(command, name)
    return {**shown, "variables": dict(command.variables)}


def chosen(form: str, job: str | None, step: str | None) -> dict[str, object]:
    root = WORKFLOWS / form
    try:
        found: Replica = choose_job(
            read_workflow(root / ".github/workflows/ci.yml"),
            workspace="/project",
            wanted=job,
            step=step,
            load=partial(read_file, root=root),
        )
    except ConfigurationError as error:
        return {"error": str(error).replace(f"{root}/", "")}
    return {
        "job": found.job,
        "matrix": found.matrix,
        "python": found.python,
        "commands": [shown_command(command) for command in found.commands],
        "installation": [f"{one.step}: {one.shown}" for one in found.installation],
        "tools": list(found.tools),
        "not replicated": list(found.differences),
    }


@pytest.mark.parametrize("form", FORMS)
def test_a_public_form_is_understood(form: str) -> None:
    calls = json.loads((WORKFLOWS / form / "expected.json").read_text(encoding="utf-8"))

    for call in calls:
        found = json.loads(json.dumps(chosen(form, call.get("--job"), call.get("--step"))))
        assert found == call["expected"], f"{form}, {call.get('--job')}, {call.get('--step')}"


def test_there_are_enough_forms() -> None:
    assert len(FORMS) >= 20
