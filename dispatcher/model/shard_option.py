"""Reads which shard of a run this machine runs: `--shard 2/4`, or `auto` for the CI's own variables."""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

from dispatcher.model.ci import AUTO, CIS, Ci
from passmuster.model.errors import ConfigurationError

MAX_SHARDS = 10_000
"""A higher number of machines is a typing error."""

ALLOWED = "I/N with I from 1 to N, such as 2/4, or auto"

_SHARD = re.compile(r"([0-9]{1,5})/([0-9]{1,5})")


class Shard(Struct, frozen=True, kw_only=True):
    """One of the shards into which a run is split."""

    number: int  # from 1
    total: int

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"


def read_shard(text: str) -> Shard | None:
    """Return the shard that a text names; None: `auto`.

    Raises:
        ValueError: the text names no shard; the message says what is expected.
    """
    word = text.strip().lower()
    if word == AUTO:
        return None
    match = _SHARD.fullmatch(word)
    number, total = map(int, match.groups()) if match else (0, 0)
    if not 1 <= number <= total <= MAX_SHARDS:
        raise ValueError(f"expected {ALLOWED}, got {text!r}")
    return Shard(number=number, total=total)


def shard_of(environ: Mapping[str, str], *, origin: str) -> Shard:
    """Return the shard that the CI's variables name.

    Raises:
        ConfigurationError: no pair of variables is set, or one of them is not a valid number.
    """
    for ci in CIS:
        if ci.job_index and (ci.job_index in environ or ci.job_total in environ):
            return _read_pair(ci, environ, origin)
    raise ConfigurationError(
        f"--shard auto (from {origin}) finds none of the variables by which a CI numbers its jobs: set "
        f"{CIS[0].job_index} (from 0) and {CIS[0].job_total}, in GitHub Actions from strategy.job-index and "
        "strategy.job-total, or give --shard I/N"
    )


def _read_pair(ci: Ci, environ: Mapping[str, str], origin: str) -> Shard:
    index, total = environ.get(ci.job_index, ""), environ.get(ci.job_total, "")
    try:
        number = int(index) - ci.first_job + 1
        shard = read_shard(f"{number}/{int(total)}")
    except ValueError:
        shard = None
    if shard is None:
        raise ConfigurationError(
            f"--shard auto (from {origin}) cannot use {ci.job_index}={index!r} and {ci.job_total}={total!r} "
            f"(set by {ci.name}): expected a whole number from {ci.first_job} and how many there are"
        )
    return shard
