"""The head of a record: what this machine knows of the run, its plan and the CI around it."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path

from dispatcher.config.shard import Shard
from dispatcher.plan import Plan, ShardPlan
from dispatcher.record.shape import FORMAT, Header
from dispatcher.sharding import split_digest
from passmuster.errors import InfrastructureError
from passmuster.git_command import ask_git
from passmuster.version import VERSION

CI_RUNS = (
    "GITHUB_RUN_ID",
    "CI_PIPELINE_ID",
    "CIRCLE_WORKFLOW_ID",
    "BUILDKITE_BUILD_ID",
    "BUILD_BUILDID",
    "SEMAPHORE_WORKFLOW_ID",
    "BITBUCKET_BUILD_NUMBER",
)
"""The variables by which GitHub, GitLab, CircleCI, Buildkite, Azure, Semaphore and Bitbucket name a run of
all its jobs, and which stay the same when some of them are run again."""


def header_of(plan: Plan, *, root: Path, environ: Mapping[str, str]) -> Header:
    """Return the head of the record of a run.

    Args:
        plan: the run's.
        root: the project's root.
        environ: the environment.
    """
    shards = plan.shard or _only_one(plan)
    return Header(
        format=FORMAT,
        version=VERSION,
        run_id=plan.run_id,
        shard=shards.shard,
        digest=shards.digest,
        history_digest=shards.history_digest,
        whole=shards.whole,
        commit=_commit(root),
        ci_run=next((f"{name}={environ[name]}" for name in CI_RUNS if environ.get(name)), ""),
        host=platform.node(),
        root=os.path.realpath(root),
        has_coverage=any(planned.task.coverage is not None for planned in plan.files),
    )


def _only_one(plan: Plan) -> ShardPlan:
    """Return the plan of a run that was not split."""
    whole = tuple(sorted((planned.file.path, 1) for planned in plan.files))
    return ShardPlan(
        shard=Shard(number=1, total=1),
        whole=whole,
        digest=split_digest(1, whole),
        history_digest="",
        slots=0,
        budget_bytes=0,
    )


def _commit(root: Path) -> str:
    """Return what is checked out; empty: git does not know."""
    try:
        return ask_git(root, "rev-parse", "HEAD").decode("ascii", "replace").strip()
    except InfrastructureError:
        return ""
