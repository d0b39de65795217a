"""Formats the runs on this machine from their budget requests: lines for people, values for programs.

A request may come from another user, so its text is escaped.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping
from pathlib import Path

from passmuster.host.machine_claims import (
    MAX_ROOT_CHARS,
    LivingClaims,
    default_folder,
    name_holders,
    read_living_claims,
)
from passmuster.model.executor import OtherRuns
from passmuster.model.text import JsonValue, one_line
from passmuster.model.units import format_bytes, format_seconds


def local_runs(folder: Path | None, environ: Mapping[str, str]) -> LivingClaims:
    """Return the budget requests of the runs on this machine; none if runs share nothing.

    Args:
        folder: the directory of `machine-folder`; None: the user's own.
    """
    place = folder or default_folder(environ)
    try:
        found = place.lstat() if folder is None else place.stat()
        # Reading removes requests of dead runs, which must not happen in a directory of another user.
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {os.getuid(), *((0,) if folder else ())}:
            return LivingClaims()
        return read_living_claims(place)
    except OSError:
        return LivingClaims()


def waits_of(root: Path, local: LivingClaims, *, now_at: float) -> tuple[tuple[int, OtherRuns], ...]:
    """Return the resources of other runs on this machine that a project's runs wait for, by process ID."""
    return tuple(
        (
            run.pid,
            OtherRuns(
                what=run.waits_for,
                seconds=max(0.0, now_at - run.waiting_since_at),
                needed_bytes=run.wanted_bytes,
                held_by=name_holders((other for other in local.runs if other != run), run.waits_for),
            ),
        )
        for run in local.runs
        if run.waits_for and run.root == str(root)[-MAX_ROOT_CHARS:]
    )


def local_lines(local: LivingClaims, *, now_at: float) -> list[str]:
    """Return the lines about the runs for people."""
    lines = [f"Runs on this machine: {len(local.runs) + len(local.unreadable)}"]
    for run in local.runs:
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
            holders = name_holders((other for other in local.runs if other != run), run.waits_for)
            lines += [f"    held by {one_line(holders)}"] if holders else []
    lines += [
        f"  {one_line(claim.path)}: the claim of this run cannot be read: {one_line(claim.problem)}"
        for claim in local.unreadable
    ]
    return lines


def unreadable_records(local: LivingClaims) -> list[JsonValue]:
    """Return the requests that cannot be parsed, for programs."""
    return [{"path": claim.path, "problem": claim.problem} for claim in local.unreadable]


def local_records(local: LivingClaims) -> list[JsonValue]:
    """Return the runs for programs."""
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
        for run in local.runs
    ]


def is_stopped(pid: int) -> bool:
    """Return whether a process is stopped, as by Ctrl-Z; False if that cannot be determined."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] in (b"T", b"t")
    except (OSError, IndexError):
        return False


def _instant(unix_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_s))
