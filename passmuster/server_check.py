"""Whether a server can be the broker of a run, by what it says of itself.

Pure: the dispatcher and the worker ask it (`INFO`), each in its own way. A refusal names what was found, what
is needed, and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping

from passmuster.errors import InfrastructureError

OLDEST_VERSION = (6, 2)
"""Of the server: what `run_scripts` uses is all there."""


def check_server(info: Mapping[str, object], *, shown: str) -> None:
    """Refuse a server that cannot keep a run.

    Args:
        info: what the server answers to INFO.
        shown: its address without the password.

    Raises:
        InfrastructureError: it is too old, only read from, or throws data away when its memory is full.
    """
    version = str(info.get("redis_version", ""))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isascii() and part.isdigit())
    if len(numbers) < 2:
        raise InfrastructureError(
            f"the broker {shown} does not say that it is Redis or Valkey: give the address of one"
        )
    if numbers < OLDEST_VERSION:
        oldest = ".".join(map(str, OLDEST_VERSION))
        raise InfrastructureError(
            f"the broker {shown} has version {version}, at least {oldest} is needed: use a newer server"
        )
    role = str(info.get("role", "master"))
    if role != "master":
        raise InfrastructureError(
            f"the broker {shown} is a {role}, which takes no changes: give the address of its master"
        )
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        raise InfrastructureError(
            f"the broker {shown} throws data away when its memory is full (maxmemory-policy {policy}):"
            " set maxmemory-policy to noeviction"
        )
