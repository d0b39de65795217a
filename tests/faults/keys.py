"""Which keys may be on the server, and how long: each has a lifetime, so that nothing stays for ever."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from passmuster.wire.broker_keys import (
    BLOB_TTL_S,
    DEMAND_TTL_S,
    JOIN_TTL_S,
    LEADER_LEASE_MS,
    OUTPUT_SUBSCRIPTION_S,
    OUTPUT_TTL_S,
    RUN_TTL_S,
    WORKER_QUEUE_TTL_S,
    WORKER_TTL_S,
)

LIFETIMES_S = (
    (r"pm:w:.*", WORKER_TTL_S),
    (r"pm:workers", WORKER_TTL_S),
    (r"pm:runs", RUN_TTL_S),
    (r"pm:demand(:reports)?", DEMAND_TTL_S),
    (r"pm:\{join-\w+\}:lease", LEADER_LEASE_MS / 1000),
    (r"pm:\{join-\w+\}:holder", 7 * JOIN_TTL_S),
    (r"pm:\{join-\w+\}:(spec|round|members|seen|journal|outcome:\d+|record:.*)", JOIN_TTL_S),
    (r"pm:\{[^}]*\}:(meta|state|lease|results)", RUN_TTL_S),
    (r"pm:\{[^}]*\}:tail:\w+", OUTPUT_SUBSCRIPTION_S),
    (r"pm:\{[^}]*\}:out:\w+", OUTPUT_TTL_S),
    (r"pm:pm\.[^\x06@]*@[^\x06]*(\x06\x165)?", WORKER_QUEUE_TTL_S),
    (r"pm:pm\.[^\x06@]*(\x06\x165)?", RUN_TTL_S),
    (r"pm:blob:\w+", BLOB_TTL_S),
)
"""A key, and the most seconds that it may be kept after the last sign of life."""


def wrong_keys(client: Any) -> Iterator[str]:
    """Yield a line for each key that is unknown or would be kept too long."""
    for key in sorted(client.scan_iter(count=1000)):
        left_ms = client.pttl(key)
        most_s = next((seconds for form, seconds in LIFETIMES_S if re.fullmatch(form, key)), None)
        if most_s is None:
            yield f"nobody knows the key {key!a} on the server"
        elif left_ms == -1:
            yield f"the key {key!a} on the server would be kept for ever"
        elif left_ms > most_s * 1000:
            left_s = left_ms / 1000
            yield f"the key {key!a} on the server would be kept for {left_s:.0f} s, not {most_s:.0f} s"
