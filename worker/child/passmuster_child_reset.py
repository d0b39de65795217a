"""Resets a forked process to the state of a fresh interpreter before its file runs.

The supervisor has set its session, directory, streams and signals; this module resets the state inside
Python.
"""

from __future__ import annotations

import _signal
import os
import sys
import time

from passmuster_child_entropy import renew
from passmuster_child_frozen import resume

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from passmuster_child_supervisor import Job


def reset_process(job: Job) -> None:
    """Give this process an environment, random state, and garbage collector of its own."""
    for name, value in job.changes.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    _forget_temporary_directory()
    _update_process_facts()
    _draw_new_randomness()
    resume()


def _forget_temporary_directory() -> None:
    """Make `tempfile` read this process's own TMPDIR."""
    tempfile = sys.modules.get("tempfile")
    if tempfile is not None:
        tempfile.tempdir = None  # type: ignore[attr-defined]


def _update_process_facts() -> None:
    """Update modules that store the IDs, the start time, or the environment of their process."""
    threading: Any = sys.modules.get("threading")
    if threading is not None and hasattr(threading.Thread, "_set_native_id"):
        threading.main_thread()._set_native_id()
    logging: Any = sys.modules.get("logging")
    if logging is not None:  # What `relativeCreated` counts from.
        logging._startTime = time.time_ns() if isinstance(logging._startTime, int) else time.time()
    handlers: Any = sys.modules.get("wsgiref.handlers")
    if handlers is not None:
        handlers.BaseHandler.os_environ = handlers.read_environ()
    support: Any = sys.modules.get("test.support.os_helper")
    if support is not None and hasattr(support, "TESTFN_ASCII"):
        _rename_test_files(support)


def _rename_test_files(support: Any) -> None:
    """Put the ID of this process into the names of temporary files that CPython's own tests use."""
    before, after = str(support.TESTFN_ASCII), "@test_%d_tmp" % os.getpid()
    for name, value in list(vars(support).items()):
        if name.startswith("TESTFN") and isinstance(value, str):
            setattr(support, name, value.replace(before, after))
        elif name.startswith("TESTFN") and isinstance(value, bytes):
            setattr(support, name, value.replace(before.encode(), after.encode()))


def _draw_new_randomness() -> None:
    """Renew random state that, unlike `random` and OpenSSL, is not renewed by a fork itself."""
    renew()
    process = sys.modules.get("multiprocessing.process")
    if process is not None:
        process.current_process().authkey = os.urandom(32)


def exec_fresh_interpreter(argv: list[str], environment: dict[str, str], report: int) -> None:
    """Turn a forked process into a spawned one, before anything of its file has been reported.

    `argv` is as `passmuster_child_main` documents it; `report` is the report's descriptor.
    """
    main = os.path.join(os.path.dirname(os.path.abspath(__file__)), "passmuster_child_main.py")
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.set_inheritable(report, True)  # noqa: FBT003 - positional only.
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ):  # An ignored signal stays ignored.
        _signal.signal(number, _signal.SIG_DFL)
    os.execve(sys.executable, [sys.executable, main, *argv[1:]], environment)
