"""The reporters that a configuration asks for, beside the console: each is loaded only where it is wanted."""

from __future__ import annotations

from collections.abc import Mapping

from dispatcher.config.model import CiChoice, TestConfig
from dispatcher.events import Reporter
from dispatcher.report.ci.which import PlainOutput, chosen_ci
from dispatcher.report.stream import TextStream


def chosen_output(
    config: TestConfig, environ: Mapping[str, str], *, out: TextStream, err: TextStream
) -> PlainOutput:
    """Return what is printed through, and around the console: on a CI what its pages show besides."""
    ci = chosen_ci(config.ci, environ)
    if ci is CiChoice.NONE:
        return PlainOutput(out, err)
    from dispatcher.report.ci.output import CiOutput  # Only CIs pay for it.

    return CiOutput(ci, root=config.root, environ=environ, out=out, err=err, verbosity=config.verbosity)


def chosen_reporters(config: TestConfig) -> list[Reporter]:
    """Return the reporters that write files; they check at once that they can.

    Args:
        config: what the user wants.

    Raises:
        ConfigurationError: a file cannot be written.
    """
    reporters: list[Reporter] = []
    if config.junit_xml is not None:
        from dispatcher.report.junit import JunitReporter  # Only runs that want a report pay for it.

        reporters.append(JunitReporter(config.junit_xml))
    if config.events is not None:
        from dispatcher.report.jsonl import EventsReporter

        reporters.append(EventsReporter(config.events))
    return reporters


def wants_samples(config: TestConfig) -> bool:
    """Whether any of them wants to be told what running files use, a few times a second."""
    return config.events is not None or config.html_report is not None or config.record is not None
