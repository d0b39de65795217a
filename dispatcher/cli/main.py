"""The command line: parses the arguments, prints the contract's output, returns the exit status."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import TYPE_CHECKING, Any

from dispatcher.cli.command import CommandCall
from dispatcher.config.choices import SUBCOMMAND_HELP, Explain, LayoutKind, Mode, OutputFormat
from dispatcher.config.load import Loaded, load_config
from dispatcher.config.model import TestConfig
from dispatcher.config.overrides import command_lines
from dispatcher.model.events import RunFinished
from dispatcher.model.exit_codes import ExitCode
from dispatcher.model.results import TestResults
from dispatcher.reporters.console.lines import nothing_found_line
from dispatcher.reporters.factory import make_reporters
from dispatcher.run.prepare import Prepared, Selection
from dispatcher.terminal.tags import Tag, tagged
from passmuster.model.errors import PassmusterError
from passmuster.model.text import one_line

if TYPE_CHECKING:
    from dispatcher.cli.subcommands import SubcommandArguments


def _find_subcommand(name: str) -> Callable[[CommandCall, SubcommandArguments[Any]], int]:
    """Return the function of a subcommand; it returns the exit status and may raise a `PassmusterError`.

    Imports that subcommand alone: some of them load much.
    """
    run: Callable[[CommandCall, SubcommandArguments[Any]], int]
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


class Command(CommandCall):
    """One call of `run_tests.py`, from its arguments to its exit status."""

    def run(self) -> int:
        """Execute the request and return the exit status."""
        try:
            if self.argv and self.argv[0] in SUBCOMMAND_HELP:
                return self._run_subcommand(*self.argv)
            if any(map(_may_ask_early, self.argv)):
                # Loading the help texts takes as long as a small test.
                from dispatcher.cli.help import early_answer

                answer = early_answer(self.argv, program=self.program)
                if answer is not None:
                    self.out.write(f"{answer}\n")
                    return ExitCode.OK
            loaded = load_config(self.argv, self.environ, self.cwd)
            return self._obey(loaded)
        except PassmusterError as error:
            self.complain(str(error))
            return error.exit_code
        except KeyboardInterrupt:
            self.say("interrupted before the first test", Tag.WARN)
            return ExitCode.INTERRUPTED

    def _run_subcommand(self, name: str, *argv: str) -> int:
        from dispatcher.cli.subcommands import SUBCOMMANDS  # Few calls are of a subcommand.

        call = copy(self)
        call.argv = argv
        arguments = SUBCOMMANDS[name].parse(call)
        for note in arguments.notes:
            self.say(note, Tag.WARN)
        if arguments.answer:
            self.out.write(arguments.answer)
            return ExitCode.OK
        return _find_subcommand(name)(call, arguments)

    def _obey(self, loaded: Loaded) -> int:
        config = loaded.config
        for warning in (*loaded.warnings, *loaded.notes):
            self.say(warning, Tag.WARN, color=self.color(config, self.stderr))
        if config.mode is Mode.SHOW_CONFIG:
            from dispatcher.config.load import format_config  # As above: imported on demand.

            self.out.write(f"{format_config(loaded)}\n")
            return ExitCode.OK
        if config.tail is not None:
            from dispatcher.queue.tail import follow_file  # As above.

            return follow_file(config.tail, config, self.environ, self.out.write, self.say)
        if config.join is not None and config.mode is Mode.RUN:
            code = self._join(loaded)
            if code is not None:
                return code
        return self._run_or_show(loaded)

    def _run_or_show(self, loaded: Loaded) -> int:
        """Run the files, or print what was requested instead; return the exit status."""
        config = loaded.config
        runner = self.runner(config, loaded.origins)
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
            self.out.write("".join(f"{one_line(line)}\n" for line in runner.explain_preload()))
            return ExitCode.OK
        # The current configuration: the project's pytest may have requested a report.
        return self.run_files(runner, selection.config)

    def _list(self, selection: Selection, config: TestConfig) -> None:
        """Print the files; standard output has nothing else."""
        files, layout = selection.files, str(selection.layout)
        if config.output is OutputFormat.JSON:
            from dispatcher.insight.file_list import file_list_json  # Imported only for such a list.

            self.out.write(file_list_json(files, selection.reasons, layout=layout))
            return
        from dispatcher.inputs.affected import affected_lines  # As above.

        reasons = [(file.label, selection.reasons.get(file.path, ())) for file in files]
        for line in (f"Layout: {layout}", *command_lines(files, config), *affected_lines(reasons)):
            self.say(line)
        self.out.write("".join(f"{one_line(file.label)}\n" for file in files))

    def _dry_run(self, prepared: Prepared, config: TestConfig) -> None:
        """Print the plan."""
        plan, selection, capacity = prepared.plan, prepared.selection, prepared.capacity
        if config.output is OutputFormat.JSON:
            from dispatcher.insight.file_list import file_list_json, forecast_run  # As above.

            forecast = forecast_run(plan, capacity, prepared.interpreter)
            layout = str(selection.layout)
            self.out.write(file_list_json(plan.files, selection.reasons, layout=layout, forecast=forecast))
            return
        from dispatcher.insight.plan_report import dry_run_lines  # As above.

        self.print_lines(dry_run_lines(plan, str(selection.layout), capacity, prepared.interpreter), config)

    def _report_no_files(self, selection: Selection, config: TestConfig) -> int:
        layout = selection.layout
        line = nothing_found_line(include_integration=config.include_integration)
        if config.nothing_selected:
            line = tagged(Tag.INFO, config.nothing_selected)
        for notice in selection.notices:
            self.say(notice)
        if layout.headline:
            self.say(f"Layout: {layout}")
        if config.output is OutputFormat.JSON and config.mode in (Mode.LIST, Mode.DRY_RUN):
            self.err.write(f"{line}\n")
            self._list(selection, config)
        elif config.mode is Mode.LIST:
            self.err.write(f"{line}\n")
        elif config.output.is_document and config.mode is Mode.RUN:
            self.err.write(f"{line}\n")
            results = TestResults(records=(), duration_s=0.0)
            self.console(config).handle(RunFinished(at_s=0.0, results=results))
        else:
            self.print_lines([line], config)
        is_scripts = layout.kind is LayoutKind.SCRIPTS and not layout.is_default
        return ExitCode.OK if config.selects_by_history or is_scripts else ExitCode.NO_TESTS

    def _join(self, loaded: Loaded) -> int | None:
        """Join the run of several machines; return the exit status, None: there is nothing to run."""
        from dispatcher.join.command_context import CommandContext  # Loads redis, as does the next.
        from dispatcher.join.member import join

        config = loaded.config
        with self.make_output(config):
            host = CommandContext(
                environ=self.environ,
                cwd=self.cwd,
                origins=loaded.origins,
                run=self.run_tests,
                # Only the leader prints annotations and pages for a CI: once is enough.
                console=lambda: self.replay_console(config),
                files=lambda: make_reporters(config, rerun=self.rerun, say=self.line_printer(config)),
                write=self.out.write,
                say=self.say,
                complain=self.complain,
                color=self.color(config),
            )
            return join(config, host)


def _may_ask_early(word: str) -> bool:
    """Whether a word may be `--help`, `--version`, or hold `-h` or `-V` among short options."""
    return word in ("--help", "--version") or (word[:1] == "-" != word[1:2] and ("h" in word or "V" in word))
