"""Selects the files of a run: discovers them, narrows them to the request, and plans their order."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from dispatcher.config.model import TestConfig
from dispatcher.config.overrides import Overrides, project_commands
from dispatcher.discovery.discover import Discovered, discover
from dispatcher.discovery.pytest_files import ProjectPython
from dispatcher.discovery.selected_tests import check_selections
from dispatcher.discovery.selection import named_files
from dispatcher.history.file_history import FileHistory
from dispatcher.history.history import History, open_history
from dispatcher.model.plan import PlannedFile, RunPlan, ShardPlan, TestFile
from dispatcher.model.shard_option import Shard
from dispatcher.planning.planner import make_plan
from passmuster.host.capacity import Capacity
from passmuster.model.errors import ConfigurationError
from passmuster.model.status import RunnerKind
from passmuster.settings.origins import Origins

if TYPE_CHECKING:
    from dispatcher.planning.shard_selection import ShardSelection


class RunSelection:
    """The files of one run.

    Args:
        cwd: the base of named paths; None: the current directory.
        python: returns the project's interpreter; called only for a possible pytest project.
        origins: where each value of the configuration comes from, for messages.
        notice: receives what the user should know before the run, a line each.
    """

    def __init__(
        self,
        config: TestConfig,
        *,
        cwd: Path | None,
        python: Callable[[], ProjectPython],
        origins: Origins,
        notice: Callable[[str], None],
    ) -> None:
        self._config, self._cwd, self._origins = config, cwd, origins
        self._notice, self._python = notice, python
        self._found: Discovered | None = None
        self._part: ShardSelection | None = None

    @property
    def shard_plan(self) -> ShardPlan | None:
        """The shard plan of these files; None: they are the whole run, or discovery has not run yet."""
        return self._part.plan if self._part is not None else None

    def found(self) -> Discovered:
        """Return the discovered files; discovery runs once.

        Raises:
            ConfigurationError: a named path does not exist, lies outside the root, or contains no tests.
        """
        if self._found is None:
            found = self._discover(self._config, cwd=self._cwd)
            for warning in found.warnings:
                self._notice(warning)
            if self._config.failed_only:
                found = self._only_failed(found)
            if len(found.files) < found.total and self._config.limit is not None:
                count = f"{len(found.files)} of {found.total}"
                self._notice(f"only {count} files run: the limit is {self._config.limit}")
            if self._config.shard is not None:
                found = self._take_part(found, self._config.shard)
            self._found = found
        return self._found

    def plan(self, remembered: Mapping[str, FileHistory], *, run_id: str, capacity: Capacity) -> RunPlan:
        """Return the files in the order in which they should start.

        Args:
            remembered: the history of the files, by path.
            capacity: of the place where they run.
        """
        files = self.found().files
        if self._part is not None:
            remembered = {**self._part.known, **remembered}
        plan = make_plan(
            files,
            remembered,
            self._config,
            run_id=run_id,
            slots=capacity.slots,
            budget_bytes=capacity.budget_bytes,
        )
        plan = structs.replace(
            plan, files=tuple(self._mark_named(plan.files)), layout=self.found().layout.headline
        )
        check_selections(plan.files, self._origins)
        self._notice_useless(files)
        if self._config.enable_coverage:
            self._notice_unmeasured(plan)
        return plan if self._part is None else self._part.of_run(plan, capacity)

    def _mark_named(self, planned: Sequence[PlannedFile]) -> Sequence[PlannedFile]:
        """Return the planned files, with those marked that the user named individually."""
        root, workdir = self._config.root, self.found().workdir
        bases = (str(self._cwd or root), str(workdir), str(root))
        named = named_files(self._config.paths, bases=bases)
        if not named:
            return planned
        return [
            structs.replace(one, is_named=os.path.realpath(root / one.file.path) in named) for one in planned
        ]

    def open_history(self) -> History | None:
        """Open the history unless it is off; one that cannot be written stays in memory, with a notice."""
        if not self._config.history:
            return None
        history = open_history(self._config.root)
        for text in history.notices:
            self._notice(text)
        return history

    def _discover(self, config: TestConfig, *, cwd: Path | None = None) -> Discovered:
        return discover(config, cwd=cwd, python=self._python, origins=self._origins)

    def _only_failed(self, found: Discovered) -> Discovered:
        history = self.open_history()
        if history is None:
            raise ConfigurationError("--failed needs the history, which is switched off")
        with closing(history):
            remembered = history.load()
        files = [
            file
            for file in found.files
            if file.path in remembered and not remembered[file.path].last_status.is_pass
        ]
        return structs.replace(found, files=tuple(files[: self._config.limit]), total=len(files))

    def _take_part(self, found: Discovered, shard: Shard) -> Discovered:
        """Return the discovered files without those that other machines run."""
        # Imported only for a sharded run.
        from dispatcher.history.history import read_shared_history
        from dispatcher.planning.shard_selection import select_shard

        path, history = self._config.history_from, None
        if path is not None:
            history = read_shared_history(path, origin=self._origins["history-from"].name)
        self._part = select_shard(found.files, shard, self._config, history=history)
        for text in self._part.notices:
            self._notice(text)
        return structs.replace(found, files=self._part.files)

    def _notice_unmeasured(self, plan: RunPlan) -> None:
        """Warn about commands that run files of the plan and that coverage cannot measure."""
        commands = project_commands(self._config)
        if commands is None:
            return
        paths = [one.task.file_path for one in plan.files if one.task.runner is RunnerKind.COMMAND]
        for command in dict.fromkeys(map(commands.find, paths)):
            if command is not None and "coverage" not in command.words and command.measured(()) is None:
                self._notice(
                    f"coverage does not measure the command {' '.join(command.words)} "
                    f"(from {command.origin}): begin it with {{python}} and a script or "
                    "-m MODULE, or let it run coverage"
                )

    def _notice_useless(self, files: Sequence[TestFile]) -> None:
        """Warn about overrides that match no file of the project, regardless of this run's selection."""
        rules = Overrides(self._config.overrides)
        if not rules.unmatched(file.path for file in files):
            return
        whole = structs.replace(
            self._config, include_integration=True, paths=(), limit=None, failed_only=False
        )
        everything = [*files, *self._discover(whole).files]
        for override in rules.unmatched(file.path for file in everything):
            self._notice(f"an override matches no test file: {', '.join(override.files)}")
