"""Applies pytest options of a project's settings that concern a whole run. Pure.

`worker/child/passmuster_child_options.py` removes them from the session of each file. The run honours an
option here, once, or prints a line that it does not, and what to use instead.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct, structs

from dispatcher.config.model import TestConfig
from passmuster.settings.values import on_one_line

OptionValue = str | int | float | bool


class ProjectOption(Struct, frozen=True, kw_only=True, array_like=True):
    """A pytest option that the project's settings change from its default.

    Args:
        name: as pytest stores it.
        value: its value; of several values the first.
        source: a path, or `PYTEST_ADDOPTS`.
    """

    name: str
    value: OptionValue
    source: str


_REPORTS = "each file would overwrite it; --junit-xml, --report html and --events write one for the run"
_COVERAGE = "the total of a single file has no meaning; --coverage measures all files"
_SIDE_BY_SIDE = "Passmuster runs the files in parallel; --jobs sets how many"
_FAILED = "the session of a file has no earlier run; --failed runs the files that failed"

NOT_HONOURED = {
    "htmlpath": ("--html", _REPORTS),
    "report_log": ("--report-log", _REPORTS),
    "json_report": ("--json-report", _REPORTS),
    "benchmark_json": ("--benchmark-json", _REPORTS),
    "cov_source": ("--cov", _COVERAGE),
    "numprocesses": ("-n", _SIDE_BY_SIDE),
    "distload": ("-d", _SIDE_BY_SIDE),
    "looponfail": ("--looponfail", _SIDE_BY_SIDE),
    "lf": ("--lf", _FAILED),
    "failedfirst": ("--ff", _FAILED),
    "newfirst": ("--nf", "changed files start early in any case"),
    "stepwise": ("--sw", f"{_FAILED}, --max-fail 1 stops at the first"),
    "stepwise_skip": ("--sw-skip", _FAILED),
    "durations": ("--durations", "--report html shows the time of each file and each test"),
    "basetemp": ("--basetemp", "each file has its own temporary directory"),
}
"""By name: the option as users write it, the reason, and the alternative."""


def take_over(
    config: TestConfig, options: Sequence[ProjectOption], *, workdir: Path, writes_reports: bool = True
) -> tuple[TestConfig, tuple[str, ...]]:
    """Return the configuration with the project's options applied, and notices for the user.

    Options that a run honours as pytest would are not mentioned.

    Args:
        workdir: the base of paths in them, absolute.
        writes_reports: whether the JUnit report of this run can still be set.
    """
    lines = []
    refused: dict[tuple[str, str], list[str]] = {}
    for option in options:
        if option.name == "xmlpath":
            path = Path(workdir, os.path.expanduser(os.path.expandvars(str(option.value))))  # noqa: PTH111
            shown = f"--junitxml={option.value}"
            if config.junit_xml is not None:
                why = f"the report goes to {config.junit_xml}, as --junit-xml says"
                lines.append(_line(shown, option, f"is not honoured: {why}"))
            elif not writes_reports:
                lines.append(_line(shown, option, "is not honoured: --junit-xml writes a report of the run"))
            else:
                config = structs.replace(config, junit_xml=path)
        elif option.name == "maxfail":
            if not isinstance(option.value, int) or option.value <= 0:
                continue  # No limit. pytest has both 0 and None as its default.
            shown = f"--maxfail={option.value}"
            if config.max_fail is not None:
                why = f"--max-fail says {config.max_fail}"
                lines.append(_line(shown, option, f"holds within a file; for the run {why}"))
            else:
                config = structs.replace(config, max_fail=option.value)
                what = f"nothing further starts after {option.value} failed file(s)"
                lines.append(_line(shown, option, f"holds within a file, and for the run: {what}"))
        elif option.name in NOT_HONOURED:
            shown, why = NOT_HONOURED[option.name]
            refused.setdefault((option.source, why), []).append(shown)
    for (source, why), names in refused.items():
        are = "is" if len(names) == 1 else "are"
        lines.append(on_one_line(f"pytest's {', '.join(names)} (from {source}) {are} not honoured: {why}"))
    return config, tuple(lines)


def _line(shown: str, option: ProjectOption, what: str) -> str:
    return on_one_line(f"pytest's {shown} (from {option.source}) {what}")
