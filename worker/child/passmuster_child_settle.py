"""Makes a process that was forked from a server as good as a fresh interpreter, before its file runs.

The keeper has given it its own session, folder, streams and signals; here are the things that live in Python.
"""

from __future__ import annotations

import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from passmuster_child_keeper import Job


def settle(job: Job) -> None:
    """Give this process the environment, the randomness and the collector of its own."""
    for name, value in job.changes.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    _forget_temporary_folder()
    _draw_new_randomness()
    gc.enable()


def _forget_temporary_folder() -> None:
    """Let `tempfile` look at this process's own TMPDIR."""
    tempfile = sys.modules.get("tempfile")
    if tempfile is not None:
        tempfile.tempdir = None  # type: ignore[attr-defined]


def _draw_new_randomness() -> None:
    """Seed what does not do so by itself after a fork, as `random` and OpenSSL do."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
    process = sys.modules.get("multiprocessing.process")
    if process is not None:
        process.current_process().authkey = os.urandom(32)
