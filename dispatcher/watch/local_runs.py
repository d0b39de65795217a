"""The runs on this machine, as their claims have them: lines for people, figures for programs.

A claim may come from another user: its text is escaped.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from dispatcher.report.json_line import JsonValue
from dispatcher.report.plain_text import one_line
from passmuster.machine_claims import RunClaim, default_folder, living_claims
from passmuster.units import format_bytes, format_seconds


def local_runs(folder: Path | None, environ: Mapping[str, str]) -> tuple[RunClaim, ...]:
    """Return the claims of the runs on this machine, the oldest first; none where they share nothing.

    Args:
        folder: the folder of `machine-folder`; None: the user's own.
        environ: the environment.
    """
    place = folder or default_folder(environ)
    try:
        found = place.lstat() if folder is None else place.stat()
        # Claims of dead runs are removed: not from a folder that another user has put in the place of ours.
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {os.getuid(), *((0,) if folder else ())}:
            return ()
        return tuple(living_claims(place))
    except OSError:
        return ()


def local_lines(runs: Sequence[RunClaim], *, now_at: float) -> list[str]:
    """Return what people are shown of the runs.

    Args:
        runs: their claims.
        now_at: Unix time in seconds.
    """
    lines = [f"Runs on this machine: {len(runs)}"]
    for run in runs:
        age = format_seconds(max(0.0, now_at - run.started_at))
        nice = ", nice" if run.nice else ""
        stopped = ", stopped" if is_stopped(run.pid) else ""
        lines.append(
            f"  {one_line(run.root) or 'an unknown project'}: process {run.pid}, since "
            f"{_instant(run.started_at)} ({age}){nice}{stopped}"
        )
        lines.append(
            f"    {run.files} file(s) running, memory {format_bytes(run.used_bytes)} used and "
            f"{format_bytes(run.reserved_bytes)} reserved of {format_bytes(run.budget_bytes)}, "
            f"{run.cpus:.1f} processor(s)"
        )
        if run.waits_for:
            waiting = format_seconds(max(0.0, now_at - run.waiting_since_at))
            needed = f" ({format_bytes(run.wanted_bytes)})" if run.waits_for == "memory" else ""
            lines.append(
                f"    waiting for {one_line(run.waits_for)}{needed} since "
                f"{_instant(run.waiting_since_at)} ({waiting})"
            )
    return lines


def local_records(runs: Iterable[RunClaim]) -> list[JsonValue]:
    """Return the same for programs."""
    return [
        {
            "root": run.root,
            "pid": run.pid,
            "started_at": round(run.started_at, 3),
            "nice": run.nice,
            "is_stopped": is_stopped(run.pid),
            "files": run.files,
            "used_bytes": run.used_bytes,
            "reserved_bytes": run.reserved_bytes,
            "budget_bytes": run.budget_bytes,
            "cpus": run.cpus,
            "waits_for": run.waits_for,
            "wanted_bytes": run.wanted_bytes,
            "waiting_since_at": round(run.waiting_since_at, 3) if run.waits_for else None,
        }
        for run in runs
    ]


def is_stopped(pid: int) -> bool:
    """Return whether a process was stopped, as by Ctrl-Z; False where that cannot be known."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] in (b"T", b"t")
    except (OSError, IndexError):
        return False


def _instant(unix_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_s))
