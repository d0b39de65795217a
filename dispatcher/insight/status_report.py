"""Formats the runs on this machine, and the runs and workers of a broker, as lines and as JSON.

Text from the wire, or from the budget request of another user's run, is escaped in lines.
"""

from __future__ import annotations

import datetime
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from passmuster.host.machine_claims import (
    MAX_ROOT_CHARS,
    LivingClaims,
    RunClaim,
    default_folder,
    name_holders,
    read_living_claims,
)
from passmuster.host.subprocesses import is_stopped
from passmuster.model.executor import OtherRuns
from passmuster.model.text import JsonValue, json_fields, json_line, one_line
from passmuster.model.units import format_bytes, format_seconds
from passmuster.wire.broker_keys import LEASE_S
from passmuster.wire.broker_messages import RunningFileStatus, RunStatus, WorkerStatus

VERSION = 2
"""Of the JSON: counts up when a field changes its meaning or goes away."""


class BrokerState(Struct, frozen=True, kw_only=True):
    """The runs and workers of a broker."""

    broker: str  # its address, without a password
    runs: tuple[RunStatus, ...]
    workers: tuple[WorkerStatus, ...]


def status_lines(state: BrokerState) -> list[str]:
    """Return the lines for people."""
    lines = [f"Broker: {one_line(state.broker)}", "", f"Runs: {len(state.runs)}"]
    lines += map(_run_line, state.runs)
    lines += ["", f"Workers: {len(state.workers)}"]
    for worker in state.workers:
        lines += _worker_lines(worker)
    return lines


def status_json(state: BrokerState | None, local: LivingClaims) -> bytes:
    """Return the same as one JSON object on one line.

    Args:
        state: None: there is no broker.
    """
    return json_line(
        {
            "version": VERSION,
            "local_runs": local_records(local),
            "unreadable_claims": [json_fields(claim, "path", "problem") for claim in local.unreadable],
            **_broker_record(state or BrokerState(broker="", runs=(), workers=())),
        }
    )


def _broker_record(state: BrokerState) -> dict[str, JsonValue]:
    return {
        "broker": state.broker,
        "runs": [
            {
                **json_fields(run, "run_id", "started_at", "duration_s=seconds"),
                "dispatcher": "alive" if _is_alive(run) else "silent",
                **json_fields(run, "damage", "heartbeat_age_s", "waiting", "running", "done"),
            }
            for run in state.runs
        ],
        "workers": [
            {
                **json_fields(worker, "name", "host", "slots", "busy", "budget_bytes", "used_bytes"),
                **json_fields(worker, "version", "runs"),
                "files": [
                    json_fields(file, "run_id", "path", "duration_s=seconds", "used_bytes")
                    for file in worker.files
                ],
            }
            for worker in state.workers
        ],
    }


def _is_alive(run: RunStatus) -> bool:
    # The heartbeat comes each second; a busy machine may be late.
    return run.heartbeat_age_s < LEASE_S


def _run_line(run: RunStatus) -> str:
    if run.damage:
        return f"  {one_line(run.run_id)}: {one_line(run.damage)}"
    dispatcher = "alive" if _is_alive(run) else f"silent for {format_seconds(run.heartbeat_age_s)}"
    return (
        f"  {one_line(run.run_id)}: since {_instant(run.started_at)} ({format_seconds(run.seconds)}), "
        f"dispatcher {dispatcher}, files: {run.waiting} waiting, {run.running} running, {run.done} done"
    )


def _instant(unix_s: float) -> str:
    """Return an instant in the reader's time zone; a value from the wire may exceed every calendar."""
    try:
        return datetime.datetime.fromtimestamp(unix_s).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "an unknown time"


def _worker_lines(worker: WorkerStatus) -> list[str]:
    used, budget = format_bytes(worker.used_bytes), format_bytes(worker.budget_bytes)
    runs = ", ".join(map(one_line, worker.runs)) or "none"
    head = (
        f"  {one_line(worker.name)} on {one_line(worker.host) or 'an unknown host'}: "
        f"{worker.busy}/{worker.slots} slots, memory {used} of {budget}, "
        f"version {one_line(worker.version)}, runs: {runs}"
    )
    hidden = worker.busy - len(worker.files)
    # A file that was admitted but has not started is also unnamed; a single one is not worth a line.
    rest = [f"    and {hidden} more"] if worker.files and hidden > 1 else []
    return [head, *map(_file_line, worker.files), *rest]


def _file_line(file: RunningFileStatus) -> str:
    used = f", {format_bytes(file.used_bytes)}" if file.used_bytes else ""
    return f"    {one_line(file.path)} of {one_line(file.run_id)}: {format_seconds(file.seconds)}{used}"


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
    own = (run for run in local.runs if run.waits_for and run.root == str(root)[-MAX_ROOT_CHARS:])
    return tuple((run.pid, _wait_of(run, local, now_at)) for run in own)


def _wait_of(run: RunClaim, local: LivingClaims, now_at: float) -> OtherRuns:
    return OtherRuns(
        what=run.waits_for,
        seconds=max(0.0, now_at - run.waiting_since_at),
        needed_bytes=run.wanted_bytes,
        held_by=name_holders((other for other in local.runs if other != run), run.waits_for),
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
            wait = _wait_of(run, local, now_at)
            needed = f" ({format_bytes(wait.needed_bytes)})" if wait.what == "memory" else ""
            lines.append(
                f"    waiting for {one_line(wait.what)}{needed} since "
                f"{_instant(run.waiting_since_at)} ({format_seconds(wait.seconds)})"
            )
            lines += [f"    held by {one_line(wait.held_by)}"] if wait.held_by else []
    lines += [
        f"  {one_line(claim.path)}: the claim of this run cannot be read: {one_line(claim.problem)}"
        for claim in local.unreadable
    ]
    return lines


def local_records(local: LivingClaims) -> list[JsonValue]:
    """Return the runs for programs."""
    return [
        {
            **json_fields(run, "root", "pid", "started_at", "nice"),
            "is_stopped": is_stopped(run.pid),
            **json_fields(run, "files", "used_bytes", "reserved_bytes", "budget_bytes", "cpus"),
            **json_fields(run, "waits_for", "wanted_bytes"),
            "waiting_since_at": round(run.waiting_since_at, 3) if run.waits_for else None,
        }
        for run in local.runs
    ]
