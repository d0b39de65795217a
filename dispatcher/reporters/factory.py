"""Makes the configured reporters; each is loaded only if it is used."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from dispatcher.config.choices import OutputFormat
from dispatcher.config.model import TestConfig
from dispatcher.history.file_history import EarlierRun
from dispatcher.model.ci import detect_ci
from dispatcher.model.events import Reporter
from dispatcher.model.results import FileAttempts
from dispatcher.reporters.console.line_reporter import ConsoleContext, LineReporter, PlainOutput, RerunCommand
from dispatcher.reporters.outputs import OUTPUTS, output_path
from dispatcher.terminal.stream import TextStream, is_terminal, resolve_output, terminal_size, use_color
from passmuster.host.state_directory import STATE_DIRECTORY
from passmuster.model.errors import ConfigurationError


def make_output(
    config: TestConfig, environ: Mapping[str, str], *, stdout: TextStream, stderr: TextStream
) -> PlainOutput:
    """Return the streams of a run, which also give the reporters around the console: on a CI its own.

    With `--output json` and `brief`, standard output has nothing but the document.
    """
    out = stderr if config.output.is_document else stdout
    plain = PlainOutput(out, stderr, document=stdout)
    ci = detect_ci(config.ci, environ)
    if ci is None:
        return plain
    from dispatcher.reporters.ci.output import CiOutput  # Imported only on a CI.

    return CiOutput(ci, plain, config, environ)


def make_console(
    config: TestConfig,
    environ: Mapping[str, str],
    output: PlainOutput,
    *,
    rerun: RerunCommand,
    has_footer: bool = False,
) -> Reporter:
    """Return the reporter of what the user reads."""
    chosen = resolve_output(config.output, is_terminal=is_terminal(output.out))
    stream = output.document if chosen.is_document else output.out
    color, warn_color = (
        not chosen.is_document and use_color(config.color, environ, is_terminal=is_terminal(one))
        for one in (stream, output.err)
    )
    context = ConsoleContext(
        stream=stream,
        warn_stream=output.err,
        color=color,
        warn_color=warn_color,
        verbosity=config.verbosity,
        rerun=rerun,
        log=partial(_find_log, config.root / STATE_DIRECTORY / "runs"),
        size=partial(terminal_size, stream),
    )
    reporter = _reporter_class(chosen)
    if not has_footer:
        return reporter(context)
    from dispatcher.reporters.console.live import LiveReporter

    return LiveReporter(context, reporter)


def _reporter_class(chosen: OutputFormat) -> type[LineReporter]:
    match chosen:
        case OutputFormat.JSON:
            from dispatcher.reporters.run_document import DocumentReporter

            return DocumentReporter
        case OutputFormat.BRIEF:
            from dispatcher.reporters.brief import BriefReporter

            return BriefReporter
        case OutputFormat.COMPACT:
            from dispatcher.reporters.console.compact import CompactReporter

            return CompactReporter
        case _:
            from dispatcher.reporters.console.reporter import ConsoleReporter

            return ConsoleReporter


def _find_log(runs: Path, run_id: str, record: FileAttempts) -> str:
    """Return the path of a file's output, relative to the current directory if it lies there; "" if none."""
    path = output_path(runs / run_id / OUTPUTS, record.file.path, record.final.attempt)
    if not path.is_file():
        return ""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def make_reporters(
    config: TestConfig,
    *,
    rerun: RerunCommand,
    say: Callable[[str], None],
) -> list[Reporter]:
    """Return the reporters that write files; they check at once that they can.

    Args:
        say: receives one line with the path of the HTML report.

    Raises:
        ConfigurationError: a file cannot be written.
    """
    reporters: list[Reporter] = []
    if config.junit_xml is not None:
        from dispatcher.reporters.junit import JunitReporter  # Imported only for a run with a report.

        reporters.append(JunitReporter(config.junit_xml))
    if config.events is not None:
        from dispatcher.reporters.jsonl import JsonlReporter

        reporters.append(JsonlReporter(config.events))
    if config.html_report is not None:
        reporters.append(_html_reporter(config, rerun, say))
    return reporters


def make_live_reporters(config: TestConfig, *, say: Callable[[str], None]) -> list[Reporter]:
    """Return the reporters of a run that this program leads, but not of a run that is only replayed.

    Args:
        say: receives one line with the address of the metrics.

    Raises:
        ConfigurationError: the metrics cannot be exported.
    """
    if not _has_metrics(config):
        return []
    from dispatcher.reporters.metrics import MetricsReporter  # Few runs are monitored.

    address, path = config.metrics, config.metrics_file
    return [MetricsReporter(config.root.name, address=address, path=path, say=say)]


def wants_samples(config: TestConfig) -> bool:
    """Whether a reporter wants usage samples, a few times a second."""
    is_recorded = config.events is not None or config.html_report is not None or config.record is not None
    return is_recorded or _has_metrics(config)


def _has_metrics(config: TestConfig) -> bool:
    return config.metrics is not None or config.metrics_file is not None


def _html_reporter(config: TestConfig, rerun: RerunCommand, say: Callable[[str], None]) -> Reporter:
    from dispatcher.reporters.html.reporter import HtmlReporter

    path = config.html_report if config.html_report != Path() else None
    state_dir = config.root / STATE_DIRECTORY
    problem = "a run without history does not have one" if not config.history else ""
    if not problem and not os.access(state_dir if state_dir.exists() else config.root, os.W_OK):
        problem = f"{str(state_dir)!r} cannot be written"
    if problem and path is None:
        raise ConfigurationError(
            f"--report html writes the page to the run's own directory, and {problem}; "
            "name a file: --report html=PATH"
        )
    earlier_runs = partial(_earlier_runs, config)
    return HtmlReporter(path, runs_dir=state_dir / "runs", earlier_runs=earlier_runs, rerun=rerun, say=say)


def _earlier_runs(
    config: TestConfig, run_id: str, paths: Collection[str], or_unsteady: Collection[str]
) -> Mapping[str, Sequence[EarlierRun]]:
    if not config.history:
        return {}
    from dispatcher.history.history import History

    with closing(History(config.root)) as history:
        return history.load_earlier_runs(paths, run_id=run_id, or_unsteady=or_unsteady)
