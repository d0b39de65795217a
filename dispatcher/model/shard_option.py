"""Which part of a run this machine has: `--shard 2/4`, or `auto`, as the CI's own variables say."""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

from passmuster.model.errors import ConfigurationError

AUTO = "auto"

MOST_SHARDS = 10_000
"""More machines than this is a slip of the finger."""

ALLOWED = "I/N with I from 1 to N, such as 2/4, or auto"

_SHARD = re.compile(r"([0-9]{1,5})/([0-9]{1,5})")


class Shard(Struct, frozen=True, kw_only=True):
    """One of the parts into which a run is split.

    Args:
        number: which, from 1.
        total: how many there are.
    """

    number: int
    total: int

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"


class ShardVariables(Struct, frozen=True, kw_only=True):
    """How a CI says which of its parallel jobs this is.

    Args:
        index: the variable with the job's number.
        total: the variable with the number of jobs.
        first: the number of the first job.
        ci: who sets them.
    """

    index: str
    total: str
    first: int
    ci: str


KNOWN = (
    ShardVariables(
        index="PASSMUSTER_JOB_INDEX", total="PASSMUSTER_JOB_TOTAL", first=0, ci="your workflow, from 0"
    ),
    ShardVariables(index="CI_NODE_INDEX", total="CI_NODE_TOTAL", first=1, ci="GitLab"),
    ShardVariables(index="CIRCLE_NODE_INDEX", total="CIRCLE_NODE_TOTAL", first=0, ci="CircleCI"),
    ShardVariables(
        index="BUILDKITE_PARALLEL_JOB", total="BUILDKITE_PARALLEL_JOB_COUNT", first=0, ci="Buildkite"
    ),
    ShardVariables(
        index="SYSTEM_JOBPOSITIONINPHASE", total="SYSTEM_TOTALJOBSINPHASE", first=1, ci="Azure Pipelines"
    ),
    ShardVariables(index="SEMAPHORE_JOB_INDEX", total="SEMAPHORE_JOB_COUNT", first=1, ci="Semaphore"),
    ShardVariables(
        index="BITBUCKET_PARALLEL_STEP", total="BITBUCKET_PARALLEL_STEP_COUNT", first=0, ci="Bitbucket"
    ),
)
"""The first pair that is set counts. GitHub Actions and Jenkins set none by themselves: there a workflow sets
our own pair, as `docs/how-to/ci.md` shows."""


def read_shard(text: str) -> Shard | None:
    """Return the shard that a text names; None: `auto`.

    Raises:
        ValueError: it names none; says what is expected.
    """
    word = text.strip().lower()
    if word == AUTO:
        return None
    match = _SHARD.fullmatch(word)
    number, total = map(int, match.groups()) if match else (0, 0)
    if not 1 <= number <= total <= MOST_SHARDS:
        raise ValueError(f"expected {ALLOWED}, got {text!r}")
    return Shard(number=number, total=total)


def shard_of(environ: Mapping[str, str], *, origin: str) -> Shard:
    """Return the shard that the CI's variables name.

    Args:
        environ: the environment.
        origin: who asked for it, for messages.

    Raises:
        ConfigurationError: no pair of variables is set, or one of them is no number that can be.
    """
    for known in KNOWN:
        if known.index in environ or known.total in environ:
            return _read_pair(known, environ, origin)
    raise ConfigurationError(
        f"--shard auto (from {origin}) finds none of the variables by which a CI numbers its jobs: set "
        f"{KNOWN[0].index} (from 0) and {KNOWN[0].total}, in GitHub Actions from strategy.job-index and "
        "strategy.job-total, or give --shard I/N"
    )


def _read_pair(known: ShardVariables, environ: Mapping[str, str], origin: str) -> Shard:
    index, total = environ.get(known.index, ""), environ.get(known.total, "")
    try:
        number = int(index) - known.first + 1
        shard = read_shard(f"{number}/{int(total)}")
    except ValueError:
        shard = None
    if shard is None:
        raise ConfigurationError(
            f"--shard auto (from {origin}) cannot use {known.index}={index!r} and {known.total}={total!r} "
            f"(set by {known.ci}): expected a whole number from {known.first} and how many there are"
        )
    return shard
