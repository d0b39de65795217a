"""A run's spec as text."""

from __future__ import annotations

import pytest

from passmuster.wire.codec import CodecError
from passmuster.wire.run_spec import SPEC_CODEC, RunSpec

TERMS = RunSpec(
    run_id="r1",
    version="1.2",
    source_identity="abc",
    tree="d1",
    grace_s=1.5,
    has_coverage=True,
    environment_names=("COLUMNS", "LANG"),
)


def test_a_spec_is_decoded_unchanged() -> None:
    assert SPEC_CODEC.decode(SPEC_CODEC.encode(TERMS)) == TERMS


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('"tree"', '"forest"', "has the unknown key 'forest'"),
        ('"grace_s":1.5', '"grace_s":"soon"', "grace_s is 'soon'"),
        ('"grace_s":1.5', '"grace_s":NaN', "NaN is not a number"),
        ('"environment_names":["COLUMNS","LANG"]', '"environment_names":[1]', r"environment_names\[0\] is 1"),
    ],
)
def test_the_error_names_what_is_wrong_with_a_spec(old: str, new: str, complaint: str) -> None:
    text = SPEC_CODEC.encode(TERMS)
    assert old in text

    with pytest.raises(CodecError, match=f"the run's spec.*{complaint}"):
        SPEC_CODEC.decode(text.replace(old, new))
