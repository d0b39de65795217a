"""The settings for coverage, and for what a run prints and writes. A part of the table."""

# Without `from __future__ import annotations`: the annotations are the table.

from pathlib import Path
from typing import Annotated

from dispatcher.config.choices import REPORT, ColorChoice, Subcommand, Verbosity
from dispatcher.config.settings_selection import SelectionSettings
from dispatcher.model.ci import AUTO, CHOICES
from passmuster.settings.setting import Group, setting, switch
from passmuster.settings.values import OUTPUT_DIRECTORY, OUTPUT_FILE, PERCENT, TEXTS, choice, one_of, optional

DEFAULT_COVERAGE_DIR = Path("/tmp/worldarchitectai/coverage")
"""Where the shell scripts put their coverage reports: their users' other tools read it there."""


class ReportSettings(SelectionSettings, frozen=True, kw_only=True):
    """What a run reports, and where."""

    enable_coverage: Annotated[
        bool,
        switch(
            "coverage",
            Group.COVERAGE,
            "measure coverage and report it",
            whole_run=True,
            same_on_all=True,
            commands=(Subcommand.MERGE,),
        ),
    ] = False
    coverage_dir: Annotated[
        Path,
        setting(
            "coverage-dir",
            OUTPUT_DIRECTORY,
            Group.COVERAGE,
            "where the reports go",
            whole_run=True,
            only_with=("coverage",),
            commands=(Subcommand.MERGE,),
        ),
    ] = DEFAULT_COVERAGE_DIR
    coverage_source: Annotated[
        tuple[str, ...],
        setting(
            "coverage-source",
            TEXTS,
            Group.COVERAGE,
            "package or directory to measure; may be repeated",
            default="the project's own coverage settings, else the working directory",
            whole_run=True,
            same_on_all=True,
            only_with=("coverage",),
            commands=(Subcommand.MERGE,),
        ),
    ] = ()
    coverage_xml: Annotated[
        Path | None,
        setting(
            "coverage-xml",
            OUTPUT_FILE,
            Group.COVERAGE,
            "write a Cobertura XML report",
            default="none",
            whole_run=True,
            only_with=("coverage",),
            commands=(Subcommand.MERGE,),
        ),
    ] = None
    coverage_fail_under: Annotated[
        float | None,
        setting(
            "coverage-fail-under",
            optional(PERCENT),
            Group.COVERAGE,
            "percentage below which the run fails",
            default="none",
            whole_run=True,
            same_on_all=True,
            only_with=("coverage",),
            commands=(Subcommand.MERGE,),
        ),
    ] = None
    coverage_key_files: Annotated[
        tuple[str, ...],
        setting(
            "coverage-key-files",
            TEXTS,
            Group.COVERAGE,
            "a file whose row is printed with the summary; may be repeated",
            default="none",
            option="--coverage-key-file",
            whole_run=True,
            only_with=("coverage",),
            commands=(Subcommand.MERGE,),
        ),
    ] = ()
    junit_xml: Annotated[
        Path | None,
        setting(
            "junit-xml",
            OUTPUT_FILE,
            Group.OUTPUT,
            "write a JUnit XML report",
            default="none",
            aliases=("--junitxml",),
            whole_run=True,
            commands=(Subcommand.MERGE,),
        ),
    ] = None
    html_report: Annotated[
        Path | None,
        setting(
            "report",
            REPORT,
            Group.OUTPUT,
            "write a self-contained HTML report: report.html in the run's own directory, or the file"
            " that =PATH names",
            default="none",
            whole_run=True,
            commands=(Subcommand.MERGE,),
        ),
    ] = None
    events: Annotated[
        Path | None,
        setting(
            "events",
            OUTPUT_FILE,
            Group.OUTPUT,
            "write every event as one line of JSON",
            default="none",
            whole_run=True,
            commands=(Subcommand.MERGE,),
        ),
    ] = None
    ci: Annotated[
        str,
        setting(
            "ci",
            one_of(CHOICES),
            Group.OUTPUT,
            "the CI for which annotations, a summary and folded output are printed; auto: the"
            " one whose variables are set",
            commands=(Subcommand.MERGE,),
        ),
    ] = AUTO
    color: Annotated[
        ColorChoice,
        setting(
            "color", choice(ColorChoice), Group.OUTPUT, "colour the output", commands=(Subcommand.MERGE,)
        ),
    ] = ColorChoice.AUTO
    verbosity: Annotated[
        Verbosity,
        setting(
            "verbosity",
            choice(Verbosity),
            Group.OUTPUT,
            "print less or more",
            option="",
            constants=(("-q", "quiet"), ("--quiet", "quiet"), ("-v", "verbose"), ("--verbose", "verbose")),
            values_help=(("quiet", "print less"), ("verbose", "print more")),
            commands=(Subcommand.MERGE,),
        ),
    ] = Verbosity.NORMAL
