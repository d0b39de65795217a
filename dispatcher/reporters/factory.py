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
from dispatcher.reporters.ci.plain import PlainOutput
from dispatcher.reporters.outputs import OUTPUTS, output_path
from dispatcher.terminal.stream import TextStream, is_terminal, terminal_size, use_color
from passmuster.host.state_directory import STATE_DIRECTORY
from passmuster.model.errors import ConfigurationError


def make_output(
    config: TestConfig, environ: Mapping[str, str], *, out: TextStream, err: TextStream
) -> PlainOutput:
    """Return the output streams with the reporters around the console, on a CI also its own."""
    ci = detect_ci(config.ci, environ)
    if ci is None:
        return PlainOutput(out, err)
    from dispatcher.reporters.ci.output import CiOutput  # Imported only on a CI.

    return CiOutput(ci, root=config.root, environ=environ, out=out, err=err, verbosity=config.verbosity)


def make_console(
    config: TestConfig,
    environ: Mapping[str, str],
    *,
    out: TextStream,
    err: TextStream,
    rerun: Callable[[FileAttempts], str],
    has_footer: bool = False,
) -> Reporter:
    """Return the reporter for standard output.

    Args:
        config: its `output` is not `AUTO`.
        rerun: returns the command that reruns one file.
        has_footer: whether a live footer is kept on the terminal `out`.
    """
    color = use_color(config.color, environ, is_terminal=is_terminal(out))
    warn_color = use_color(config.color, environ, is_terminal=is_terminal(err))
    log = partial(_find_log, config.root / STATE_DIRECTORY / "runs")
    if config.output is OutputFormat.JSON:
        from dispatcher.reporters.run_document import DocumentReporter  # Few runs are for programs.

        return DocumentReporter(out, rerun=rerun, log=log, warn_stream=err)
    if config.output is OutputFormat.BRIEF:
        from dispatcher.reporters.brief import BriefReporter

        return BriefReporter(out, rerun=rerun, log=log, warn_stream=err)

    def size() -> os.terminal_size:
        return terminal_size(out)

    def make(stream: TextStream) -> Reporter:
        # Notices that reach the terminal too must not tear the footer.
        is_above_footer = stream is not out and is_terminal(err)
        warn_stream = stream if is_above_footer else err
        if config.output is OutputFormat.COMPACT:
            from dispatcher.reporters.console.compact import CompactReporter

            return CompactReporter(
                stream,
                color=color,
                verbosity=config.verbosity,
                rerun=rerun,
                log=log,
                size=size,
                warn_stream=warn_stream,
                warn_color=warn_color,
            )
        from dispatcher.reporters.console.reporter import ConsoleReporter

        return ConsoleReporter(
            stream,
            color=color,
            verbosity=config.verbosity,
            rerun=rerun,
            warn_stream=warn_stream,
            warn_color=warn_color,
        )

    if not has_footer:
        return make(out)
    from dispatcher.reporters.console.live import LiveReporter

    return LiveReporter(out, color=color, make_console=make, size=size)


def _find_log(runs: Path, run_id: str, record: FileAttempts) -> str:
    """Return the path of a file's output, relative to the current directory if it lies there; "" if none."""
    path = output_path(runs / run_id / OUTPUTS, record.file.path, record.final.attempt)
    if not path.is_file():
        return ""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def make_reporters(
    config: TestConfig,
    *,
    rerun: Callable[[FileAttempts], str] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> list[Reporter]:
    """Return the reporters that write files; they check at once that they can.

    Args:
        rerun: returns the command that reruns one file; None: it is unknown.
        say: receives one line with the path of a report that the user did not name.

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


def _html_reporter(
    config: TestConfig, rerun: Callable[[FileAttempts], str] | None, say: Callable[[str], None]
) -> Reporter:
    from dispatcher.reporters.html.reporter import HtmlReporter

    is_placed = config.html_report is not None and config.html_report.name != ""
    state_dir = config.root / STATE_DIRECTORY
    problem = "a run without history does not have one" if not config.history else ""
    if not problem and not os.access(state_dir if state_dir.exists() else config.root, os.W_OK):
        problem = f"{str(state_dir)!r} cannot be written"
    if problem and not is_placed:
        raise ConfigurationError(
            f"--report html writes the page to the run's own directory, and {problem}; "
            "name a file: --report html=PATH"
        )

    def earlier_runs(
        run_id: str, paths: Collection[str], or_unsteady: Collection[str]
    ) -> Mapping[str, Sequence[EarlierRun]]:
        if not config.history:
            return {}
        from dispatcher.history.history import History

        with closing(History(config.root)) as history:
            return history.load_earlier_runs(paths, run_id=run_id, or_unsteady=or_unsteady)

    return HtmlReporter(
        config.html_report if is_placed else None,
        runs_dir=state_dir / "runs",
        earlier_runs=earlier_runs,
        rerun=rerun,
        say=say,
    )
