"""What a forked process shares with the server it was forked from, and what of its size is its own. Pure."""

from __future__ import annotations

from msgspec import Struct

UNSHARED_BYTES = 8 * 1024**2
"""What a short forked file makes its own of its server's pages: 1 MiB by existing, more by using them."""


class Inherited(Struct, frozen=True, kw_only=True):
    """What a forked process begins with: resident bytes, all and anonymous ones."""

    rss_bytes: int = 0
    anon_bytes: int = 0


def own_peak_bytes(max_rss_bytes: int, inherited: Inherited, *, was_measured: bool) -> int:
    """Return what of the largest resident size of a forked process is not its server's.

    Args:
        max_rss_bytes: what `wait4` said; it begins with the resident size of the server.
        inherited: what was shared.
        was_measured: whether its own size was measured, too. Where it was not, what it has written to of its
            server's pages is in no figure and is guessed.
    """
    unshared_bytes = 0 if was_measured else min(inherited.anon_bytes, UNSHARED_BYTES)
    return max(0, max_rss_bytes - inherited.rss_bytes) + unshared_bytes
