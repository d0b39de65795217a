"""Relates what files read to the tree and the interpreter of this machine: after a run, and before one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from dispatcher.config.model import TestConfig
from dispatcher.config.overrides import Overrides
from dispatcher.history.history import History, KnownRuns, read_shared_history
from dispatcher.inputs.affected import AffectedFiles, Candidate
from dispatcher.inputs.record import digest_of, measure_inputs, settings_digest
from dispatcher.inputs.tree_state import TreeState
from dispatcher.model.plan import TestFile
from dispatcher.model.results import FileAttempts, MeasuredInputs
from dispatcher.planning.planner import runner_of
from passmuster.host.interpreter import ProjectInterpreter
from passmuster.host.interpreter_probe import probe_content, probe_packages
from passmuster.model.errors import ConfigurationError
from passmuster.model.status import Isolation

_VARIABLES = (
    *("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTEST_DISABLE_PLUGIN_AUTOLOAD"),
    *("TZ", "LANG", "LANGUAGE"),
)
_PREFIXES = ("PYTHON", "LC_")
"""Variables, and the starts of their names, by which Python and pytest run the same code differently."""


class ProjectInputs:
    """The inputs of a project's files on this machine.

    Args:
        cache_dir: the directory for cached answers of the interpreter; None: there is none.
        history_origin: where the name of a shared history comes from, for messages.
        tree: what earlier runs have read of the tree; None: nothing.
    """

    def __init__(
        self,
        config: TestConfig,
        interpreter: ProjectInterpreter,
        environ: Mapping[str, str],
        cache_dir: Path | None,
        history_origin: str,
        tree: TreeState | None = None,
    ) -> None:
        self._config, self._interpreter = config, interpreter
        self._environ, self._cache_dir = environ, cache_dir
        self._history_origin = history_origin
        self._rules = Overrides(config.overrides)
        self.tree = TreeState(config.root) if tree is None else tree

    def environment(self) -> str:
        """Return a digest of the interpreter, its packages, their variables, and those the user named."""
        content = probe_content(self._interpreter.path, self._environ, cache_dir=self._cache_dir)
        counted = sorted(name for name in self._environ if name.startswith(_PREFIXES))
        names = (*_VARIABLES, *counted, *self._config.input_variables)
        root = str(self._config.root)  # PYTHONPATH often names it, and other machines have another one.
        values = [(name, self._environ.get(name)) for name in names]
        variables = [(name, value and value.replace(root, ".")) for name, value in values]
        return digest_of(repr((self._interpreter.identity, content, variables)))

    def measure(
        self, records: Sequence[FileAttempts], started_at: float, *, workdir: Path
    ) -> tuple[MeasuredInputs, ...]:
        """Return the inputs of the files that passed, as they are now; see `measure_inputs`."""
        if not any(record.final.inputs is not None for record in records):
            return ()
        self.tree.refresh()
        known = {self._interpreter.identity}
        if any(record.final.interpreter not in known for record in records if record.final.inputs):
            packages = probe_packages(self._interpreter.path, self._environ)
            known.add(f"{self._interpreter.identity}, packages {packages}")
        measured = measure_inputs(
            records,
            self.tree,
            started_at=started_at,
            environment=self.environment(),
            workdir=self._relative(workdir),
            is_interpreter_known=known.__contains__,
        )
        return (measured,)

    def affected(
        self, files: Sequence[TestFile], reference: str, *, workdir: Path, notices: list[str]
    ) -> dict[str, tuple[str, ...]]:
        """Return the files that a change may affect, by path, each with the reasons.

        Adds to `notices` what the user should know.

        Args:
            reference: the commit to compare with, as `find_changes` takes it.

        Raises:
            ConfigurationError: git does not know the commit, or a shared history cannot be used.
        """
        from dispatcher.inputs.reference import NoReferenceError, find_changes  # Few runs compare with git.

        config, changes = self._config, None
        try:
            changes = find_changes(config.root, reference, origin="--changed")
        except NoReferenceError as error:
            why = str(error)
            if error.has_git:
                notices.append(f"all files run: {why}")
                return {file.path: (why,) for file in files}
            notices.append(f"{why}: --changed compares with the last passing runs only")
        known = self._known_runs(notices)
        if config.shard is not None and config.history_from is None:
            raise ConfigurationError(
                "--changed with shards needs a history that is the same on all machines: "
                "name one with --history-from"
            )
        return self._reasons(files, AffectedFiles(self.tree, self.environment(), changes), workdir, known)

    def affected_since_pass(
        self, files: Sequence[TestFile], *, workdir: Path, notices: list[str]
    ) -> dict[str, tuple[str, ...]]:
        """Return the files that any change since they last passed may affect, by path, with the reasons.

        Adds to `notices` what the user should know.
        """
        known = self._known_runs(notices) if self._config.history else ()
        self.tree.refresh()
        return self._reasons(files, AffectedFiles(self.tree, self.environment(), None), workdir, known)

    def _reasons(
        self, files: Sequence[TestFile], judge: AffectedFiles, workdir: Path, known: Sequence[KnownRuns]
    ) -> dict[str, tuple[str, ...]]:
        found = ((one.path, judge.reasons(one)) for one in self._candidates(files, workdir, known))
        return {path: reasons for path, reasons in found if reasons}

    def cached(self, files: Sequence[TestFile], *, workdir: Path) -> frozenset[str]:
        """Return the paths of the files that need not run, because an earlier pass still counts.

        Raises:
            ConfigurationError: a shared history cannot be used.
        """
        known = self._known_runs([])
        judge = AffectedFiles(self.tree, self.environment(), None)
        may_be_cached = (
            file
            for file in files
            if file.selection.is_whole_file and self._rules.rule_for(file.path).cached is not False
        )
        candidates = self._candidates(may_be_cached, workdir, known)
        return frozenset(one.path for one in candidates if judge.is_cached(one))

    def _known_runs(self, notices: list[str]) -> list[KnownRuns]:
        """Return the histories that count: that of this machine, and a shared one.

        Shards that select files have only a shared one, because all machines must select the same files.
        """
        config, known = self._config, []
        if config.history_from is not None:
            known.append(read_shared_history(config.history_from, origin=self._history_origin))
        if config.shard is None or config.changed is None:
            with closing(History(config.root)) as history:
                notices += history.notices
                known.append(history.load_runs())
        return known

    def _relative(self, workdir: Path) -> str:
        return os.path.relpath(workdir, self._config.root)

    def _candidates(
        self, files: Iterable[TestFile], workdir: Path, known: Sequence[KnownRuns]
    ) -> Iterator[Candidate]:
        """Yield what is known of each file."""
        folder = self._relative(workdir)
        for file in files:
            statuses = [runs.files[file.path].last_status for runs in known if file.path in runs.files]
            failed = [status for status in statuses if not status.is_pass]
            rule = self._rules.rule_for(file.path)
            runner = runner_of(file, rule, self._config)
            yield Candidate(
                path=file.path,
                settings=settings_digest(runner, file.selection, folder),
                seed=file.selection.seed,
                is_spawned=(rule.isolation or self._config.isolation) is Isolation.SPAWN,
                last_status=next(iter((*failed, *statuses)), None),
                records=tuple(runs.inputs[file.path] for runs in known if file.path in runs.inputs),
            )
