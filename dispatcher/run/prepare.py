"""Prepares a run: selects its files, then finds the interpreter and the capacity, and plans the order.

`--list` needs the first step, `--dry-run`, `plan`, `explain` and a run need both.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, structs

from dispatcher.config.choices import Mode
from dispatcher.config.model import TestConfig
from dispatcher.config.overrides import Overrides, project_commands
from dispatcher.config.settings import OWN_VARIABLES
from dispatcher.config.validate import validate_against_machine
from dispatcher.discovery.discover import Discovered, discover
from dispatcher.discovery.layout_choice import LayoutChoice
from dispatcher.discovery.pytest_files import ProjectPython
from dispatcher.discovery.run_options import take_over
from dispatcher.discovery.selected_tests import check_selections, quarantined_tests, stale_files
from dispatcher.discovery.selection import named_files
from dispatcher.engine.backend import BackendRequest, ExecutionTarget, WarmTarget
from dispatcher.engine.journal import JoinedRunHandle, find_run
from dispatcher.engine.storage import make_state_dir
from dispatcher.history.history import History
from dispatcher.model.plan import RunPlan, ShardPlan, TestFile
from dispatcher.planning.order import FAILED_LAST_TIME
from dispatcher.planning.parts import with_parts
from dispatcher.planning.planner import make_plan
from passmuster.host.capacity import Capacity
from passmuster.host.cpu_use import run_cpu_s
from passmuster.host.interpreter import ProjectInterpreter, find_interpreter
from passmuster.host.state_directory import STATE_DIRECTORY
from passmuster.model.errors import ConfigurationError
from passmuster.model.status import RunnerKind
from passmuster.settings.origins import NO_ORIGINS, Origins
from passmuster.settings.values import RANDOM

if TYPE_CHECKING:
    from dispatcher.inputs.tree_state import TreeState
    from dispatcher.planning.shard_selection import ShardSelection
    from dispatcher.run.inputs import ProjectInputs


class Selection(Struct, frozen=True, kw_only=True):
    """The files of a run."""

    config: TestConfig
    """With what the project's own pytest settings request."""
    files: tuple[TestFile, ...]
    """Those of this machine's shard, sorted by path."""
    workdir: Path
    """The working directory of the tests, absolute."""
    layout: LayoutChoice
    shard: ShardSelection | None = None
    notices: tuple[str, ...] = ()
    """What the user should know before the run, a line each."""
    reasons: Mapping[str, tuple[str, ...]] = {}
    """Why a change may affect each file, by path; empty unless --changed selects files."""
    starts_with_failed: bool = False
    """Whether the files that failed last time start before all others."""

    @property
    def shard_plan(self) -> ShardPlan | None:
        """How the whole run is split; None: it is not."""
        return self.shard.plan if self.shard is not None else None


class Prepared(Struct, frozen=True, kw_only=True):
    """A run that can start."""

    selection: Selection
    interpreter: ProjectInterpreter
    capacity: Capacity
    plan: RunPlan
    notices: tuple[str, ...]
    """Those of the selection too."""
    history: History | None
    """None: it is switched off."""
    cached: frozenset[str] = frozenset()
    """Paths of the files that are reported as passed without running."""


class Preparation:
    """Prepares one run.

    Args:
        environ: the environment from which tests start; None: this process's.
        cwd: the base of named paths; None: the root.
        origins: where each value of the configuration comes from, for messages.
        joined: the joined run that this program leads; None: an ordinary run.
        tree: what earlier runs have read of the tree; None: nothing.
    """

    def __init__(
        self,
        config: TestConfig,
        *,
        target: ExecutionTarget,
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        origins: Origins = NO_ORIGINS,
        joined: JoinedRunHandle | None = None,
        tree: TreeState | None = None,
    ) -> None:
        self._config, self._target, self._joined = config, target, joined
        self._cwd, self._origins, self._tree = cwd, origins, tree
        given = os.environ if environ is None else environ
        self._environ = {name: value for name, value in given.items() if name not in OWN_VARIABLES}
        # What this process did before, such as to install itself or to make another run, is not the run's.
        self._cpu_before_s = run_cpu_s()

    @cached_property
    def selection(self) -> Selection:
        """The files of the run, narrowed to the request.

        Raises:
            ConfigurationError: a named path does not exist, lies outside the root, or contains no tests.
        """
        config = self._config
        config = structs.replace(config, quarantine=quarantined_tests(config))
        if config.shuffle == RANDOM:
            config = structs.replace(config, shuffle=str(int.from_bytes(os.urandom(4))))
        found = self._discover(config, cwd=self._cwd)
        files, total = found.files, found.total
        notices = [*found.warnings, *stale_files(config, found.workdir)]
        if config.shuffle is not None:
            notices.append(f"the order is random: repeat it with --shuffle={config.shuffle}")
        if config.failed_only:
            failed = self._only_failed(files, notices)
            files, total = failed[: config.limit], len(failed)
        reasons: dict[str, tuple[str, ...]] = {}
        if config.changed is not None:
            reasons = self.inputs.affected(files, config.changed, workdir=found.workdir, notices=notices)
            notices.append(f"--changed: {len(reasons)} of {len(files)} files may be affected")
            affected = tuple(file for file in files if file.path in reasons)
            files, total = affected[: config.limit], len(affected)
        if len(files) < total and config.limit is not None:
            notices.append(f"only {len(files)} of {total} files run: the limit is {config.limit}")
        shard = None
        if config.shard is not None:
            # Imported only for a sharded run.
            from dispatcher.history.history import read_shared_history
            from dispatcher.planning.shard_selection import select_shard

            path, shared = config.history_from, None
            if path is not None:
                shared = read_shared_history(path, origin=self._origins["history-from"].name).files
            shard = select_shard(files, config.shard, config, history=shared)
            files = shard.files
            notices += shard.notices
        config, lines = take_over(
            config, found.options, workdir=found.workdir, writes_reports=self._joined is None
        )
        return Selection(
            config=config,
            files=files,
            workdir=found.workdir,
            layout=found.layout,
            shard=shard,
            notices=(*notices, *lines),
            reasons=reasons,
        )

    def discover_tests(self) -> tuple[TestFile, ...]:
        """Return the test files that a run includes (those of this machine's shard), sorted by path.

        Raises:
            ConfigurationError: a named path does not exist, lies outside the root, or contains no tests.
        """
        return self.selection.files

    def affected(self, notices: list[str]) -> Mapping[str, tuple[str, ...]]:
        """Return the selected files that any change since they last passed may affect, by path, with reasons.

        Adds to `notices` what the user should know.

        Raises:
            ConfigurationError: as for `discover_tests`.
        """
        selection = self.selection
        return self.inputs.affected_since_pass(selection.files, workdir=selection.workdir, notices=notices)

    def narrow(self, paths: Collection[str]) -> None:
        """Keep only these of the selected files; those that failed last time start first."""
        files = tuple(file for file in self.selection.files if file.path in paths)
        self.selection = structs.replace(self.selection, files=files, starts_with_failed=True)

    def prepare(self) -> Prepared:
        """Return what would run, in which order, by which interpreter and in which limits; run nothing.

        Raises:
            ConfigurationError: the interpreter is missing, broken, too old, or not Python; the configuration
                asks for more than the machine has; or there is no run to resume.
            InfrastructureError: the execution target cannot be used.
        """
        with ExitStack() as stack:
            return self._prepare(stack)

    def announce(self, target: WarmTarget) -> None:
        """Start the fork servers of all selected files, for coming runs.

        Raises:
            ConfigurationError: as for `prepare`.
        """
        prepared = self.prepare()
        target.announce(self._request(prepared, prepared.plan))

    def explain_preload(self) -> tuple[str, ...]:
        """Return, as lines, what would be imported before this run's files are forked, and what would not.

        Raises:
            ConfigurationError: as for `prepare`.
        """
        prepared = self.prepare()
        return self._target.explain_preload(self._request(prepared, prepared.plan))

    def _prepare(self, stack: ExitStack) -> Prepared:
        """Find the interpreter and the capacity, and plan the order in which the files should start.

        Args:
            stack: closes the history.
        """
        config, selection, interpreter, history = self._config, self.selection, self.interpreter, None
        if config.history:
            history = stack.enter_context(closing(History(config.root)))
        capacity = self._target.capacity(config)
        validate_against_machine(config, total_bytes=capacity.total_bytes, origins=self._origins)
        plan = self._plan(history, capacity)
        check_selections(plan.files, self._origins)
        cached: frozenset[str] = frozenset()
        if config.cached:
            cached = self.inputs.cached(selection.files, workdir=selection.workdir)
        return Prepared(
            selection=selection,
            interpreter=interpreter,
            capacity=capacity,
            plan=_without_parts(plan, cached),
            cached=cached,
            notices=(
                *selection.notices,
                *(history.notices if history is not None else ()),
                *self._unused_overrides(selection.files),
                *(self._unmeasured_commands(plan) if config.enable_coverage else ()),
            ),
            history=history,
        )

    def _request(self, prepared: Prepared, plan: RunPlan, coverage_dir: Path | None = None) -> BackendRequest:
        """Return what the execution target must know about a prepared run.

        Args:
            plan: the prepared one, or what remains of it.
            coverage_dir: the directory for coverage data; None: coverage is off.
        """
        return BackendRequest(
            config=prepared.selection.config,
            run_id=plan.run_id,
            workdir=prepared.selection.workdir,
            interpreter=prepared.interpreter.path,
            cache_tag=prepared.interpreter.build.cache_tag,
            interpreter_identity=prepared.interpreter.identity,
            environ=self._environ,
            capacity=prepared.capacity,
            coverage_dir=coverage_dir,
            tasks=tuple(one.task for one in plan.files if one.file.path not in prepared.cached),
            is_resumed=self._config.resume is not None or self._joined is not None,
        )

    @cached_property
    def interpreter(self) -> ProjectInterpreter:
        """The project's interpreter.

        Raises:
            ConfigurationError: it is missing, broken, too old, or not Python.
        """
        return find_interpreter(
            self._config.python,
            self._config.root,
            self._environ,
            origin=self._origins["python"],
            cache_dir=self._cache_dir(),
        )

    @cached_property
    def inputs(self) -> ProjectInputs:
        """What the files of the project read, on this machine."""
        from dispatcher.run.inputs import ProjectInputs  # A plan needs it only to select files.

        return ProjectInputs(
            self._config,
            self.interpreter,
            self._environ,
            self._cache_dir(),
            self._origins["history-from"].name,
            self._tree,
        )

    def _cache_dir(self) -> Path | None:
        """Return the directory for cached answers of the project's interpreter; None: there is none."""
        state_dir = self._config.root / STATE_DIRECTORY
        return state_dir if self._config.history and state_dir.is_dir() else None

    def _discover(self, config: TestConfig, *, cwd: Path | None = None) -> Discovered:
        return discover(config, self._project_python, cwd=cwd, origins=self._origins)

    def _project_python(self) -> ProjectPython:
        if self._config.history and self._config.mode is Mode.RUN:
            make_state_dir(self._config.root)  # Made now, so that the first answer is cached too.
        return ProjectPython(path=self.interpreter.path, environ=self._environ, cache_dir=self._cache_dir())

    def _only_failed(self, files: Sequence[TestFile], notices: list[str]) -> tuple[TestFile, ...]:
        """Return the files that failed, with their failing tests selected where the history knows them."""
        if not self._config.history:
            raise ConfigurationError("--failed needs the history, which is switched off")
        with closing(History(self._config.root)) as history:
            notices += history.notices
            known = history.load()
        return tuple(
            structs.replace(file, selection=structs.replace(file.selection, failed=row.failing_tests))
            for file in files
            if (row := known.get(file.path)) is not None and not row.last_status.is_pass
        )

    def _plan(self, history: History | None, capacity: Capacity) -> RunPlan:
        config, selection = self._config, self.selection
        shard = selection.shard
        known = history.load() if history is not None else {}
        plan = make_plan(
            selection.files,
            {**shard.known, **known} if shard is not None else known,
            selection.config,
            run_id=self._run_id(),
            slots=capacity.slots,
            budget_bytes=capacity.budget_bytes,
        )
        if self._joined is None and shard is None:
            slots, budget_bytes = capacity.slots, capacity.budget_bytes
            plan = with_parts(plan, known, selection.config, slots=slots, budget_bytes=budget_bytes)
        bases = (str(self._cwd or config.root), str(selection.workdir), str(config.root))
        if named := named_files(config.paths, bases=bases):
            marked = (
                structs.replace(one, is_named=os.path.realpath(config.root / one.file.path) in named)
                for one in plan.files
            )
            plan = structs.replace(plan, files=tuple(marked))
        if selection.starts_with_failed:
            first = sorted(plan.files, key=lambda one: one.order_reason != FAILED_LAST_TIME)
            plan = structs.replace(plan, files=tuple(first))
        plan = structs.replace(plan, layout=selection.layout.headline)
        return plan if shard is None else shard.of_run(plan, capacity)

    def _run_id(self) -> str:
        if self._joined is not None:
            return self._joined.run_id
        if self._config.resume is not None:
            return find_run(self._config.root / STATE_DIRECTORY / "runs", self._config.resume)
        return new_run_id(time.time_ns())

    def _unused_overrides(self, files: Sequence[TestFile]) -> Iterator[str]:
        """Yield warnings about overrides that match no file of the project, whatever this run selects."""
        rules = Overrides(self._config.overrides)
        if not rules.unmatched(file.path for file in files):
            return
        whole = structs.replace(
            self._config, include_integration=True, paths=(), limit=None, failed_only=False, changed=None
        )
        everything = [*files, *self._discover(whole).files]
        for override in rules.unmatched(file.path for file in everything):
            yield f"an override matches no test file: {', '.join(override.files)}"

    def _unmeasured_commands(self, plan: RunPlan) -> Iterator[str]:
        """Yield warnings about commands that run files of the plan and that coverage cannot measure."""
        commands = project_commands(self._config)
        if commands is None:
            return
        paths = [one.task.file_path for one in plan.files if one.task.runner is RunnerKind.COMMAND]
        for command in dict.fromkeys(map(commands.find, paths)):
            if command is not None and "coverage" not in command.words and command.measured(()) is None:
                yield (
                    f"coverage does not measure the command {' '.join(command.words)} "
                    f"(from {command.origin}): begin it with {{python}} and a script or "
                    "-m MODULE, or let it run coverage"
                )


def _without_parts(plan: RunPlan, cached: Collection[str]) -> RunPlan:
    """Return a plan in which cached files have no parts, because one answer counts for each."""
    if not cached:
        return plan
    files = (
        structs.replace(one, task=structs.replace(one.task, parts=())) if one.file.path in cached else one
        for one in plan.files
    )
    return structs.replace(plan, files=tuple(files))


def new_run_id(now_ns: int) -> str:
    """Return an ID for a run that starts now: IDs sort by the microsecond of the start.

    Args:
        now_ns: nanoseconds since 1970.
    """
    seconds, nanoseconds = divmod(now_ns, 1_000_000_000)
    started = time.strftime("%Y%m%d-%H%M%S", time.gmtime(seconds))
    return f"{started}-{nanoseconds // 1000:05x}{os.urandom(2).hex()}"
