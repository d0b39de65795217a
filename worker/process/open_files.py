"""Checks that this process may open the number of files that running a test file takes."""

from __future__ import annotations

import resource

from passmuster.model.errors import InfrastructureError

REPORT_FD = 198
"""The descriptor of a test process's report; the same as in `worker/child/passmuster_child_supervisor.py`."""


def require_open_files() -> None:
    """Raise InfrastructureError if the limit of open files, which test processes inherit, is too low."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = REPORT_FD + 1
    if limit != resource.RLIM_INFINITY and limit < needed:
        raise InfrastructureError(
            f"only {limit} open files are allowed, "
            f"and test processes need {needed}; allow more (ulimit -n 1024)"
        )
