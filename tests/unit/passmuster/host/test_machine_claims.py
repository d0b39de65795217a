"""A claim of another run is believed only where each of its figures can be true."""

from __future__ import annotations

import json

import pytest

from passmuster.host.machine_claims import CLAIM_SIZE_BYTES, ClaimError, RunClaim, decode, encode

CLAIM = RunClaim(run="r1", pid=5, root="/home/größe", processors=1 << 100, levels=("x" * 500,), cpus=1.5)


def changed(**changes: object) -> bytes:
    """Return a claim as its file holds it, with other values."""
    return json.dumps({**json.loads(encode(CLAIM)), **changes}).encode()


def test_a_claim_comes_back_the_same() -> None:
    assert decode("r1", encode(CLAIM)) == CLAIM
    assert len(encode(CLAIM)) == CLAIM_SIZE_BYTES


def test_whole_seconds_are_taken() -> None:
    assert decode("r1", changed(started_at=7)).started_at == 7.0


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"pid": "5"}, "pid is wrong: expected `int`, got `str`"),
        ({"pid": -1}, "pid is wrong: expected `int` >= 0"),
        ({"slots": True}, "slots is wrong: expected `int`, got `bool`"),
        ({"used_bytes": 1 << 51}, "used_bytes is wrong: expected `int` <= 1125899906842624"),
        ({"cpus": float("nan")}, "cpus is wrong: expected `float` >= 0"),
        ({"started_at": float("inf")}, "started_at is wrong: expected `float` <= 4000000000"),
        ({"waiting_since_s": 10**400}, "waiting_since_s is wrong"),
        ({"levels": ["a"] * 17}, "levels is wrong: expected `array` of length <= 16"),
        ({"levels": [1]}, r"levels\[0\] is wrong"),
        ({"root": None}, "root is wrong"),
        ({"slots": "\udcff"}, "a figure is wrong: it is text"),
        ({"processors": "many"}, "processors is wrong: expected hexadecimal digits"),
        ({"processors": 3}, "processors is wrong"),
        ({"version": 1}, "another version"),
    ],
)
def test_a_figure_that_cannot_be_true_is_named(changes: dict[str, object], problem: str) -> None:
    with pytest.raises(ClaimError, match=problem):
        decode("r1", changed(**changes))


@pytest.mark.parametrize("data", [b"", b"[]", b"[" * 4096, b"9" * 4096, b"\xff" * 10])
def test_what_is_no_claim_is_refused(data: bytes) -> None:
    with pytest.raises(ClaimError):
        decode("r1", data)


def test_a_claim_without_a_process_is_refused() -> None:
    record = json.loads(encode(CLAIM))
    del record["pid"]

    with pytest.raises(ClaimError, match="it is wrong: object missing required field `pid`"):
        decode("r1", json.dumps(record).encode())
