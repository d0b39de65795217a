"""What takes root's right to read and write everything away from a call."""

from __future__ import annotations

import sys

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
