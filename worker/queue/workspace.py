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
from typing import Protocol

from passmuster.model.errors import InfrastructureError
from passmuster.model.executor import Usage
from passmuster.model.status import StopReason
from passmuster.source.identity import tree_identity, tree_mismatch
from passmuster.wire.run_spec import RunSpec
from worker.process.output_capture import OutputCapture
from worker.queue.in_flight import InFlightFiles
from worker.queue.task_handler import PUT_BACK_S

LOOK_S = 0.2
"""Seconds between two checks whether the files of an earlier run have finished."""


_NO_TREE = "it has no tree of its own (--root), and the run ships none: use --ship, or give it one"


class FileRunner(Protocol):
    """Runs files in one root. See `worker.queue.root_runner`."""

    python: str
    """Its interpreter, described; empty: unknown."""

    def prefetch(self, terms: RunSpec, paths: Sequence[str]) -> None:
        """Prepare the imports of these files before their tasks arrive."""

    def handle_message(self, text: str) -> bool:
        """Handle a message; return False if it must be put back."""

    def usage(self) -> Usage:
        """Return the use of the running files."""

    def output(self, attempt_id: str) -> OutputCapture | None:
        """Return the capture of a running file's output, or None if it does not run."""

    def run_problem(self, terms: RunSpec) -> str:
        """Return why a run cannot be served here, or "" if it can."""

    def stop_all(self, reason: StopReason, *, grace_s: float) -> None:
        """End whatever runs."""

    def stop_attempts(self, attempt_ids: Collection[str], reason: StopReason, *, grace_s: float) -> None:
        """End only these attempts."""

    def close(self) -> None:
        """Stop running files, and release all resources."""


class Trees(Protocol):
    """The uploaded trees on this machine. See `worker.trees.shipped`."""

    def prepare(self, digest: str) -> Path:
        """Return the folder of a tree, clean and ready for tests."""

    def differing_files(self, listing: str, root: Path) -> Sequence[str]:
        """Return the paths at which a root differs from a manifest."""


class Workspace:
    """The workspace of a worker. Thread-safe.

    Args:
        own_root: the worker's own root; None: it serves only runs with an uploaded tree.
        trees: prepares uploaded trees.
        build: returns a bench in a root and, within it, a working directory; None: the root's own one.
        roster: what this worker has.
    """

    def __init__(
        self,
        own_root: Path | None,
        trees: Trees,
        build: Callable[[Path, str | None], FileRunner],
        roster: InFlightFiles,
    ) -> None:
        self._own_root, self._trees, self._build, self._roster = own_root, trees, build, roster
        self._changed = threading.Condition()
        self._line: list[str] = []
        self._runs: set[str] = set()
        self._is_preparing = False
        self._bench: FileRunner | None = None
        self._bench_of = ""
        self._stopped: tuple[StopReason, float] | None = None

    def usage(self) -> Usage:
        """Return the use of the running files."""
        bench = self._bench
        if bench is None:
            return Usage(slots=0, budget_bytes=0, used_bytes=0, peak_bytes=0, files=())
        return bench.usage()

    def python(self) -> str:
        """Return which interpreter runs files here, described; empty: unknown."""
        bench = self._bench
        return "" if bench is None else bench.python

    def output(self, attempt_id: str) -> OutputCapture | None:
        """Return the capture of a running file's output, or None if it does not run."""
        bench = self._bench
        return None if bench is None else bench.output(attempt_id)

    def open(self) -> None:
        """Prepare the worker's own root before any run needs it, so that errors appear immediately.

        Raises:
            ConfigurationError: what is needed there cannot be used.
            InfrastructureError: the disk does not do.
        """
        if self._own_root is not None:
            self._install(self._build(self._own_root, None), "")

    def handle_message(self, text: str) -> bool:
        """Do what a message asks for, in the present root; False: it is to be put back."""
        bench = self._bench
        if bench is None:
            time.sleep(PUT_BACK_S)  # So that it does not come again and again without a pause.
            return False
        return bench.handle_message(text)

    def prefetch(self, terms: RunSpec, paths: Sequence[str]) -> None:
        """Look at what these files of a run need that is here."""
        bench = self._bench
        if bench is not None:
            bench.prefetch(terms, paths)

    def stop_all(self, reason: StopReason, *, grace_s: float) -> None:
        """End whatever runs, and start nothing any more."""
        with self._changed:
            self._stopped = (reason, grace_s)
            bench = self._bench
            self._changed.notify_all()
        if bench is not None:
            bench.stop_all(reason, grace_s=grace_s)

    def stop_attempts(self, attempt_ids: Collection[str], reason: StopReason, *, grace_s: float) -> None:
        """End only these attempts."""
        bench = self._bench
        if bench is not None:
            bench.stop_attempts(attempt_ids, reason, grace_s=grace_s)

    def close(self) -> None:
        """Stop running files, and release all resources."""
        with self._changed:
            bench, self._bench = self._bench, None
        if bench is not None:
            bench.close()

    def source_problem(self, terms: RunSpec) -> str:
        """Return why a run is not one of this worker's own tree; empty: it is, or it ships its own."""
        if terms.tree:
            return ""
        if self._own_root is None:
            return _NO_TREE
        wanted = terms.source_identity
        if not wanted or _is_of_the_run(self._own_root, terms.run_id):
            return ""
        root, listing = self._own_root, terms.listing
        differing = partial(self._trees.differing_files, listing, root) if listing else None
        return tree_mismatch(tree_identity(root), wanted, differing=differing) or ""

    def enter(self, terms: RunSpec) -> str:
        """Wait for a run's turn, and make its root ready; after that it is here until `leave`.

        Returns:
            Why it cannot be served; empty: it can.

        Raises:
            PassmusterError: its root cannot be made ready.
        """
        run_id = terms.run_id
        with self._changed:
            self._line.append(run_id)
            while run_id in self._line and not self._may_enter(terms) and self._stopped is None:
                self._changed.wait(LOOK_S)
            if run_id not in self._line:
                return "the run has ended"
            self._line.remove(run_id)
            if self._stopped is not None:
                return "the worker ends"
            self._is_preparing = True
            self._runs.add(run_id)
        reason = None
        try:
            reason = self._prepare(terms).run_problem(terms)
        finally:
            with self._changed:
                self._is_preparing = False
                if reason != "":
                    self._runs.discard(run_id)
                self._changed.notify_all()
        return reason

    def leave(self, run_id: str) -> None:
        """Let others have a run's place once none of its files is here; it may not have come to it."""
        with self._changed:
            self._runs.discard(run_id)
            if run_id in self._line:
                self._line.remove(run_id)
            self._changed.notify_all()

    def _may_enter(self, terms: RunSpec) -> bool:
        """Whether it is the turn of the first in the line."""
        if self._line[0] != terms.run_id or self._is_preparing:
            return False
        if self._bench is not None and self._bench_of == _wanted(terms):
            # The worker's own root; or a run that the broker had forgotten: its files may still be here.
            return True
        return not self._runs and self._roster.wait_until_empty(0)

    def _prepare(self, terms: RunSpec) -> FileRunner:
        wanted, present = _wanted(terms), self._bench
        if present is not None and self._bench_of == wanted:
            return present
        # First: what ran there may still hold files open, and two benches would be two budgets.
        self.close()
        if terms.tree:
            bench = self._build(self._trees.prepare(terms.tree), terms.workdir)
        elif self._own_root is not None:
            bench = self._build(self._own_root, None)
        else:
            raise InfrastructureError(_NO_TREE)
        return self._install(bench, wanted)

    def _install(self, bench: FileRunner, owner: str) -> FileRunner:
        with self._changed:
            self._bench, self._bench_of = bench, owner
            stopped = self._stopped
        if stopped is not None:
            bench.stop_all(stopped[0], grace_s=stopped[1])
        return bench


def _is_of_the_run(root: Path, run_id: str) -> bool:
    """Whether a root is the very folder that a run is of: then its own directory is in it."""
    return run_id.replace("-", "").isalnum() and (root / ".passmuster" / "runs" / run_id).is_dir()


def _wanted(terms: RunSpec) -> str:
    """Return whose bench a run needs: one of its own, or (empty) that of the worker's root.

    A run that is resumed may bring another tree.
    """
    return f"{terms.run_id} {terms.tree}" if terms.tree else ""
