"""Keeps a process's memory and environment from other processes of the same user."""

from __future__ import annotations

_PR_SET_DUMPABLE = 4


def hide_process() -> None:
    """Close `/proc/PID/environ`, `mem` and the like of this process to others that are not root (prctl(2)).

    Tests run as the same user as the worker that starts them, and could otherwise read the broker's address
    and the secret there. The programs that this process executes are not affected. Where the C library has no
    prctl (not Linux), nothing happens.
    """
    import ctypes  # Only runs with a broker need it.

    try:
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    except (AttributeError, OSError):
        return
