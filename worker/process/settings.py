"""What one worker is told once, and no task can change: where, with which interpreter, within what."""

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

PROPOSAL_FILE = "preload-proposal"
"""In the state folder: a package of the project, and in a second line why it should be preloaded."""

NICE = 10
"""How polite test processes are with --nice: what nice(1) does where nobody says how much."""


class WorkerSettings(Struct, frozen=True, kw_only=True):
    """The place where files are executed.

    Args:
        root: the project root, absolute; nothing outside it is executed.
        workdir: the directory the tests run in, absolute, inside the root.
        interpreter: the project's Python, absolute.
        interpreter_identity: what results call it (`CPython 3.11.7`); empty: unknown.
        environ: the environment that the tests start from: the caller's own.
        slots: files at once usually.
        budget_bytes: memory that all files together may use.
        limit_bytes: memory that one file may use; None: the budget.
        limits: slots and budget for people, each with its source.
        tmp_parent: directory in which the private TMPDIRs are made; short, because sockets in it may
            have no path of more than 107 bytes (unix(7)).
        keep_tmp: whether the TMPDIR of a file that does not pass is kept.
        coverage_dir: directory for coverage data; None: no coverage is measured.
        isolation: how the processes of files come into being where their tasks say nothing.
        preload: the project's own packages that may be imported before a fork.
        commands: the project's own commands for files; None: those in the `pyproject.toml` of the root, read
            when a file needs one.
        idle_cpus: processors for which further files may start while they are idle; None: for none.
        cpus: processors that there are; None: not known, and not shared with other runs.
        nice: by how much the priority of test processes is lowered, as nice(1) counts.
        state_dir: where the worker may keep what it learns between runs; None: nowhere.
        name: how this worker is called in results.
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
