"""Appends to the file that GitHub shows as a step's summary. That it cannot be written fails no run."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

MAX_BYTES = 1024 * 1024 - 4096
"""Bytes of the file. Of one over 1 MiB the runner shows nothing (`AttachmentSizeLimit` in actions/runner,
src/Runner.Worker/FileCommandManager.cs); the difference is for what others add in the same step."""


def append_summary(path: str, make: Callable[[int], str]) -> str:
    """Append a page to the file.

    Args:
        path: the file; empty: there is none.
        make: returns the page, given the bytes there are for it; empty: it does not fit.

    Returns:
        Why it was not written, one line; empty: it was.
    """
    if not path:
        return "the step summary is not written: GITHUB_STEP_SUMMARY is not set"
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        # Tests know the path too: what they may have put there must not hold us up.
        with open(os.open(path, flags, 0o644), "ab") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return f"the step summary is not written: {path!r} is no file"
            page = make(MAX_BYTES - status.st_size)
            if not page:
                return f"the step summary is not written: {path!r} has no room left, GitHub shows 1 MiB of it"
            file.write(page.encode(errors="replace"))
    except OSError as error:
        return f"the step summary is not written to {path!r}: {error.strerror or error}"
    return ""
