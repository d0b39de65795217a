"""Which CI a run is printed for. Pure; all that a run elsewhere loads of this package."""

from __future__ import annotations

from collections.abc import Mapping

from dispatcher.config.model import CiChoice


def chosen_ci(choice: CiChoice, environ: Mapping[str, str]) -> CiChoice:
    """Return the CI that was asked for, or the one whose variables are set; never `AUTO`.

    On GitHub a run's number is looked for too: `run_ci_replica.py` and others who imitate it set
    `GITHUB_ACTIONS`, and nobody there reads annotations.
    """
    if choice is not CiChoice.AUTO:
        return choice
    if environ.get("GITHUB_ACTIONS") == "true" and environ.get("GITHUB_RUN_ID"):
        return CiChoice.GITHUB
    for variable, ci in _SIGNS:
        if environ.get(variable, "").lower() in ("true", "1"):
            return ci
    return CiChoice.NONE


_SIGNS = (("GITLAB_CI", CiChoice.GITLAB), ("BUILDKITE", CiChoice.BUILDKITE), ("TF_BUILD", CiChoice.AZURE))
