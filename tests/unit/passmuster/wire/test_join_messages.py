"""Messages of a joined run are decoded unchanged, and no others are accepted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from passmuster.wire.codec import CodecError
from passmuster.wire.envelope import Envelope, EnvelopeError
from passmuster.wire.join_messages import JoinCodec, JoinSpec, NewRound, RecordFile, RoundOutcome

OURS = JoinCodec(Envelope("secret"), "run")
TERMS = JoinSpec(version="1", machine="box", identity="git:1", listing="", request=(("--retries", "0"),))
FILE = RecordFile(name="run.record", size_bytes=3, sha256="00", chunks=1)
OUTCOME = RoundOutcome(number=2, status=1, leader="box", failed_paths=("a.py",), files=(FILE,))
ROUND = NewRound(number=2, paths=("a.py", "b\udcff.py"))


def test_a_signed_message_is_decoded_unchanged() -> None:
    assert OURS.decode_spec(OURS.encode_spec(TERMS), version="1") == TERMS
    assert OURS.decode_outcome(OURS.encode_outcome(OUTCOME), 2) == OUTCOME
    assert OURS.decode_round(OURS.encode_round(ROUND)) == ROUND
    assert OURS.decode_result(OURS.encode_result(3, "text", ("data", "more"))) == (
        3,
        "text",
        ("data", "more"),
    )
    assert OURS.decode_chunk(OURS.encode_chunk("ab", 1, "packed"), "ab", 1) == "packed"


def test_a_spec_of_another_version_yields_only_the_version() -> None:
    assert OURS.decode_spec(OURS.encode_spec(TERMS), version="2") == "1"


@pytest.mark.parametrize("other", [JoinCodec(Envelope("guess"), "run"), JoinCodec(Envelope("secret"), "ru")])
def test_a_message_with_another_secret_or_of_another_run_is_rejected(other: JoinCodec) -> None:
    verified: list[Callable[[], object]] = [
        lambda: OURS.decode_spec(other.encode_spec(TERMS), version="1"),
        lambda: OURS.decode_outcome(other.encode_outcome(OUTCOME), 2),
        lambda: OURS.decode_round(other.encode_round(ROUND)),
        lambda: OURS.decode_result(other.encode_result(3, "text", ())),
        lambda: OURS.decode_chunk(other.encode_chunk("ab", 1, "packed"), "ab", 1),
    ]
    for open_it in verified:
        with pytest.raises(EnvelopeError):
            open_it()


def test_a_message_of_one_kind_is_not_accepted_as_another() -> None:
    with pytest.raises(EnvelopeError):
        OURS.decode_outcome(OURS.encode_outcome(OUTCOME), 3)
    with pytest.raises(EnvelopeError):
        OURS.decode_chunk(OURS.encode_chunk("ab", 1, "packed"), "ab", 0)
    with pytest.raises(EnvelopeError):
        OURS.decode_round(OURS.encode_outcome(OUTCOME))
    wrong = Envelope("secret").sign("join round of run", '{"number": "2", "paths": []}')
    with pytest.raises(CodecError):
        OURS.decode_round(wrong)
