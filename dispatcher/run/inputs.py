"""Measures what the files of a run have read, in the tree and with the interpreter of this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dispatcher.config.model import TestConfig
from dispatcher.inputs.record import digest_of, measure_inputs
from dispatcher.inputs.tree_state import TreeState
from dispatcher.model.results import FileAttempts, MeasuredInputs
from passmuster.host.interpreter import ProjectInterpreter
from passmuster.host.interpreter_probe import probe_content, probe_packages


class InputMeasurer:
    """Measures inputs on this machine.

    Args:
        environ: the environment from which tests start.
        cache_dir: the directory for cached answers of the interpreter; None: there is none.
    """

    def __init__(
        self,
        config: TestConfig,
        interpreter: ProjectInterpreter,
        environ: Mapping[str, str],
        cache_dir: Path | None,
    ) -> None:
        self._config, self._interpreter = config, interpreter
        self._environ, self._cache_dir = environ, cache_dir
        self.tree = TreeState(config.root)

    def environment(self) -> str:
        """Return a digest of the interpreter, its packages, and the variables that the user named."""
        content = probe_content(self._interpreter.path, self._environ, cache_dir=self._cache_dir)
        variables = [(name, self._environ.get(name)) for name in self._config.input_variables]
        return digest_of(repr((self._interpreter.identity, content, variables)))

    def measure(
        self, records: Sequence[FileAttempts], started_at: float, *, workdir: str
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
            workdir=workdir,
            is_interpreter_known=known.__contains__,
        )
        return (measured,)
