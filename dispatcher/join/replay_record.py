"""Makes this machine's reports of a run that another machine led."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, closing
from pathlib import Path

from dispatcher.config.model import TestConfig
from dispatcher.history.history import History, HistoryReporter
from dispatcher.join.command_context import CommandContext
from dispatcher.merge.reader import RecordedRun, read_record
from dispatcher.merge.replay import replay_events
from dispatcher.model.events import Reporter
from dispatcher.model.exit_codes import ExitCode
from passmuster.model.errors import InfrastructureError, PassmusterError


def replay_record(
    directory: Path, config: TestConfig, context: CommandContext, *, status: int, updates_history: bool
) -> int:
    """Replay a record to this machine's reporters; return the exit status.

    Raises:
        InfrastructureError: the record is incomplete.
        ConfigurationError: a report cannot be written.
    """
    record = read_record(directory)
    if record.broken:
        raise InfrastructureError(f"the record of the run is incomplete: {record.broken}")
    with ExitStack() as stack:
        keepers: list[Reporter] = []
        if config.history and updates_history:
            history = stack.enter_context(closing(History(config.root)))
            keepers.append(HistoryReporter(history))
        lost = [*replay_events(record.events, [context.console(), *context.files()], keepers=keepers)]
    if config.enable_coverage and (problem := _report_coverage(record, config, context)):
        lost.append(problem)
    for line in lost:
        context.complain(line)
    return ExitCode.INFRASTRUCTURE if lost and status == ExitCode.OK else status


def _report_coverage(record: RecordedRun, config: TestConfig, context: CommandContext) -> str | None:
    """Write the coverage reports; return why there are none, None: there are."""
    # Only runs with coverage pay for these.
    from dispatcher.coverage.combine import CoverageReport
    from dispatcher.coverage.finalize import finalize_coverage
    from dispatcher.merge.coverage import report_recorded_coverage

    with tempfile.TemporaryDirectory(prefix="pm-join-") as scratch:

        def make() -> CoverageReport:
            return report_recorded_coverage([record], config, context.environ, scratch=Path(scratch))

        try:
            # The run's own status already includes its result.
            finalize_coverage(make, config, context.write, color=context.color)
        except PassmusterError as error:
            return str(error)
    return None
