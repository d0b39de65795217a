"""Recognizes the errors of reached limits of processes, threads and open files (setrlimit(2), cgroups(7))."""

from __future__ import annotations

import errno
import threading

from passmuster.model.errors import InfrastructureError

EXHAUSTED = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
"""Errors of a process start when a limit of processes or open files is reached, or memory is short. All of
them can disappear when other processes end."""

ADVICE = "allow more processes (ulimit -u) or open files (ulimit -n), or use fewer --jobs"


class NoThreadError(InfrastructureError):
    """A thread cannot start because a limit is reached."""


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
    """Raise if a program could not start because a limit is reached, which is not the program's fault.

    Raises:
        InfrastructureError: a limit of processes, open files or memory is reached.
    """
    if error.errno in EXHAUSTED:
        raise InfrastructureError(f"cannot start {program}: {error.strerror}; {ADVICE}") from error
