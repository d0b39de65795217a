"""Loads the Lua scripts that the broker executes, from the files beside this module."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from passmuster.wire.broker_keys import (
    DELIVERIES_PER_ATTEMPT,
    DEMAND_TTL_S,
    DISPATCHER_TIMEOUT_S,
    JOIN_TTL_S,
    LEADER_LEASE_MS,
    LEASE_S,
    RUN_TTL_S,
)

_CONSTANTS = {
    "DELIVERIES_PER_ATTEMPT": DELIVERIES_PER_ATTEMPT,
    "DEMAND_TTL_S": DEMAND_TTL_S,
    "DISPATCHER_TIMEOUT_S": DISPATCHER_TIMEOUT_S,
    "JOIN_TTL_S": JOIN_TTL_S,
    "LEADER_LEASE_MS": LEADER_LEASE_MS,
    "LEASE_S": LEASE_S,
    "RUN_TTL_S": RUN_TTL_S,
}


@cache
def load_script(name: str) -> str:
    """Return the script of a file, preceded by a line that defines the constants of all scripts."""
    names, values = ", ".join(_CONSTANTS), ", ".join(map(str, _CONSTANTS.values()))
    text = Path(__file__).with_name(name).read_text(encoding="utf-8")
    return f"local {names} = {values}\n{text}"
