"""The messages that members of a joined run exchange over the broker: encodes, decodes and validates them.

All messages are signed (`envelope`), and each kind is bound to the run, so a message of one run or round is
not accepted in another.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct

from passmuster.wire.codec import TextCodec
from passmuster.wire.envelope import Envelope, EnvelopeError

_MAX_SPEC_CHARS = 4 * 1024 * 1024
_MAX_OUTCOME_CHARS = 64 * 1024 * 1024


class JoinSpec(Struct, frozen=True, kw_only=True):
    """The properties that all members of a run must share; the first member sets them."""

    version: str
    """Of Passmuster."""
    machine: str
    """The member that set them, as text for the user."""
    identity: str
    """Of the tree (`tree_identity`)."""
    listing: str
    """The digest of the tree's manifest; empty: none."""
    request: tuple[tuple[str, str], ...]
    """The settings of the run, as pairs of name and value."""


class NewRound(Struct, frozen=True, kw_only=True):
    """The start of round `number`, which reruns the files that did not pass in the round before."""

    number: int
    paths: tuple[str, ...]


class RecordFile(Struct, frozen=True, kw_only=True):
    """A file of a round's record."""

    name: str
    size_bytes: int
    sha256: str
    chunks: int
    """Number of its chunks on the broker."""


class RoundOutcome(Struct, frozen=True, kw_only=True):
    """The outcome of a round."""

    number: int
    status: int
    """The exit status of every machine."""
    leader: str
    """The leader at its end, as text for the user."""
    failed_paths: tuple[str, ...]
    """The files that did not pass."""
    files: tuple[RecordFile, ...]
    """Its record."""


class EnterReply(NamedTuple):
    """The state of a run that a new member finds."""

    number: int
    """Of the current round, from 1."""
    is_done: bool
    attempt: int
    """The CI's attempt of the member that started the round; 0: unknown."""
    was_seen: bool
    """Whether a machine of this identity entered this round before."""


class JoinStatus(NamedTuple):
    """The current status of a joined run."""

    number: int
    """Of the current round; 0: the broker does not know the run."""
    is_led: bool
    """Whether a member holds the leader lease."""
    leader: str
    """The last leader; empty: none yet."""
    has_outcome: bool
    """Whether the requested round is complete."""


_SPEC_CODEC = TextCodec(JoinSpec, "the run's spec", _MAX_SPEC_CHARS)
_ROUND_CODEC = TextCodec(NewRound, "the new round", _MAX_OUTCOME_CHARS)
_OUTCOME_CODEC = TextCodec(RoundOutcome, "the outcome", _MAX_OUTCOME_CHARS)


class JoinCodec:
    """Signs and verifies the messages about the joined run of one name.

    Every `decode_…` raises `PassmusterError` if the message is malformed or not signed with the secret.
    """

    def __init__(self, envelope: Envelope, name: str) -> None:
        self._envelope, self._name = envelope, name

    def encode_spec(self, spec: JoinSpec) -> str:
        """Return a signed spec."""
        return self._envelope.sign(self._kind("spec"), spec.version, _SPEC_CODEC.encode(spec))

    def decode_spec(self, text: str, *, version: str) -> JoinSpec | str:
        """Return the spec in a message; if it has another version, only that version."""
        found, spec = self._parts("spec", text, 2)
        return _SPEC_CODEC.decode(spec) if found == version else found

    def encode_result(self, number: int, result: str, coverage: tuple[str, ...]) -> str:
        """Return the encoded result of an attempt in a round with its packed coverage data, signed."""
        return self._envelope.sign(self._kind("result"), str(number), result, *coverage)

    def decode_result(self, text: str) -> tuple[int, str, tuple[str, ...]]:
        """Return round number, result and coverage data of a result message."""
        number, result, *coverage = self._parts("result", text, 2, or_more=True)
        return _number(number), result, tuple(coverage)

    def encode_round(self, new: NewRound) -> str:
        """Return the start of a round, signed."""
        return self._envelope.sign(self._kind("round"), _ROUND_CODEC.encode(new))

    def decode_round(self, text: str) -> NewRound:
        """Return the start of a round from its message."""
        (part,) = self._parts("round", text, 1)
        return _ROUND_CODEC.decode(part)

    def encode_outcome(self, outcome: RoundOutcome) -> str:
        """Return an outcome, signed."""
        return self._envelope.sign(self._kind(f"outcome:{outcome.number}"), _OUTCOME_CODEC.encode(outcome))

    def decode_outcome(self, text: str, number: int) -> RoundOutcome:
        """Return the outcome of this round."""
        (part,) = self._parts(f"outcome:{number}", text, 1)
        return _OUTCOME_CODEC.decode(part)

    def encode_chunk(self, sha256: str, index: int, packed: str) -> str:
        """Return a chunk of the file with this digest, signed."""
        return self._envelope.sign(self._kind(f"record:{sha256}:{index}"), packed)

    def decode_chunk(self, text: str, sha256: str, index: int) -> str:
        """Return the data of a message from `encode_chunk`."""
        (part,) = self._parts(f"record:{sha256}:{index}", text, 1)
        return part

    def _kind(self, what: str) -> str:
        return f"join {what} of {self._name}"

    def _parts(self, what: str, text: str, count: int, *, or_more: bool = False) -> tuple[str, ...]:
        parts = self._envelope.verify(self._kind(what), text)
        if len(parts) < count or (len(parts) > count and not or_more):
            raise EnvelopeError(f"a {what} message has {len(parts)} parts, {count} were expected")
        return parts


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise EnvelopeError("a message names no round")
    return int(text)
