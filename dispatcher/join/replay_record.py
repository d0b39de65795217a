"""Makes this machine's reports of a run that another machine led."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, closing
from pathlib import Path

from dispatcher.config.model import TestConfig
from dispatcher.history.history import HistoryReporter
from dispatcher.join.command_context import CommandContext
from dispatcher.merge.reader import RecordedRun, read_record
from dispatcher.merge.replay import replay_events
from dispatcher.model.events import Reporter
from dispatcher.model.exit_codes import ExitCode
from passmuster.model.errors import InfrastructureError, PassmusterError


def replay_record(
    folder: Path, config: TestConfig, host: CommandContext, *, status: int, remembers: bool
) -> int:
    """Replay a record to this machine's reporters; return the exit status.

    Args:
        folder: contains the record.
        status: the exit status of the run.
        remembers: whether the run goes into the history here.

    Raises:
        InfrastructureError: the record is incomplete.
        ConfigurationError: a report cannot be written.
    """
    record = read_record(folder)
    if record.broken:
        raise InfrastructureError(f"the record of the run is not whole: {record.broken}")
    lost = list(_retell(record, config, host, remembers=remembers))
    if config.enable_coverage and (why := _report_coverage(record, config, host)):
        lost.append(why)
    for line in lost:
        host.complain(line)
    return ExitCode.INFRASTRUCTURE if lost and status == ExitCode.OK else status


def _retell(
    record: RecordedRun, config: TestConfig, host: CommandContext, *, remembers: bool
) -> tuple[str, ...]:
    reporters: list[Reporter] = [host.console(), *host.files()]
    with ExitStack() as stack:
        keepers: list[Reporter] = []
        if config.history and remembers:
            from dispatcher.history.history import open_history  # Loads SQLite.

            keepers.append(HistoryReporter(stack.enter_context(closing(open_history(config.root)))))
        return replay_events(record.events, reporters, keepers=keepers)


def _report_coverage(record: RecordedRun, config: TestConfig, host: CommandContext) -> str:
    """Write the coverage reports; return why there are none, empty: there are."""
    # Only runs with coverage pay for these.
    from dispatcher.coverage.combine import CoverageReport
    from dispatcher.coverage.finalize import finalize_coverage
    from dispatcher.merge.coverage import report_recorded_coverage

    with tempfile.TemporaryDirectory(prefix="pm-join-") as scratch:

        def make() -> CoverageReport:
            return report_recorded_coverage(
                [record],
                config,
                host.environ,
                scratch=Path(scratch),
            )

        try:
            # The run's own status already includes its result.
            finalize_coverage(make, config, host.write, color=host.color)
        except PassmusterError as error:
            return str(error)
    return ""
