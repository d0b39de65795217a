"""What takes root's right to read and write everything away from a call."""

from __future__ import annotations

import os
import sys

FIRST_FREE_USER = 1_000_000
"""Numbers of users from here on are nobody's, plus that of a process; those of containers are lower."""

_CAPABILITIES = (1, 2, 19, 21, 38)
"""CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH; CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_PERFMON (capabilities(7))."""

DROP_RIGHTS = (
    "import ctypes, os, sys\n"
    f"for capability in {_CAPABILITIES}:  # gone from the next exec on\n"
    "    if os.geteuid() == 0 and ctypes.CDLL(None, use_errno=True).prctl(24, capability, 0, 0, 0):\n"
    "        sys.exit(f'cannot drop a capability: {os.strerror(ctypes.get_errno())}')\n"
    "os.execv(sys.argv[1], sys.argv[1:])\n"
)
"""Executes its arguments without root's right to read and write everything, other processes included."""

UNPRIVILEGED = (sys.executable, "-c", DROP_RIGHTS)


def as_other_user(*, max_processes: int) -> tuple[str, ...]:
    """Return the words before a command that run it as a user who may have only so many processes.

    The limit counts all processes and threads of a user and does not bind root (setrlimit(2)), therefore it
    is a user that nobody else is. It keeps root's right to read and write files, and no other right.
    """
    user = str(FIRST_FREE_USER + os.getpid())
    rights = "-all,+dac_override"
    keep = (f"--inh-caps={rights}", f"--ambient-caps={rights}", f"--bounding-set={rights}")
    # Without this bit access(2) does not heed the right.
    changes = ("--reuid", user, "--regid", user, "--clear-groups", "--securebits=+no_setuid_fixup", *keep)
    return ("setpriv", *changes, "prlimit", f"--nproc={max_processes}:{max_processes}")
