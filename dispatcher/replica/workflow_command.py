"""What the replica takes from a job of a workflow. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum

from msgspec import Struct

RunTests = Callable[[Sequence[str], Mapping[str, str]], int]
"""Runs the tests with the arguments of `run_tests.py` and an environment; returns its exit status."""


class WorkflowCommand(Struct, frozen=True, kw_only=True):
    """A command of the job: the arguments of `run_tests.py`, or a script that a shell runs.

    Args:
        folder: its working directory, relative to the project's root, or absolute; empty: the root.
        script: the script of its step; empty: Passmuster runs the tests with `arguments`.
        shell: the words that run the script, with `{0}` for its file.
        shown: the commands of the script, for the report.
        programs: the programs that it starts, and modules as `-m NAME`.
        unknown: the expressions in it whose value only CI knows.
        installs: the commands in it that install packages.
        machine: the commands in it that install programs on the machine.
    """

    step: str
    arguments: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    folder: str = ""
    script: str = ""
    shell: tuple[str, ...] = ()
    shown: str = ""
    programs: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    installs: tuple[str, ...] = ()
    machine: tuple[str, ...] = ()


class Certainty(IntEnum):
    """How it is known that a step runs the tests; the higher, the surer."""

    NONE = 0
    BY_NAME = 1
    BY_COMMAND = 2
    OWN_COMMAND = 3
    NAMED_BY_USER = 4


class Replica(Struct, frozen=True, kw_only=True):
    """What a job does, as far as it can be replicated.

    Args:
        installation: the steps before the commands that install packages.
        tools: the packages that its actions install, such as `uv`.
        matrix: the chosen combination of its matrix; empty: it has none.
        python: the Python version that it sets up, such as `3.12`; empty: unknown.
        differences: what is not replicated, a fragment each.
        is_skipped: whether CI does not run the job for the assumed event.
        steps: its steps, for messages: the label and the first command of each.
    """

    job: str
    commands: tuple[WorkflowCommand, ...]
    installation: tuple[WorkflowCommand, ...] = ()
    tools: tuple[str, ...] = ()
    matrix: str = ""
    python: str = ""
    differences: tuple[str, ...] = ()
    is_linux: bool = True
    is_skipped: bool = False
    certainty: Certainty = Certainty.NONE
    steps: tuple[str, ...] = ()
