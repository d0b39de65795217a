"""The arguments of `run_ci_replica.py`: its options, as rows."""

# Without `from __future__ import annotations`: the annotations are the table.

from pathlib import Path
from typing import Annotated

from msgspec import Struct
from msgspec.structs import replace

from passmuster.model.units import Amount
from passmuster.settings.argument_parser import ArgumentParser
from passmuster.settings.help import program_help
from passmuster.settings.setting import Requirement, flag, option, rows_of
from passmuster.settings.values import PATH, SIZE, TEXT, count

MAX_CPUS = 4096
"""A higher number is a typing error."""

_OF_A_WORKFLOW = (Requirement(name="workflow", what="a workflow"),)


class ReplicaArguments(Struct, frozen=True, kw_only=True):
    """The options of the replica."""

    cpus: Annotated[
        int | None,
        option("cpus", count(minimum=1, maximum=MAX_CPUS), "CPUs of the runner to imitate", default="4"),
    ] = None
    memory: Annotated[
        Amount | None, option("memory", SIZE, "memory of the runner to imitate", default="16GiB")
    ] = None
    workflow: Annotated[
        Path | None, option("workflow", replace(PATH, metavar="FILE"), "run what this CI workflow runs")
    ] = None
    job: Annotated[
        str | None,
        option(
            "job",
            replace(TEXT, metavar="NAME"),
            "the job of the workflow",
            default="the one with tests",
            needs=_OF_A_WORKFLOW,
        ),
    ] = None
    step: Annotated[
        str | None,
        option(
            "step",
            replace(TEXT, metavar="NAME"),
            "the step of the job: its name, ID, or number",
            default="those that run the tests",
            needs=_OF_A_WORKFLOW,
        ),
    ] = None
    install: Annotated[
        bool,
        flag(
            "install",
            "with --workflow: run its steps that install packages, in a private environment",
            needs=_OF_A_WORKFLOW,
        ),
    ] = False
    dry_run: Annotated[
        bool, flag("dry-run", "with --workflow: only print what it would run", needs=_OF_A_WORKFLOW)
    ] = False


PROGRAMS = ("run-ci-replica", "run_ci_replica.py", "./run_ci_replica.py")
"""The names by which the program is called: the installed command, and the file in a repository."""

ROWS = rows_of(ReplicaArguments)
WORDS = ArgumentParser(ROWS)


def format_help(program: str) -> str:
    """Return the help text, without a final newline."""
    return program_help(f"{program} [OPTION...]", "Runs the unit tests as CI would.", ROWS)
