"""The memory that a forked process shares with its fork server, and the part that is its own. Pure."""

from __future__ import annotations

from msgspec import Struct

UNSHARED_BYTES = 8 * 1024**2
"""Server pages that a short forked file copies: 1 MiB by existing, more by using them."""


class Inherited(Struct, frozen=True, kw_only=True):
    """Resident memory of a forked process at its start: all, and the anonymous part."""

    rss_bytes: int = 0
    anon_bytes: int = 0


def own_peak_bytes(max_rss_bytes: int, inherited: Inherited, *, was_measured: bool) -> int:
    """Return the part of a forked process's maximum resident size that is not shared with its server.

    `max_rss_bytes` is from `wait4` and includes the server's resident size. If the process was never sampled,
    no figure shows the server pages that it wrote to, and they are estimated.
    """
    unshared_bytes = 0 if was_measured else min(inherited.anon_bytes, UNSHARED_BYTES)
    return max(0, max_rss_bytes - inherited.rss_bytes) + unshared_bytes
