"""One call of the command: what it was given, how it prints, and how it runs files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from dispatcher.config.choices import Verbosity
from dispatcher.config.model import TestConfig
from dispatcher.engine.backend import ExecutionTarget, WarmTarget
from dispatcher.engine.signals import watch_interrupts
from dispatcher.model.events import Reporter
from dispatcher.model.exit_codes import ExitCode
from dispatcher.model.results import FileAttempts, exit_code_of
from dispatcher.reporters.console.line_reporter import PlainOutput
from dispatcher.reporters.factory import (
    make_console,
    make_live_reporters,
    make_output,
    make_reporters,
    wants_samples,
)
from dispatcher.run.runner import TestRunner
from dispatcher.terminal.stream import SafeStream, TextStream, is_terminal, use_color, use_live_footer
from dispatcher.terminal.tags import Tag, colored, tagged
from passmuster.model.text import one_line
from passmuster.settings.origins import NO_ORIGINS, Origins

if TYPE_CHECKING:
    from dispatcher.merge.writer import RecordReporter


class CommandCall:
    """One call of `run_tests.py`, or of a subcommand of it.

    Args:
        argv: the arguments behind the program, or behind the subcommand.
        cwd: absolute.
        warm_target: makes the target of a watch.
        program: as the user called it, for `--help` and rerun commands.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        environ: Mapping[str, str],
        cwd: Path,
        target: ExecutionTarget,
        warm_target: Callable[[], WarmTarget],
        program: str,
        stdout: TextStream,
        stderr: TextStream,
    ) -> None:
        self.argv = tuple(argv)
        self.environ, self.cwd, self.program = environ, cwd, program
        self.target, self.warm_target = target, warm_target
        self.stdout, self.stderr = stdout, stderr
        self._print_through(PlainOutput(stdout, stderr, document=stdout))

    def make_output(self, config: TestConfig) -> PlainOutput:
        """Send all further output of Passmuster through the streams for a run, up to the last error."""
        output = make_output(config, self.environ, stdout=self.stdout, stderr=self.stderr)
        self._print_through(output)
        return output

    def _print_through(self, output: PlainOutput) -> None:
        self.output = output
        self.out, self.err = SafeStream(output.out), SafeStream(output.err)

    def write_lines(self, lines: Iterable[str]) -> None:
        """Print lines to standard output as they are."""
        self.out.write("".join(f"{line}\n" for line in lines))

    def print_lines(self, lines: Iterable[str], config: TestConfig) -> None:
        """Print lines of the report, in which only the tags are coloured."""
        text = "".join(f"{line}\n" for line in lines)
        self.out.write(colored(text) if self.color(config) else text)

    def line_printer(self, config: TestConfig) -> Callable[[str], None]:
        """Return a function that prints a line of the report."""
        return lambda line: self.print_lines([tagged(Tag.INFO, one_line(line))], config)

    def say(self, line: str, tag: Tag = Tag.INFO, *, color: bool = False) -> None:
        """Print a line for the user to standard error."""
        self.err.write(f"{tagged(tag, one_line(line), color=color)}\n")

    def complain(self, line: str) -> None:
        """Print an error."""
        self.say(line, Tag.FAIL)

    def color(self, config: TestConfig, stream: TextStream | None = None) -> bool:
        """Return whether to colour what is printed to a stream; None: to that of the report."""
        return use_color(config.color, self.environ, is_terminal=is_terminal(stream or self.output.out))

    def console(self, config: TestConfig, *, has_footer: bool = False) -> Reporter:
        """Return the reporter of what the user reads."""
        return make_console(config, self.environ, self.output, rerun=self.rerun, has_footer=has_footer)

    def replay_console(self, config: TestConfig) -> Reporter:
        """Return the reporter of a replayed run: quiet, unless the user wants a verbose one."""
        if config.verbosity is not Verbosity.VERBOSE:
            config = structs.replace(config, verbosity=Verbosity.QUIET)
        return self.console(config)

    def rerun(self, record: FileAttempts) -> str:
        """Return the command that reruns one file as this call ran it."""
        from dispatcher.config.rerun import rerun_command  # Only a run with failures waits for this.

        return rerun_command(self.program, self.argv, record)

    def runner(self, config: TestConfig, origins: Origins = NO_ORIGINS) -> TestRunner:
        """Return a runner for this call."""
        return TestRunner(config, target=self.target, environ=self.environ, cwd=self.cwd, origins=origins)

    def run_files(self, runner: TestRunner, config: TestConfig) -> int:
        """Run the files of a runner through streams of their own; return the exit status."""
        with self.make_output(config):
            return self.run_tests(runner, config)

    def run_tests(self, runner: TestRunner, config: TestConfig) -> int:
        """Run the files of a runner, with all requested reports; return the exit status."""
        live = not config.output.is_document and use_live_footer(
            config.verbosity, self.environ, is_terminal=is_terminal(self.output.out)
        )
        console, say = self.console(config, has_footer=live), self.line_printer(config)
        files = make_reporters(config, rerun=self.rerun, say=say)
        reporters = [*self.output.around(console), *files, *make_live_reporters(config, say=say)]
        record = self._record(config)
        reporters += [record] if record is not None else []
        with watch_interrupts(ignored_afterwards=True):
            results = runner.run_tests(reporters, samples_usage=live or wants_samples(config))
        code: int = exit_code_of(results)
        if config.enable_coverage and results.records:
            code = max(code, self._report_coverage(runner, config, record))
        if record is not None:
            record.finish()
        for trouble in (*runner.lost_reports, runner.breakdown):
            if trouble:
                self.complain(trouble)
        if runner.can_be_resumed:
            from dispatcher.config.rerun import resume_command  # Few runs are interrupted.

            line = f"To resume this run: {resume_command(self.program, self.argv, runner.run_id)}"
            self.say(line, color=self.color(config, self.output.err))
        if runner.breakdown or (runner.lost_reports and code == ExitCode.OK):
            return ExitCode.INFRASTRUCTURE
        return code

    def _record(self, config: TestConfig) -> RecordReporter | None:
        if config.record is None:
            return None
        from dispatcher.merge.writer import RecordReporter  # Few runs are recorded.

        return RecordReporter(config.record, root=config.root, environ=self.environ)

    def _report_coverage(self, runner: TestRunner, config: TestConfig, record: RecordReporter | None) -> int:
        """Write the coverage reports, print their summary, and keep the data for a merge."""
        from dispatcher.coverage.finalize import finalize_coverage

        make = partial(runner.generate_coverage, record.keep_coverage if record is not None else None)
        return finalize_coverage(make, config, self.out.write, color=self.color(config))
