"""Assigns a queue worker's workspace to runs: its own root, or an uploaded source tree, one at a time.

Runs get the workspace in the order of their arrival. Any number of runs share the worker's own root; a run
with an uploaded tree has the workspace to itself. A later run waits until the earlier ones have finished.
Memory therefore has one governor, a run starts in a clean tree, and no run waits forever.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from passmuster.host.state_directory import STATE_DIRECTORY
from passmuster.model.errors import InfrastructureError
from passmuster.model.executor import Usage
from passmuster.model.status import StopReason
from passmuster.source.identity import tree_identity, tree_mismatch
from passmuster.wire.run_spec import RunSpec
from worker.process.output_capture import OutputCapture
from worker.queue.in_flight import InFlightFiles
from worker.queue.root_runner import RootRunner
from worker.queue.task_handler import PUT_BACK_S

if TYPE_CHECKING:
    from worker.trees.shipped import ShippedTrees

INTERVAL_S = 0.2
"""Seconds between two checks whether the files of an earlier run have finished."""

_NO_TREE = "it has no tree of its own (--root), and the run uploads none: use --ship, or give it a root"


class Workspace:
    """The workspace of a worker. Thread-safe.

    Args:
        own_root: the worker's own root; None: it serves only runs with an uploaded tree.
        make_runner: returns a runner for a root and a working directory in it; None: the worker's own one.
    """

    def __init__(
        self,
        own_root: Path | None,
        trees: ShippedTrees,
        make_runner: Callable[[Path, str | None], RootRunner],
        in_flight: InFlightFiles,
    ) -> None:
        self._own_root, self._trees = own_root, trees
        self._make_runner, self._in_flight = make_runner, in_flight
        self._changed = threading.Condition()
        self._waiting: list[str] = []
        self._runs: set[str] = set()
        self._is_preparing = False
        self._runner: RootRunner | None = None
        self._owner = ""
        self._stopped: tuple[StopReason, float] | None = None

    def usage(self) -> Usage:
        """Return the use of the running files."""
        runner = self._runner
        if runner is None:
            return Usage(slots=0, budget_bytes=0, used_bytes=0, peak_bytes=0, files=())
        return runner.executor.usage()

    def python(self) -> str:
        """Return a description of the tests' interpreter, or "" if there is none now."""
        runner = self._runner
        return "" if runner is None else runner.python

    def output(self, attempt_id: str) -> OutputCapture | None:
        """Return the capture of a running file's output, or None if it does not run."""
        runner = self._runner
        return None if runner is None else runner.executor.output(attempt_id)

    def open(self) -> None:
        """Prepare the worker's own root before any run needs it, so that errors appear immediately.

        Raises:
            ConfigurationError: the interpreter or the working directory cannot be used.
            InfrastructureError: the disk cannot be used.
        """
        if self._own_root is not None:
            self._install(self._make_runner(self._own_root, None), "")

    def handle_message(self, text: str) -> bool:
        """Handle a message in the current root; return False if it must be put back."""
        runner = self._runner
        if runner is None:
            time.sleep(PUT_BACK_S)  # So that it is not redelivered in a tight loop.
            return False
        return runner.handler.handle_message(text)

    def prefetch(self, spec: RunSpec, paths: Sequence[str]) -> None:
        """Prepare the imports of these files of a run before their tasks arrive."""
        runner = self._runner
        if runner is not None:
            runner.prefetch(spec, paths)

    def stop_all(self, reason: StopReason, *, grace_s: float) -> None:
        """Stop all running files, and start no others."""
        with self._changed:
            self._stopped = (reason, grace_s)
            runner = self._runner
            self._changed.notify_all()
        if runner is not None:
            runner.executor.stop_all(reason, grace_s=grace_s)

    def stop_attempts(self, attempt_ids: Collection[str], reason: StopReason, *, grace_s: float) -> None:
        """Stop only these attempts."""
        runner = self._runner
        if runner is not None:
            runner.executor.stop_attempts(attempt_ids, reason, grace_s=grace_s)

    def close(self) -> None:
        """Stop running files, and release all resources."""
        with self._changed:
            runner, self._runner = self._runner, None
        if runner is not None:
            runner.executor.close()

    def source_problem(self, spec: RunSpec) -> str | None:
        """Return why this worker's own tree is not the run's; None: it is, or the run uploads a tree."""
        if spec.tree:
            return None
        root, wanted, listing = self._own_root, spec.source_identity, spec.listing
        if root is None:
            return _NO_TREE
        if not wanted or _is_dispatchers_root(root, spec.run_id):
            return None
        differing = partial(self._trees.differing_files, listing, root) if listing else None
        return tree_mismatch(tree_identity(root), wanted, differing=differing)

    def enter(self, spec: RunSpec) -> str | None:
        """Wait for a run's turn, and prepare its root, which then belongs to the run until `leave`.

        Returns:
            Why the run cannot be served, or None if it can.

        Raises:
            PassmusterError: its root cannot be prepared.
        """
        run_id = spec.run_id
        with self._changed:
            self._waiting.append(run_id)
            while run_id in self._waiting and not self._has_turn(spec) and self._stopped is None:
                self._changed.wait(INTERVAL_S)
            if run_id not in self._waiting:
                return "the run has ended"
            self._waiting.remove(run_id)
            if self._stopped is not None:
                return "the worker shuts down"
            self._is_preparing = True
            self._runs.add(run_id)
        is_served = False
        try:
            problem = self._prepare(spec).run_problem(spec)
            is_served = problem is None
        finally:
            with self._changed:
                self._is_preparing = False
                if not is_served:
                    self._runs.discard(run_id)
                self._changed.notify_all()
        return problem

    def leave(self, run_id: str) -> None:
        """Release a run's turn once none of its files is here; it may not have entered yet."""
        with self._changed:
            self._runs.discard(run_id)
            if run_id in self._waiting:
                self._waiting.remove(run_id)
            self._changed.notify_all()

    def _has_turn(self, spec: RunSpec) -> bool:
        """Whether a run is the first that waits, and may enter."""
        if self._waiting[0] != spec.run_id or self._is_preparing:
            return False
        if self._runner is not None and self._owner == _owner(spec):
            # The worker's own root; or a run that the broker had lost: its files may still be here.
            return True
        return not self._runs and self._in_flight.wait_until_empty(0)

    def _prepare(self, spec: RunSpec) -> RootRunner:
        owner, current = _owner(spec), self._runner
        if current is not None and self._owner == owner:
            return current
        # First: running files may hold files of the tree open, and two runners would have two budgets.
        self.close()
        if spec.tree:
            runner = self._make_runner(self._trees.prepare(spec.tree), spec.workdir)
        elif self._own_root is not None:
            runner = self._make_runner(self._own_root, None)
        else:
            raise InfrastructureError(_NO_TREE)
        return self._install(runner, owner)

    def _install(self, runner: RootRunner, owner: str) -> RootRunner:
        with self._changed:
            self._runner, self._owner = runner, owner
            stopped = self._stopped
        if stopped is not None:
            reason, grace_s = stopped
            runner.executor.stop_all(reason, grace_s=grace_s)
        return runner


def _is_dispatchers_root(root: Path, run_id: str) -> bool:
    """Whether the run was started in this very directory, which then contains the run's state."""
    is_plain = run_id.replace("-", "").isalnum()
    return is_plain and (root / STATE_DIRECTORY / "runs" / run_id).is_dir()


def _owner(spec: RunSpec) -> str:
    """Return the owner of the runner that a run needs: the run and its tree, or "" for the worker's own root.

    A resumed run may upload another tree.
    """
    return f"{spec.run_id} {spec.tree}" if spec.tree else ""
