"""The limits of processes, threads and open files (setrlimit(2), cgroups(7)): what reaching one looks like,
and what the user can do."""

from __future__ import annotations

import errno
import threading

from passmuster.model.errors import InfrastructureError

EXHAUSTED = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
"""What starting a process fails with where a limit of processes or open files is reached, or memory is short.
All of these pass when other processes end."""

ADVICE = "allow more processes (ulimit -u) or open files (ulimit -n), or use fewer --jobs"


class NoThreadError(InfrastructureError):
    """No further thread is allowed now."""


def start_thread(thread: threading.Thread) -> None:
    """Start a thread.

    Raises:
        NoThreadError: the limit of processes is reached.
    """
    try:
        thread.start()
    except RuntimeError as error:
        raise NoThreadError(f"cannot start a thread: {error}; {ADVICE}") from error


def require_process(error: OSError, program: str) -> None:
    """Tell apart, when a program cannot be started, that no process is to be had: that is not its fault.

    Raises:
        InfrastructureError: no process is to be had.
    """
    if error.errno in EXHAUSTED:
        raise InfrastructureError(f"cannot start {program}: {error.strerror}; {ADVICE}") from error
