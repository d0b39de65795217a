"""Prepares uploaded trees for tests: materialized, clean, and set up once by the worker's own command."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from passmuster.host.interpreter import find_interpreter
from passmuster.model.errors import InfrastructureError
from passmuster.source.files import differing_files
from worker.trees.cache import KEPT_TREES, TreeCache, TreeFolder
from worker.trees.setup import requirements_problem, run_setup

if TYPE_CHECKING:
    from passmuster.source.store import TreeStore


class ShippedTrees:
    """The trees that this worker has used. For one thread at a time.

    Args:
        cache: creates the cache; called when the first tree is needed.
        setup: the worker's own command, run once in each tree; empty: none.
        python: the configured interpreter for tests; None: the tree's own, or the one that runs Passmuster.
    """

    def __init__(
        self,
        cache: Callable[[], TreeCache],
        store: TreeStore,
        *,
        setup: str,
        python: str | None,
        environ: Mapping[str, str],
        say: Callable[[str], None],
    ) -> None:
        self._make_cache, self._store, self._setup = cache, store, setup
        self._python, self._environ, self._say = python, environ, say
        self._cache: TreeCache | None = None
        self._folders: dict[str, TreeFolder] = {}
        self._ready: set[str] = set()

    def prepare(self, digest: str) -> Path:
        """Return the directory of a tree, clean and ready for tests. No test may run in it.

        Raises:
            TreeError: the broker does not have the tree, or the tree is not safe to materialize.
            InfrastructureError: the disk cannot be written, the command failed, or packages are missing.
            ConfigurationError: the interpreter cannot be used.
        """
        folder = self._folder(digest)
        written = folder.restore(self._store)
        self._say(f"tree {digest[:12]} is in {folder.path}, {written} file(s) written")
        if digest not in self._ready:
            self._make_ready(folder)
            self._ready.add(digest)
        return folder.path

    def differing_files(self, listing: str, root: Path) -> list[str]:
        """Return the paths at which a root differs from a manifest.

        Raises:
            TreeError: the broker does not have the manifest, or it is damaged.
        """
        return differing_files(self._store.manifest(listing), root)

    def close(self) -> None:
        """Release the directories for other workers."""
        for folder in self._folders.values():
            folder.close()
        self._folders.clear()

    def _folder(self, digest: str) -> TreeFolder:
        """Return the directory of a tree; release the least recently used one if there are too many."""
        self._cache = self._cache or self._make_cache()
        folder = self._folders.pop(digest, None) or self._cache.open(digest)
        self._folders[digest] = folder
        while len(self._folders) > KEPT_TREES:
            oldest = next(iter(self._folders))
            self._folders.pop(oldest).close()
            self._ready.discard(oldest)
        return folder

    def _make_ready(self, folder: TreeFolder) -> None:
        interpreter = find_interpreter(self._python, folder.path, self._environ).path
        if self._setup:
            self._say(f"--setup in {folder.path}: {self._setup}")
            problem = run_setup(self._setup, folder.path, interpreter, self._environ)
        else:
            problem = requirements_problem(folder.path, interpreter, self._environ)
        if problem:
            raise InfrastructureError(problem)
        folder.keep_setup_files()
