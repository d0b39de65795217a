"""The fixed settings of one worker, which no task can change."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, field

from passmuster.model.executor import Limit
from passmuster.model.hidden_fields import repr_without
from passmuster.model.result import LOCAL_WORKER
from passmuster.model.status import Isolation

if TYPE_CHECKING:
    from passmuster.model.project_commands import ProjectCommands

NICE = 10
"""Priority decrement of test processes with --nice: the default of nice(1)."""


class WorkerSettings(Struct, frozen=True, kw_only=True):
    """Where and within which limits a worker executes files.

    Args:
        root: the project root, absolute; nothing outside it is executed.
        workdir: the directory the tests run in, absolute, inside the root.
        interpreter: the project's Python, absolute.
        interpreter_identity: its name in results (`CPython 3.11.7`); empty: unknown.
        environ: the environment that the tests start from: the caller's own.
        slots: usual number of concurrent files.
        budget_bytes: memory that all files together may use.
        limit_bytes: memory that one file may use; None: the budget.
        limits: slots and budget as text for the user, each with its source.
        tmp_parent: parent of the private TMPDIRs; must be short, because the path of a socket has at most
            107 bytes (unix(7)).
        keep_tmp: whether the TMPDIR of a file that does not pass is kept.
        coverage_dir: directory for coverage data; None: no coverage is measured.
        isolation: start method of files whose tasks set none.
        preload: the project's own packages that may be imported before a fork.
        commands: the project's own commands for files; None: read from the `pyproject.toml` of the root when
            a file needs one.
        idle_cpus: CPUs that extra files may use while they are idle; None: no extra files.
        cpus: available CPUs; None: unknown, and not shared with other runs.
        nice: priority decrement of test processes, as in nice(1).
        state_dir: directory for what the worker learns between runs; None: nothing is stored.
        name: the worker's name in results.
    """

    root: Path
    workdir: Path
    interpreter: str
    environ: Mapping[str, str]
    slots: int
    budget_bytes: int
    limit_bytes: int | None = None
    limits: tuple[Limit, ...] = ()
    tmp_parent: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))
    keep_tmp: bool = False
    coverage_dir: Path | None = None
    isolation: Isolation = Isolation.AUTO
    preload: tuple[str, ...] = ()
    commands: ProjectCommands | None = None
    idle_cpus: int | None = None
    cpus: int | None = None
    nice: int = 0
    state_dir: Path | None = None
    name: str = LOCAL_WORKER
    interpreter_identity: str = ""

    __repr__ = repr_without("environ")
