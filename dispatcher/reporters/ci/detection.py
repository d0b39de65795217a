"""Which CI a run is printed for. All that a run elsewhere loads of this package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from dispatcher.config.choices import CiChoice
from dispatcher.model.events import Reporter
from dispatcher.terminal.stream import TextStream


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


class PlainOutput:
    """A run's output where no CI reads it; `output` has the one for CIs.

    Args:
        out: standard output.
        err: standard error.
    """

    def __init__(self, out: TextStream, err: TextStream) -> None:
        self.out = out
        """Standard output for the console and all else that may print what tests do."""
        self.err = err
        """Standard error likewise."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Print the last word, however the run ended."""

    def around(self, console: Reporter) -> Sequence[Reporter]:
        """Return the console with the reporters that have to come before and after it."""
        return [console]
