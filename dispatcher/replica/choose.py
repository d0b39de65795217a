"""Chooses the job of a workflow that runs the tests. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from msgspec import structs

from dispatcher.replica.expressions import UNKNOWN, Context, Unknowns
from dispatcher.replica.job import JobSource, matrix_contexts, read_job
from dispatcher.replica.node import Node
from dispatcher.replica.step import LoadFile, StepReader
from dispatcher.replica.workflow_command import Replica
from passmuster.model.errors import ConfigurationError
from passmuster.model.text import first_texts

_MAX_CALLS = 4
"""Workflows that call one another, one in another."""

_USUAL_NAMES = ("test", "tests", "unit", "unit-tests", "unittests", "pytest")
"""Names of the job that most people mean."""

_MAX_SHOWN = 8
"""Steps that a message names."""


def choose_job(
    workflow: Node,
    *,
    workspace: str,
    wanted: str | None,
    step: str | None = None,
    python: str = "",
    load: LoadFile = lambda _: None,
) -> Replica:
    """Return the job that runs the tests.

    Args:
        wanted: the job's name; None: the only one that runs the tests.
        step: the name, ID or number of the step to run; None: those that run the tests.
        python: the version here, such as `3.12`; a combination of a matrix that sets it up is preferred.
        load: reads other files of the repository: called workflows, composite actions.

    Raises:
        ConfigurationError: there is no such job or step, none that runs the tests, or several; or a part does
            not have the shape that it has in a workflow.
    """
    names = [name for name, _ in workflow["jobs"].items()]
    top = (wanted or "").partition(" / ")[0]
    if wanted is not None and top not in names:
        raise ConfigurationError(
            f"{workflow.where} has no job {wanted!r} (from --job); it has {', '.join(names) or 'none'}"
        )
    event = _event(workflow)
    scopes: dict[str, dict[str, object]] = {
        "github": {"workspace": workspace, "event_name": event},
        "runner": {"os": "Linux"},
        "inputs": _own_inputs(workflow, event),
    }
    read = [
        read_job(source, wanted_step=step, python=python)
        for source in _sources(workflow, Context(scopes=scopes), load, "", depth=0)
        if wanted is None or source.name == wanted or source.name.startswith(f"{wanted} / ")
    ]
    if not any(replica.commands for replica in read):
        raise ConfigurationError(_nothing_found(workflow, read, wanted, step))
    return _only_one(read, workflow.where)


def _only_one(read: Sequence[Replica], where: str) -> Replica:
    """Return the job of which it is surest that it runs the tests; the others are named."""
    certainty = max(replica.certainty for replica in read)
    able = [replica for replica in read if replica.certainty == certainty]
    # What CI does not run for this event, or not on Linux, is no rival.
    found = [one for one in able if not one.is_skipped] or able
    found = [one for one in found if one.is_linux] or found
    if len(found) > 1:
        jobs = ", ".join(replica.job for replica in found)
        usual = next((one.job for one in found if one.job.lower() in _USUAL_NAMES), found[0].job)
        raise ConfigurationError(
            f"several jobs of {where} run the tests ({jobs}): name one, such as --job {shlex.quote(usual)}"
        )
    others = tuple(f"the job {one.job}, which runs tests too" for one in able if one is not found[0])
    return structs.replace(found[0], differences=(*found[0].differences, *others))


def _event(workflow: Node) -> str:
    """Return the event to assume: a push, if the workflow runs then."""
    node = workflow["on"]
    names = [name for name, _ in node.items()] if isinstance(node.value, dict) else _names(node)
    preferred = [name for name in ("push", "pull_request") if name in names]
    return (preferred or names or ["push"])[0] or "push"


def _own_inputs(workflow: Node, event: str) -> dict[str, object]:
    """Return the inputs of a workflow that no other one calls: most events have none."""
    if event not in ("workflow_call", "workflow_dispatch"):
        return {}
    return {
        name: one["default"].value if one["default"].is_there else UNKNOWN
        for name, one in _declared_inputs(workflow, event).items()
    }


def _declared_inputs(workflow: Node, event: str) -> Node:
    events = workflow["on"]
    return events[event]["inputs"] if isinstance(events.value, dict) else Node(value=None, where=events.where)


def _sources(
    workflow: Node, context: Context, load: LoadFile, caller: str, *, depth: int
) -> Iterator[JobSource]:
    """Yield the jobs of a workflow; instead of a job that calls another workflow, the jobs of that one."""
    for name, job in workflow["jobs"].items():
        shown = f"{caller} / {name}" if caller else name
        # What a job needs has passed, or CI would not start it.
        needs = {other: {"result": "success"} for other in _names(job["needs"])}
        own = context.with_scope("needs", needs)
        called = job["uses"].text()
        target = load(called.removeprefix("./")) if called.startswith("./") and depth < _MAX_CALLS else None
        if target is None or not target["jobs"].is_there:
            yield JobSource(name=shown, job=job, workflow=workflow, context=own, load=load)
            continue
        inner, _ = next(matrix_contexts(job, own))
        reader = StepReader(context=inner, unknowns=Unknowns(), load=load)
        inputs = reader.inputs(_declared_inputs(target, "workflow_call"), job["with"])
        fresh = Context(scopes={**context.scopes, "inputs": inputs}, assumed=inner.assumed)
        yield from _sources(target, fresh, load, shown, depth=depth + 1)


def _names(node: Node) -> list[str]:
    if node.is_list:
        return [one.text() for one in node.elements()]
    return [node.text()] if node.is_there else []


def _nothing_found(workflow: Node, read: Sequence[Replica], wanted: str | None, step: str | None) -> str:
    where = workflow.where if wanted is None else f"the job {wanted!r} (from --job) of {workflow.where}"
    steps = [f"{replica.job}: {text}" for replica in read for text in replica.steps]
    shown = "; ".join(first_texts(steps, _MAX_SHOWN))
    if step is not None:
        return f"{where} has no step {step!r} (from --step); it has {shown or 'none'}"
    helps = f"name the step with --step, such as one of {shown}" if shown else "it has no steps"
    return (
        f"{where} does not run the tests: expected a step that runs run-tests, pytest, tox, nox or another "
        f"test command; {helps}"
    )
