"""`run-tests merge DIR...`: check that the records cover every shard, and report them as one run."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from dispatcher.cli.command import CommandCall
from dispatcher.cli.subcommands import MergeOptions, SubcommandArguments
from dispatcher.config.model import TestConfig
from dispatcher.history.history import History, HistoryReporter
from dispatcher.merge.combine import combine_records
from dispatcher.merge.reader import RecordedRun, find_records, read_record
from dispatcher.merge.record_check import check_records, short
from dispatcher.merge.replay import replay_events
from dispatcher.model.events import RunEvent, RunFinished
from dispatcher.model.exit_codes import ExitCode
from dispatcher.model.results import exit_code_of
from dispatcher.reporters.factory import make_reporters
from dispatcher.terminal.tags import Tag, tagged
from passmuster.model.errors import ConfigurationError, InfrastructureError, PassmusterError


def run_merge(call: CommandCall, arguments: SubcommandArguments[MergeOptions]) -> int:
    """Merge the records in the named directories; return the exit status.

    Raises:
        ConfigurationError: an argument is wrong, or no directory was named.
        InfrastructureError: there are no records, or they cannot be reported.
    """
    if not arguments.config.paths:
        raise ConfigurationError("merge needs the directories with the records: name those given to --record")
    directories = [call.cwd / path for path in arguments.config.paths]
    is_cancelled = arguments.options.cancelled
    if is_cancelled:
        directories = [directory for directory in directories if directory.exists()]
    if is_cancelled and not any(find_records(directory) for directory in directories):
        call.say("the CI cancelled the run before a shard left a record", Tag.WARN)
        return ExitCode.INTERRUPTED
    merge = _Merge(call, arguments.config, is_cancelled=is_cancelled)
    return merge.run([read_record(folder) for folder in find_all(directories)])


def find_all(directories: Iterable[Path]) -> list[Path]:
    """Return every directory with a record at or below these, each once.

    Raises:
        InfrastructureError: a directory does not exist, or none contains a record.
    """
    named = list(directories)
    folders = list(dict.fromkeys(folder for directory in named for folder in find_records(directory)))
    if not folders:
        raise InfrastructureError(
            f"there are no records in {', '.join(map(str, named))}: no shard left one; "
            "check that the jobs ran with --record and that their records were copied here"
        )
    return folders


class _Merge:
    def __init__(self, call: CommandCall, config: TestConfig, *, is_cancelled: bool) -> None:
        self._call, self._config, self._is_cancelled = call, config, is_cancelled
        # The command that reruns a file has none of the arguments of a merge.
        call.argv = ()

    def run(self, records: Sequence[RecordedRun]) -> int:
        with self._call.make_output(self._config):
            return self._merge(records)

    def _merge(self, records: Sequence[RecordedRun]) -> int:
        check = check_records(records)
        if check.mismatches:
            self._complain(check.mismatches)
            return ExitCode.INFRASTRUCTURE
        events = combine_records(
            records,
            check,
            regression_factor=self._config.regression_factor,
            fails_on_regression=self._config.fail_on_regression,
            allows_no_tests=self._config.allow_no_tests,
            is_cancelled=self._is_cancelled,
        )
        last = events[-1]
        assert isinstance(last, RunFinished)
        self._call.print_lines([tagged(Tag.INFO, self._headline(records, last))], self._config)
        lost = self._replay(events)
        code: int = exit_code_of(last.results)
        if any(record.coverage is not None for record in records):
            code = max(code, self._report_coverage(records))
        if self._is_cancelled:
            self._complain([f"the CI cancelled the run: {line}" for line in check.incomplete], tag=Tag.WARN)
        problems = (*(() if self._is_cancelled else check.incomplete), *check.damaged, *lost)
        self._complain(problems)
        return ExitCode.INFRASTRUCTURE if problems else code

    def _headline(self, records: Sequence[RecordedRun], last: RunFinished) -> str:
        header = records[0].header
        commit = f", commit {short(header.commit)}" if header.commit else ""
        count, total = len(last.results.records), header.shard.total
        plan = f"plan {short(header.digest)}{commit}"
        return f"Merging {len(records)} of {total} record(s): {count} file(s), {plan}"

    def _replay(self, events: Sequence[RunEvent]) -> tuple[str, ...]:
        call, config = self._call, self._config
        console = call.output.around(call.replay_console(config))
        reporters = [*console, *make_reporters(config, rerun=call.rerun, say=call.line_printer(config))]
        if not config.history:
            return replay_events(events, reporters)
        with closing(History(config.root)) as history:
            return replay_events(events, reporters, keepers=[HistoryReporter(history)])

    def _report_coverage(self, records: Sequence[RecordedRun]) -> int:
        # Only runs with coverage load these.
        from dispatcher.coverage.finalize import finalize_coverage
        from dispatcher.merge.coverage import report_recorded_coverage

        call, config = self._call, self._config
        with tempfile.TemporaryDirectory(prefix="passmuster-merge-") as scratch:
            make = partial(report_recorded_coverage, records, config, call.environ, scratch=Path(scratch))
            try:
                return finalize_coverage(make, config, call.out.write, color=call.color(config))
            except PassmusterError as error:
                call.complain(str(error))
                return ExitCode.INFRASTRUCTURE

    def _complain(self, lines: Iterable[str], *, tag: Tag = Tag.FAIL) -> None:
        for line in lines:
            self._call.say(line, tag)
