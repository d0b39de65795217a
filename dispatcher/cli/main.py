"""The command line: parses the arguments, prints the contract's output, returns the exit status."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import structs

from dispatcher.config.choices import SUBCOMMAND_HELP, Explain, LayoutKind, Mode, OutputFormat, Verbosity
from dispatcher.config.load import Loaded, load_config
from dispatcher.config.model import TestConfig
from dispatcher.config.overrides import command_lines
from dispatcher.engine.backend import ExecutionTarget, WarmTarget
from dispatcher.engine.signals import watch_interrupts
from dispatcher.model.events import Reporter, RunFinished
from dispatcher.model.exit_codes import ExitCode
from dispatcher.model.results import FileAttempts, TestResults, exit_code_of
from dispatcher.reporters.ci.plain import PlainOutput
from dispatcher.reporters.console.lines import nothing_found_line
from dispatcher.reporters.factory import (
    make_console,
    make_live_reporters,
    make_output,
    make_reporters,
    wants_samples,
)
from dispatcher.run.prepare import Prepared, Selection
from dispatcher.run.runner import TestRunner
from dispatcher.terminal.stream import (
    SafeStream,
    TextStream,
    is_terminal,
    use_color,
    use_live_footer,
)
from dispatcher.terminal.tags import Tag, colored, tagged
from passmuster.model.errors import PassmusterError
from passmuster.model.text import one_line
from passmuster.model.version import VERSION

if TYPE_CHECKING:
    from dispatcher.cli.subcommands import SubcommandArguments, SubcommandCall
    from dispatcher.merge.writer import RecordReporter


def _find_subcommand(name: str) -> Callable[[SubcommandCall, SubcommandArguments[Any]], int]:
    """Return the function of a subcommand; it returns the exit status and may raise a `PassmusterError`.

    Imports that subcommand alone: some of them load much.
    """
    run: Callable[[SubcommandCall, SubcommandArguments[Any]], int]
    match name:
        case "completion":
            from dispatcher.cli.help import show_completion as run
        case "explain":
            from dispatcher.cli.insight import show_explanation as run
        case "merge":
            from dispatcher.cli.merge import run_merge as run
        case "migrate":
            from dispatcher.cli.migrate import migrate as run
        case "plan":
            from dispatcher.cli.insight import show_plan as run
        case "schema":
            from dispatcher.cli.help import show_schema as run
        case "watch":
            from dispatcher.cli.watch import watch as run
        case _:
            from dispatcher.cli.insight import show_status as run
    return run


class Command:
    """One call of `run_tests.py`.

    Args:
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
        self._argv = tuple(argv)
        self._environ = environ
        self._cwd = cwd
        self._target, self._warm_target = target, warm_target
        self._program = program
        self._stdout, self._stderr = stdout, stderr
        self._print_through(PlainOutput(stdout, stderr, document=stdout))

    def run(self) -> int:
        """Execute the request and return the exit status."""
        try:
            if self._argv and self._argv[0] in SUBCOMMAND_HELP:
                return self._run_subcommand(*self._argv)
            if any(map(_may_ask_early, self._argv)):
                # Loading the help texts takes as long as a small test.
                from dispatcher.cli.help import early_answer

                answer = early_answer(self._argv, program=self._program, version=VERSION)
                if answer is not None:
                    self._out.write(f"{answer}\n")
                    return ExitCode.OK
            loaded = load_config(self._argv, self._environ, self._cwd)
            return self._obey(loaded)
        except PassmusterError as error:
            self._complain(str(error))
            return error.exit_code
        except KeyboardInterrupt:
            self._warn("interrupted before the first test")
            return ExitCode.INTERRUPTED

    def _run_subcommand(self, name: str, *argv: str) -> int:
        from dispatcher.cli.subcommands import SUBCOMMANDS, SubcommandCall  # Few calls are of a subcommand.

        call = SubcommandCall(
            argv=argv,
            environ=self._environ,
            cwd=self._cwd,
            program=f"{self._program} {name}",
            write=self._out.write,
            stdout=self._stdout,
            stderr=self._stderr,
            target=self._target,
            warm_target=self._warm_target,
            run_files=partial(self._run_apart, argv),
        )
        arguments = SUBCOMMANDS[name].parse(call)
        for note in arguments.notes:
            self._warn(note)
        if arguments.answer:
            self._out.write(arguments.answer)
            return ExitCode.OK
        return _find_subcommand(name)(call, arguments)

    def _obey(self, loaded: Loaded) -> int:
        config = loaded.config
        for warning in (*loaded.warnings, *loaded.notes):
            self._warn(warning, color=self._color(config, self._stderr))
        if config.mode is Mode.SHOW_CONFIG:
            from dispatcher.config.load import format_config  # As above: imported on demand.

            self._out.write(f"{format_config(loaded)}\n")
            return ExitCode.OK
        if config.tail is not None:
            from dispatcher.queue.tail import follow_file  # As above.

            return follow_file(config.tail, config, self._environ, self._out.write, self._say)
        if config.join is not None and config.mode is Mode.RUN:
            code = self._join(loaded)
            if code is not None:
                return code
        return self._run_or_show(loaded)

    def _run_or_show(self, loaded: Loaded) -> int:
        """Run the files, or print what was requested instead; return the exit status."""
        config = loaded.config
        runner = TestRunner(
            config, target=self._target, environ=self._environ, cwd=self._cwd, origins=loaded.origins
        )
        selection = runner.selection
        shard_plan = selection.shard_plan
        if not selection.files and not (shard_plan and shard_plan.whole):
            return self._report_no_files(selection, config)
        if config.mode is Mode.LIST:
            self._list(selection, config)
            return ExitCode.OK
        if config.mode is Mode.DRY_RUN:
            self._dry_run(runner.prepare(), config)
            return ExitCode.OK
        if config.explain is Explain.PRELOAD:
            self._out.write("".join(f"{one_line(line)}\n" for line in runner.explain_preload()))
            return ExitCode.OK
        # The current configuration: the project's pytest may have requested a report.
        return self._run_files(runner, selection.config)

    def _run_files(self, runner: TestRunner, config: TestConfig) -> int:
        with self._make_output(config):
            return self._run_tests(runner, config)

    def _run_apart(self, argv: Sequence[str], runner: TestRunner, config: TestConfig) -> int:
        """Run files as a call with these arguments does, whatever this call prints besides."""
        command = copy(self)
        command._argv = tuple(argv)
        return command._run_files(runner, config)

    def _list(self, selection: Selection, config: TestConfig) -> None:
        """Print the files; standard output has nothing else."""
        files, layout = selection.files, str(selection.layout)
        if config.output is OutputFormat.JSON:
            from dispatcher.insight.file_list import file_list_json  # Imported only for such a list.

            self._out.write(file_list_json(files, selection.reasons, layout=layout))
            return
        from dispatcher.inputs.affected import affected_lines  # As above.

        reasons = [(file.label, selection.reasons.get(file.path, ())) for file in files]
        for line in (f"Layout: {layout}", *command_lines(files, config), *affected_lines(reasons)):
            self._say(line)
        self._out.write("".join(f"{one_line(file.label)}\n" for file in files))

    def _dry_run(self, prepared: Prepared, config: TestConfig) -> None:
        """Print the plan."""
        plan, layout = prepared.plan, str(prepared.selection.layout)
        if config.output is OutputFormat.JSON:
            from dispatcher.insight.file_list import dry_run_json  # As above.

            document = dry_run_json(
                plan,
                prepared.selection.reasons,
                layout=layout,
                capacity=prepared.capacity,
                interpreter=prepared.interpreter,
            )
            self._out.write(document)
            return
        from dispatcher.insight.plan_report import dry_run_lines  # As above.

        self._print(dry_run_lines(plan, layout, prepared.capacity, prepared.interpreter), config)

    def _report_no_files(self, selection: Selection, config: TestConfig) -> int:
        layout = selection.layout
        line = nothing_found_line(include_integration=config.include_integration)
        if config.nothing_selected:
            line = tagged(Tag.INFO, config.nothing_selected)
        for notice in selection.notices:
            self._say(notice)
        if layout.headline:
            self._say(f"Layout: {layout}")
        if config.output is OutputFormat.JSON and config.mode in (Mode.LIST, Mode.DRY_RUN):
            self._err.write(f"{line}\n")
            self._list(selection, config)
        elif config.mode is Mode.LIST:
            self._err.write(f"{line}\n")
        elif config.output.is_document and config.mode is Mode.RUN:
            self._err.write(f"{line}\n")
            results = TestResults(records=(), duration_s=0.0)
            self._console(config).handle(RunFinished(at_s=0.0, results=results))
        else:
            self._print([line], config)
        is_scripts = layout.kind is LayoutKind.SCRIPTS and not layout.is_default
        return ExitCode.OK if config.selects_by_history or is_scripts else ExitCode.NO_TESTS

    def _make_output(self, config: TestConfig) -> PlainOutput:
        """Send all further output of Passmuster through the streams for a run, up to the last error."""
        output = make_output(config, self._environ, stdout=self._stdout, stderr=self._stderr)
        self._print_through(output)
        return output

    def _print_through(self, output: PlainOutput) -> None:
        self._output = output
        self._out, self._err = SafeStream(output.out), SafeStream(output.err)

    def _join(self, loaded: Loaded) -> int | None:
        """Join the run of several machines; return the exit status, None: there is nothing to run."""
        from dispatcher.join.command_context import CommandContext  # Loads redis, as does the next.
        from dispatcher.join.member import join

        config = loaded.config
        verbosity = Verbosity.VERBOSE if config.verbosity is Verbosity.VERBOSE else Verbosity.QUIET
        told = structs.replace(config, verbosity=verbosity)
        with self._make_output(config):
            host = CommandContext(
                environ=self._environ,
                cwd=self._cwd,
                origins=loaded.origins,
                run=self._run_tests,
                # Only the leader prints annotations and pages for a CI: once is enough.
                console=lambda: self._console(told),
                files=lambda: make_reporters(config, rerun=self._rerun, say=self._tell(config)),
                write=self._out.write,
                say=self._say,
                complain=self._complain,
                color=self._color(config),
            )
            return join(config, host)

    def _warn(self, line: str, *, color: bool = False) -> None:
        self._err.write(f"{tagged(Tag.WARN, one_line(line), color=color)}\n")

    def _say(self, line: str) -> None:
        self._err.write(f"{tagged(Tag.INFO, one_line(line))}\n")

    def _complain(self, line: str) -> None:
        self._err.write(f"{tagged(Tag.FAIL, one_line(line))}\n")

    def _print(self, lines: Iterable[str], config: TestConfig) -> None:
        """Print lines of the report, in which only the tags are coloured."""
        text = "".join(f"{line}\n" for line in lines)
        self._out.write(colored(text) if self._color(config) else text)

    def _tell(self, config: TestConfig) -> Callable[[str], None]:
        """Return a function that prints a line of the report."""
        return lambda line: self._print([tagged(Tag.INFO, one_line(line))], config)

    def _run_tests(self, runner: TestRunner, config: TestConfig) -> int:
        live = not config.output.is_document and use_live_footer(
            config.verbosity, self._environ, is_terminal=is_terminal(self._output.out)
        )
        console, say = self._console(config, has_footer=live), self._tell(config)
        files = make_reporters(config, rerun=self._rerun, say=say)
        reporters = [*self._output.around(console), *files, *make_live_reporters(config, say=say)]
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
                self._complain(trouble)
        if runner.can_be_resumed:
            from dispatcher.config.rerun import resume_command  # Few runs are interrupted.

            line = f"To resume this run: {resume_command(self._program, self._argv, runner.run_id)}"
            self._err.write(f"{tagged(Tag.INFO, line, color=self._color(config, self._output.err))}\n")
        if runner.breakdown or (runner.lost_reports and code == ExitCode.OK):
            return ExitCode.INFRASTRUCTURE
        return code

    def _record(self, config: TestConfig) -> RecordReporter | None:
        if config.record is None:
            return None
        from dispatcher.merge.writer import RecordReporter  # Few runs are recorded.

        return RecordReporter(config.record, root=config.root, environ=self._environ)

    def _console(self, config: TestConfig, *, has_footer: bool = False) -> Reporter:
        return make_console(config, self._environ, self._output, rerun=self._rerun, has_footer=has_footer)

    def _report_coverage(self, runner: TestRunner, config: TestConfig, record: RecordReporter | None) -> int:
        """Write the coverage reports, print their summary, and keep the data for a merge."""
        from dispatcher.coverage.combine import CoverageReport
        from dispatcher.coverage.finalize import finalize_coverage

        def make() -> CoverageReport:
            return runner.generate_coverage(record.keep_coverage if record is not None else None)

        return finalize_coverage(make, config, self._out.write, color=self._color(config))

    def _rerun(self, record: FileAttempts) -> str:
        """Return the command that reruns one file as this run ran it."""
        from dispatcher.config.rerun import rerun_command  # Only a run with failures waits for this.

        return rerun_command(self._program, self._argv, record)

    def _color(self, config: TestConfig, stream: TextStream | None = None) -> bool:
        """Return whether to colour what is printed to a stream; None: to that of the report."""
        return use_color(config.color, self._environ, is_terminal=is_terminal(stream or self._output.out))


def _may_ask_early(word: str) -> bool:
    """Whether a word may be `--help`, `--version`, or hold `-h` or `-V` among short options."""
    return word in ("--help", "--version") or (word[:1] == "-" != word[1:2] and ("h" in word or "V" in word))
