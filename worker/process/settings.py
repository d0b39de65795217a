"""The fixed settings of one worker, which no task can change."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, field

from passmuster.model.executor import Limit, SlotRange
from passmuster.model.hidden_fields import repr_without
from passmuster.model.oversubscription import max_slots
from passmuster.model.result import LOCAL_WORKER
from passmuster.model.status import Isolation

if TYPE_CHECKING:
    from passmuster.model.project_commands import ProjectCommands

NICE = 10
"""Priority decrement of test processes with --nice: the default of nice(1)."""


class WorkerSettings(Struct, frozen=True, kw_only=True):
    """Where and within which limits a worker executes files. The first three paths are absolute."""

    root: Path
    """The project root; nothing outside it is executed."""
    workdir: Path
    """The directory in which the tests run, inside the root."""
    interpreter: str
    """The project's Python."""
    environ: Mapping[str, str]
    """The caller's environment, from which those of the tests are derived."""
    slots: int
    """Usual number of concurrent files."""
    budget_bytes: int
    limit_bytes: int | None = None
    """Memory that one file may use; None: the budget."""
    limits: tuple[Limit, ...] = ()
    """Slots and budget as text for the user, each with its source."""
    tmp_parent: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))
    """Must be short, because the path of a socket has at most 107 bytes (unix(7))."""
    keep_tmp: bool = False
    """Whether the TMPDIR of a file that does not pass is kept."""
    coverage_dir: Path | None = None
    """None: no coverage is measured."""
    isolation: Isolation = Isolation.AUTO
    """Start method of files whose tasks set none."""
    preload: tuple[str, ...] = ()
    """The project's own packages that may be imported before a fork."""
    commands: ProjectCommands | None = None
    """None: read from the `pyproject.toml` of the root when a file needs one."""
    idle_cpus: int | None = None
    """CPUs that extra files may use while they are idle; None: no extra files."""
    cpus: int | None = None
    """Available CPUs; None: unknown, and not shared with other runs."""
    nice: int = 0
    """Priority decrement of test processes, as in nice(1)."""
    state_dir: Path | None = None
    """Directory for what the worker learns between runs; None: nothing is stored."""
    records_inputs: bool = True
    """Whether results of passed files contain what these read."""
    is_sole: bool = True
    """Whether no other worker serves the same runs."""
    name: str = LOCAL_WORKER
    interpreter_identity: str = ""
    """The interpreter's name in results (`CPython 3.11.7`); empty: unknown."""

    @property
    def own_slots(self) -> SlotRange:
        """The numbers of its slots in a run that no other worker serves."""
        return SlotRange(first=0, total=max_slots(self.slots, cpus=self.idle_cpus))

    __repr__ = repr_without("environ")
