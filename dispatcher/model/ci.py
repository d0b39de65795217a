"""Describes each supported CI: the variables that identify a run, a job and its checkout. One row for each
CI. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

AUTO = "auto"
"""The choice of the CI whose variables are set."""

NONE = "none"
"""The choice of no CI."""


class Ci(Struct, frozen=True, kw_only=True):
    """One CI."""

    name: str
    choice: str = ""
    """Its name for `--ci` and in `reporters/ci/logs.py`; empty: Passmuster prints no annotations for it."""
    sign: str = ""  # the variable that is `true` or `1` in its jobs
    also: str = ""
    """A variable that must be set in addition, because programs that imitate a CI set only `sign`."""
    job_index: str = ""  # the variable with the number of a parallel job
    job_total: str = ""  # the variable with the number of parallel jobs
    first_job: int = 0  # the number of the first parallel job
    run: str = ""  # the variable that identifies a run; it keeps its value when some jobs rerun
    attempt: str = ""  # the variable that counts the attempts at a job
    first_attempt: int = 1  # the value of `attempt` in the first attempt
    checkout: str = ""
    summary: str = ""


CIS = (
    Ci(
        name="your workflow",
        job_index="PASSMUSTER_JOB_INDEX",
        job_total="PASSMUSTER_JOB_TOTAL",
        attempt="PASSMUSTER_ATTEMPT",
    ),
    Ci(
        name="GitHub",
        choice="github",
        sign="GITHUB_ACTIONS",
        also="GITHUB_RUN_ID",  # run_ci_replica.py sets only the sign, and shows no annotations
        run="GITHUB_RUN_ID",
        attempt="GITHUB_RUN_ATTEMPT",
        checkout="GITHUB_WORKSPACE",
        summary="GITHUB_STEP_SUMMARY",
    ),
    Ci(
        name="GitLab",
        choice="gitlab",
        sign="GITLAB_CI",
        job_index="CI_NODE_INDEX",
        job_total="CI_NODE_TOTAL",
        first_job=1,
        run="CI_PIPELINE_ID",
    ),
    Ci(
        name="CircleCI",
        job_index="CIRCLE_NODE_INDEX",
        job_total="CIRCLE_NODE_TOTAL",
        run="CIRCLE_WORKFLOW_ID",
    ),
    Ci(
        name="Buildkite",
        choice="buildkite",
        sign="BUILDKITE",
        job_index="BUILDKITE_PARALLEL_JOB",
        job_total="BUILDKITE_PARALLEL_JOB_COUNT",
        run="BUILDKITE_BUILD_ID",
        attempt="BUILDKITE_RETRY_COUNT",
        first_attempt=0,
    ),
    Ci(
        name="Azure Pipelines",
        choice="azure",
        sign="TF_BUILD",
        job_index="SYSTEM_JOBPOSITIONINPHASE",
        job_total="SYSTEM_TOTALJOBSINPHASE",
        first_job=1,
        run="BUILD_BUILDID",
        attempt="SYSTEM_JOBATTEMPT",
        checkout="BUILD_SOURCESDIRECTORY",
    ),
    Ci(
        name="Semaphore",
        job_index="SEMAPHORE_JOB_INDEX",
        job_total="SEMAPHORE_JOB_COUNT",
        first_job=1,
        run="SEMAPHORE_WORKFLOW_ID",
    ),
    Ci(
        name="Bitbucket",
        job_index="BITBUCKET_PARALLEL_STEP",
        job_total="BITBUCKET_PARALLEL_STEP_COUNT",
        run="BITBUCKET_BUILD_NUMBER",
    ),
)
"""In the order in which their variables are checked. GitHub and Jenkins do not number their jobs: there a
workflow sets Passmuster's own variables, as `docs/how-to/ci.md` shows.
"""

CHOICES = (AUTO, NONE, *(ci.choice for ci in CIS if ci.choice))
"""The values of `--ci`."""


def detect_ci(choice: str, environ: Mapping[str, str]) -> Ci | None:
    """Return the requested CI, or with `auto` the one whose variables are set; None: no CI."""
    if choice != AUTO:
        return next((ci for ci in CIS if ci.choice == choice), None)
    for ci in CIS:
        is_here = environ.get(ci.sign, "").lower() in ("true", "1") and (not ci.also or environ.get(ci.also))
        if ci.choice and is_here:
            return ci
    return None


def ci_run(environ: Mapping[str, str]) -> str:
    """Return the ID of this CI run (`GITHUB_RUN_ID=123`), or "" if it is unknown."""
    return next((f"{ci.run}={environ[ci.run]}" for ci in CIS if environ.get(ci.run)), "")
