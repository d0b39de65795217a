"""The spec of a run, which workers must meet: the dispatcher writes it once, and workers read it before they
join.

On the broker it is a signed message (`envelope`) of the kind `SPEC_KIND`, whose only part is a text of
`SPEC_CODEC`. A worker that cannot serve the run replies with a message of the kind `REFUSED_KIND`, whose only
part is the reason.
"""

from __future__ import annotations

from msgspec import Struct

from passmuster.wire.codec import TextCodec

SPEC_KIND, REFUSED_KIND = "spec", "refused"

_MAX_CHARS = 256 * 1024


class RunSpec(Struct, frozen=True, kw_only=True):
    """What a run requires of its workers."""

    run_id: str
    version: str
    """Of the dispatcher's Passmuster."""
    source_identity: str = ""
    """Of the tree that the plan was made from; empty: not checked."""
    listing: str = ""
    """The digest of the tree's manifest, for workers that cannot compute its identity; empty: none."""
    tree: str = ""
    """The digest of the uploaded tree's manifest; empty: no tree is uploaded."""
    workdir: str = ""
    """Working directory of the tests in an uploaded tree, relative to its root; empty: the root."""
    grace_s: float
    """Seconds between SIGTERM and SIGKILL when the run is stopped."""
    has_coverage: bool
    environment_names: tuple[str, ...]
    """The variables that its tasks set."""


SPEC_CODEC = TextCodec(RunSpec, "the run's spec", _MAX_CHARS)
