"""Chooses the job of a workflow that runs the tests. Pure."""

from __future__ import annotations

from dispatcher.workflow.job import JobReader
from dispatcher.workflow.node import Node
from dispatcher.workflow.replica import Replica
from passmuster.errors import ConfigurationError

_LOOKED_FOR = "a step that runs run_tests.py, run-tests, run_tests.sh or run_ci_replica.py"


def choose_job(workflow: Node, *, workspace: str, wanted: str | None) -> Replica:
    """Return what the job does that runs the tests.

    Args:
        workflow: the workflow.
        workspace: the project's root.
        wanted: the job's name; None: the only one that runs the tests.

    Raises:
        ConfigurationError: no such job, none that runs the tests, several, or something in another shape
            than it has in a workflow.
    """
    names = [name for name, _ in workflow["jobs"].items()]
    if wanted is not None and wanted not in names:
        raise ConfigurationError(
            f"{workflow.where} has no job {wanted!r} (from --job); it has {', '.join(names) or 'none'}"
        )
    read = [
        JobReader(name=name, workflow=workflow, workspace=workspace).read()
        for name in names
        if wanted in (None, name)
    ]
    found = [replica for replica in read if replica.calls]
    if not found:
        where = workflow.where if wanted is None else f"the job {wanted!r} (from --job) of {workflow.where}"
        raise ConfigurationError(f"{where} does not run the tests: expected {_LOOKED_FOR}")
    if len(found) > 1:
        jobs = ", ".join(replica.job for replica in found)
        raise ConfigurationError(
            f"several jobs of {workflow.where} run the tests ({jobs}): name one, such as --job {found[0].job}"
        )
    return found[0]
