"""The settings for coverage, and for what a run prints and writes. A part of the table."""

# Without `from __future__ import annotations`: the annotations are the table.

from functools import partial
from pathlib import Path
from typing import Annotated

from dispatcher.config.choices import REPORT, ColorChoice, OutputFormat, Verbosity
from dispatcher.config.settings_selection import SelectionSettings
from dispatcher.model.ci import AUTO, CHOICES
from passmuster.metrics.options import LISTEN, METRICS_FILE_SUMMARY, METRICS_SUMMARY, ListenAddress
from passmuster.settings.setting import Group, setting, switch
from passmuster.settings.values import OUTPUT_DIRECTORY, OUTPUT_FILE, PERCENT, TEXTS, choice, one_of, optional

DEFAULT_COVERAGE_DIR = Path("/tmp/worldarchitectai/coverage")
"""Where the shell scripts put their coverage reports: their users' other tools read it there."""

_coverage = partial(setting, group=Group.COVERAGE, only_with=("coverage",))
_output = partial(setting, group=Group.OUTPUT)
_metrics = partial(setting, group=Group.OUTPUT, in_file=False)
"""Without the file: a port, and the folder of node_exporter, belong to a machine and not to the project."""


class ReportSettings(SelectionSettings, frozen=True, kw_only=True):
    """What a run reports, and where."""

    enable_coverage: Annotated[
        bool, switch("coverage", "measure coverage and report it", group=Group.COVERAGE)
    ] = False
    coverage_dir: Annotated[Path, _coverage("coverage-dir", OUTPUT_DIRECTORY, "where the reports go")] = (
        DEFAULT_COVERAGE_DIR
    )
    coverage_source: Annotated[
        tuple[str, ...],
        _coverage(
            "coverage-source",
            TEXTS,
            "package or directory to measure; may be repeated",
            default="the project's own coverage settings, else the working directory",
        ),
    ] = ()
    coverage_xml: Annotated[
        Path | None, _coverage("coverage-xml", OUTPUT_FILE, "write a Cobertura XML report")
    ] = None
    coverage_fail_under: Annotated[
        float | None,
        _coverage("coverage-fail-under", optional(PERCENT), "percentage below which the run fails"),
    ] = None
    coverage_key_files: Annotated[
        tuple[str, ...],
        _coverage(
            "coverage-key-files",
            TEXTS,
            "a file whose row is printed with the summary; may be repeated",
            option="--coverage-key-file",
        ),
    ] = ()
    junit_xml: Annotated[
        Path | None, _output("junit-xml", OUTPUT_FILE, "write a JUnit XML report", aliases=("--junitxml",))
    ] = None
    html_report: Annotated[
        Path | None,
        _output(
            "report",
            REPORT,
            "write a self-contained HTML report: report.html in the run's own directory, or the file"
            " that =PATH names",
        ),
    ] = None
    events: Annotated[
        Path | None, _output("events", OUTPUT_FILE, "write every event as one line of JSON")
    ] = None
    metrics: Annotated[ListenAddress | None, _metrics("metrics", LISTEN, METRICS_SUMMARY)] = None
    metrics_file: Annotated[Path | None, _metrics("metrics-file", OUTPUT_FILE, METRICS_FILE_SUMMARY)] = None
    ci: Annotated[
        str,
        _output(
            "ci",
            one_of(CHOICES),
            "the CI for which annotations, a summary and folded output are printed; auto: the"
            " one whose variables are set",
        ),
    ] = AUTO
    output: Annotated[
        OutputFormat,
        _output(
            "output",
            choice(OutputFormat),
            "what is printed: compact, a line for each file that did not pass; contract, the lines of the"
            " shell scripts; json, one document at the end; brief, only failures, for programs; auto:"
            " compact on a terminal, else contract",
        ),
    ] = OutputFormat.AUTO
    color: Annotated[ColorChoice, _output("color", choice(ColorChoice), "colour the output")] = (
        ColorChoice.AUTO
    )
    verbosity: Annotated[
        Verbosity,
        _output(
            "verbosity",
            choice(Verbosity),
            "print less or more",
            option="",
            constants=(("-q", "quiet"), ("--quiet", "quiet"), ("-v", "verbose"), ("--verbose", "verbose")),
            values_help=(
                ("quiet", "print failures and the summary only"),
                ("verbose", "print a line for each file; with --output contract also what it printed"),
            ),
        ),
    ] = Verbosity.NORMAL
