"""The spec of a run, which workers must meet: the dispatcher writes it once, and workers read it before they
join.

On the broker it is a signed message (`envelope`) of the kind `SPEC_KIND`, whose only part is `encode_terms`.
A worker that cannot serve the run replies with a message of the kind `REFUSED_KIND`, whose only part is the
reason.
"""

from __future__ import annotations

from msgspec import Struct

from passmuster.wire.codec import decode, encode

SPEC_KIND, REFUSED_KIND = "terms", "refused"

_MAX_TERMS_CHARS = 256 * 1024


class RunSpec(Struct, frozen=True, kw_only=True):
    """What a run asks.

    Args:
        run_id: whose terms these are.
        version: of Passmuster, on the dispatcher's side.
        source_identity: which tree the plan was made from; empty: not checked.
        listing: the digest of the list of its files, for workers that cannot tell its identity; empty: none.
        tree: the digest of the tree that the dispatcher ships; empty: none is shipped.
        workdir: where the tests of a shipped tree run, relative to its root; empty: there.
        grace_s: seconds between SIGTERM and SIGKILL where the run is stopped.
        has_coverage: whether coverage is measured.
        environment_names: the variables that its tasks set.
    """

    run_id: str
    version: str
    source_identity: str = ""
    listing: str = ""
    tree: str = ""
    workdir: str = ""
    grace_s: float
    has_coverage: bool
    environment_names: tuple[str, ...]


def encode_run_spec(terms: RunSpec) -> str:
    """Return `terms` as text.

    Raises:
        CodecError: the text would be too long.
    """
    return encode(terms, what="the run's terms", max_chars=_MAX_TERMS_CHARS)


def decode_run_spec(text: str) -> RunSpec:
    """Return the terms that `text` holds.

    Raises:
        CodecError: the text is not exactly a valid spec; the error names the place.
    """
    return decode(RunSpec, text, what="the run's terms", max_chars=_MAX_TERMS_CHARS)
