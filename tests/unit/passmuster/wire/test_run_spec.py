"""What a run asks of workers, as text and back."""

from __future__ import annotations

import pytest

from passmuster.wire.codec import CodecError
from passmuster.wire.run_spec import RunSpec, decode_run_spec, encode_run_spec

TERMS = RunSpec(
    run_id="r1",
    version="1.2",
    source_identity="abc",
    tree="d1",
    grace_s=1.5,
    has_coverage=True,
    environment_names=("COLUMNS", "LANG"),
)


def test_terms_survive_the_way() -> None:
    assert decode_run_spec(encode_run_spec(TERMS)) == TERMS


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('"tree"', '"forest"', "has the unknown key 'forest'"),
        ('"grace_s":1.5', '"grace_s":"soon"', "grace_s is 'soon'"),
        ('"grace_s":1.5', '"grace_s":NaN', "NaN is not a number"),
        ('"environment_names":["COLUMNS","LANG"]', '"environment_names":[1]', r"environment_names\[0\] is 1"),
    ],
)
def test_what_is_not_exactly_terms_is_refused_by_name(old: str, new: str, complaint: str) -> None:
    text = encode_run_spec(TERMS)
    assert old in text

    with pytest.raises(CodecError, match=f"the run's spec.*{complaint}"):
        decode_run_spec(text.replace(old, new))
