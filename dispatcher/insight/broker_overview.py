"""Formats the runs and workers of a broker, as lines for people and as JSON for programs. Pure.

Names and paths come from the wire and are escaped in lines.
"""

from __future__ import annotations

import datetime

from msgspec import Struct

from dispatcher.insight.local_runs import local_records, unreadable_records
from passmuster.host.machine_claims import LivingClaims
from passmuster.model.text import JsonValue, json_line, one_line
from passmuster.model.units import format_bytes, format_seconds
from passmuster.wire.broker_keys import LEASE_S
from passmuster.wire.broker_messages import RunningFileStatus, RunStatus, WorkerStatus

VERSION = 2
"""Of the JSON: counts up when a field changes its meaning or goes away."""


class BrokerState(Struct, frozen=True, kw_only=True):
    """The runs and workers of a broker.

    Args:
        broker: its address, without a password.
    """

    broker: str
    runs: tuple[RunStatus, ...]
    workers: tuple[WorkerStatus, ...]


def status_lines(state: BrokerState) -> list[str]:
    """Return the lines for people."""
    lines = [f"Broker: {one_line(state.broker)}", "", f"Runs: {len(state.runs)}"]
    lines += map(_run_line, state.runs)
    lines += ["", f"Workers: {len(state.workers)}"]
    for card in state.workers:
        lines += _worker_lines(card)
    return lines


def status_json(state: BrokerState | None, local: LivingClaims | None = None) -> bytes:
    """Return the same as one JSON object on one line.

    Args:
        state: the broker's state; None: there is no broker.
        local: the runs on this machine; None: there are none.
    """
    empty = BrokerState(broker="", runs=(), workers=())
    claims = local or LivingClaims()
    return json_line(
        {
            "version": VERSION,
            "local_runs": local_records(claims),
            "unreadable_claims": unreadable_records(claims),
            **_broker_record(state or empty),
        }
    )


def _broker_record(state: BrokerState) -> dict[str, JsonValue]:
    return {
        "broker": state.broker,
        "runs": [
            {
                "run_id": run.run_id,
                "started_at": round(run.started_at, 3),
                "duration_s": round(run.seconds, 3),
                "dispatcher": "alive" if _is_alive(run) else "silent",
                "damage": run.damage,
                "heartbeat_age_s": round(run.heartbeat_age_s, 3),
                "waiting": run.waiting,
                "running": run.running,
                "done": run.done,
            }
            for run in state.runs
        ],
        "workers": [
            {
                "name": card.name,
                "host": card.host,
                "slots": card.slots,
                "busy": card.busy,
                "budget_bytes": card.budget_bytes,
                "used_bytes": card.used_bytes,
                "version": card.version,
                "runs": list(card.runs),
                "files": [
                    {
                        "run_id": file.run_id,
                        "path": file.path,
                        "duration_s": round(file.seconds, 3),
                        "used_bytes": file.used_bytes,
                    }
                    for file in card.files
                ],
            }
            for card in state.workers
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


def _worker_lines(card: WorkerStatus) -> list[str]:
    used, budget = format_bytes(card.used_bytes), format_bytes(card.budget_bytes)
    runs = ", ".join(map(one_line, card.runs)) or "none"
    head = (
        f"  {one_line(card.name)} on {one_line(card.host) or 'an unknown host'}: "
        f"{card.busy}/{card.slots} slots, memory {used} of {budget}, "
        f"version {one_line(card.version)}, runs: {runs}"
    )
    hidden = card.busy - len(card.files)
    # A file that was admitted but has not started is also unnamed; a single one is not worth a line.
    rest = [f"    and {hidden} more"] if card.files and hidden > 1 else []
    return [head, *map(_file_line, card.files), *rest]


def _file_line(file: RunningFileStatus) -> str:
    used = f", {format_bytes(file.used_bytes)}" if file.used_bytes else ""
    return f"    {one_line(file.path)} of {one_line(file.run_id)}: {format_seconds(file.seconds)}{used}"
