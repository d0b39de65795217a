"""Signs the messages between dispatcher and workers, and rejects messages without a valid signature.

The form is a JSON array: version, kind, the parts, and an HMAC-SHA256 over all of these. Long parts are
compressed. The kind is signed too, so a result is not accepted as a task. Replayed messages are not detected
here; leases make them harmless (`run_store`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import zlib

from passmuster.model.errors import PassmusterError

VERSION = 2
"""Increases when the form or the content of messages changes; a dispatcher and its workers need the same."""

MAX_MESSAGE_CHARS = 192 * 1024 * 1024
"""Maximum characters of a signed message: below the 512 MB that Redis stores in one value."""

MAX_PARTS_BYTES = 256 * 1024 * 1024
"""Maximum bytes of all parts of a message, decompressed: bounds the memory of the receiver."""

_MIN_PACKED_CHARS = 512
"""Compression does not make shorter parts noticeably shorter."""

_LEVEL = 1
"""zlib's fastest level already shrinks the output of tests to a tenth."""


class EnvelopeError(PassmusterError):
    """A message that is malformed, not signed with the secret, from another version, or too large."""


class Envelope:
    """Signs and verifies messages with a secret, or with two while one replaces the other.

    Messages signed with either are accepted. The first one signs, but runs are answered with the secret that
    they came with (`answer_run`), because the other side may have only that one.

    Args:
        secret: shared by both sides, one secret a line; empty: the signature only detects damage.
    """

    def __init__(self, secret: str) -> None:
        lines = [line for line in secret.splitlines() if line.strip()]
        self._keys = [line.encode("utf-8", "surrogateescape") for line in lines] or [b""]
        self._keys_of_runs: dict[str, bytes] = {}

    def answer_run(self, run_id: str, text: str) -> None:
        """Sign a run's messages from now on with the secret that signed `text`, a verified message."""
        *body, signature = json.loads(text)
        key = next(key for key in self._keys if _signature(key, body) == signature)
        if key == self._keys[0]:
            self._keys_of_runs.pop(run_id, None)
        else:
            # Kept after the run has left: a result may follow, and the second secret is replaced soon.
            self._keys_of_runs[run_id] = key

    def sign(self, kind: str, *parts: str, run_id: str = "") -> str:
        """Return a message; `run_id` is the run that it answers, or "".

        Raises:
            EnvelopeError: it would be too large to be verified.
        """
        if sum(map(len, parts)) > MAX_PARTS_BYTES:
            raise EnvelopeError(f"the {kind} message is larger than {MAX_PARTS_BYTES} bytes")
        body: list[int | str] = [VERSION, kind, *map(_packed, parts)]
        key = self._keys_of_runs.get(run_id, self._keys[0])
        text = json.dumps([*body, _signature(key, body)], separators=(",", ":"))
        if len(text) > MAX_MESSAGE_CHARS:
            raise EnvelopeError(f"the {kind} message is larger than {MAX_MESSAGE_CHARS} characters")
        return text

    def verify(self, kind: str, text: str | bytes) -> tuple[str, ...]:
        """Return the parts of a message that must be of this kind.

        Raises:
            EnvelopeError: it is malformed, not signed with the secret, of another version or kind, or too
                large.
        """
        if len(text) > MAX_MESSAGE_CHARS:
            raise EnvelopeError(
                f"a message has {len(text)} characters, at most {MAX_MESSAGE_CHARS} are allowed"
            )
        try:
            message = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise EnvelopeError("a message is malformed: it is not JSON") from error
        if not isinstance(message, list) or len(message) < 3 or type(message[0]) is not int:
            raise EnvelopeError("a message is malformed: it is not an array of a version, a kind and parts")
        if message[0] != VERSION:
            raise EnvelopeError(
                f"a message has version {str(message[0])[:20]}, this program uses {VERSION}: "
                "use the same version of Passmuster for the dispatcher and all workers"
            )
        *body, signature = message
        if not all(isinstance(item, str) for item in message[1:]):
            raise EnvelopeError("a message is malformed: a part is not text")
        # Bytes: compare_digest rejects text that is not ASCII.
        expected = [_bytes(_signature(key, body)) for key in self._keys]
        if not any(hmac.compare_digest(own, _bytes(signature)) for own in expected):
            raise EnvelopeError(
                "a message has a wrong signature: give the dispatcher and all workers the same secret"
            )
        if body[1] != kind:
            raise EnvelopeError(f"a message is of the kind {ascii(body[1])[:40]}, {kind!r} was expected")
        return _unpacked(body[2:])


def pack_bytes(data: bytes) -> str:
    """Return `data`, compressed, as ASCII text."""
    return base64.b64encode(zlib.compress(data, _LEVEL)).decode("ascii")


def unpack_bytes(text: str, *, limit_bytes: int) -> bytes:
    """Return the data in a text from `pack_bytes`.

    Raises:
        EnvelopeError: the text is damaged, or holds more than `limit_bytes`, which are never decompressed.
    """
    unpacker = zlib.decompressobj()
    try:
        packed = base64.b64decode(text, validate=True)
        # Read one more than allowed: this detects a larger text without reading all of it.
        data = unpacker.decompress(packed, limit_bytes + 1)
    except (ValueError, binascii.Error, zlib.error) as error:
        raise EnvelopeError(f"packed data is damaged: {error}") from error
    if len(data) > limit_bytes:
        raise EnvelopeError(f"packed data holds more than the {limit_bytes} bytes allowed")
    if not unpacker.eof or unpacker.unused_data:
        raise EnvelopeError("packed data is damaged: its end is missing, or more follows")
    return data


def _signature(key: bytes, body: list[int | str]) -> str:
    canonical = json.dumps(body, separators=(",", ":")).encode("ascii")
    return hmac.new(key, canonical, hashlib.sha256).hexdigest()


def _packed(part: str) -> str:
    if len(part) >= _MIN_PACKED_CHARS:
        packed = pack_bytes(part.encode("utf-8", "surrogatepass"))
        if len(packed) < len(part):
            return "z" + packed
    return "t" + part


def _unpacked(parts: list[int | str]) -> tuple[str, ...]:
    left_bytes = MAX_PARTS_BYTES
    found = []
    for part in map(str, parts):
        text = part[1:]
        if part[:1] == "z":
            data = unpack_bytes(text, limit_bytes=left_bytes)
            left_bytes -= len(data)
            try:
                text = data.decode("utf-8", "surrogatepass")
            except UnicodeDecodeError as error:
                raise EnvelopeError("packed data is damaged: it is not text") from error
        elif part[:1] != "t":
            raise EnvelopeError("a message is malformed: a part is of an unknown form")
        found.append(text)
    return tuple(found)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
