"""The commands that the replica takes from a job of a workflow. Pure."""

from __future__ import annotations

from msgspec import Struct


class WorkflowCommand(Struct, frozen=True, kw_only=True):
    """A command of the job that runs the tests.

    Args:
        folder: its working directory, relative to the project's root, or absolute; empty: the root.
    """

    step: str
    arguments: tuple[str, ...]
    variables: tuple[tuple[str, str], ...] = ()
    folder: str = ""


class Replica(Struct, frozen=True, kw_only=True):
    """What a job does, as far as it can be replicated.

    Args:
        matrix: the chosen combination of its matrix; empty: it has none.
        python: the Python version that it sets up, such as `3.12`; empty: unknown.
        differences: what is not replicated, a fragment each.
    """

    job: str
    commands: tuple[WorkflowCommand, ...]
    matrix: str = ""
    python: str = ""
    differences: tuple[str, ...] = ()
