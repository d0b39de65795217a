"""`run-tests watch`: stays, and runs what a change affects."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import structs

from dispatcher.cli.subcommands import WATCH, SubcommandArguments, SubcommandCall, WatchOptions
from dispatcher.config.model import TestConfig
from dispatcher.model.exit_codes import ExitCode
from dispatcher.terminal.stream import SafeStream, is_terminal, use_color
from dispatcher.terminal.tags import Tag, tagged
from dispatcher.watch.session import WatchContext, WatchSession
from passmuster.model.text import one_line
from passmuster.settings.origins import Origins


def watch(call: SubcommandCall, arguments: SubcommandArguments[WatchOptions]) -> int:
    """Run rounds until the user quits; return the exit status.

    Raises:
        ConfigurationError: the configuration is wrong at the start.
    """
    err = SafeStream(call.stderr)
    color = use_color(arguments.config.color, call.environ, is_terminal=is_terminal(call.stderr))

    def printer(tag: Tag) -> Callable[[str], None]:
        return lambda line: err.write(f"{tagged(tag, one_line(line), color=color)}\n")

    def load() -> tuple[TestConfig, Origins]:
        again = WATCH.parse(call)
        return _for_rounds(again.config), again.origins

    context = WatchContext(
        load=load,
        run=call.run_files,
        target=call.warm_target(),
        polls=arguments.options.poll,
        environ=call.environ,
        cwd=call.cwd,
        say=printer(Tag.INFO),
        warn=printer(Tag.WARN),
        complain=printer(Tag.FAIL),
        is_unread=lambda: err.is_silent,
    )
    WatchSession(context, arguments.config.root).execute()
    return ExitCode.OK


def _for_rounds(config: TestConfig) -> TestConfig:
    """Return the configuration without what is about whole runs: a round runs some files, on this machine."""
    return structs.replace(
        config,
        enable_coverage=False,
        junit_xml=None,
        html_report=None,
        events=None,
        metrics=None,
        metrics_file=None,
        broker=None,
        history_from=None,
        limit=None,
        run_timeout_s=None,
        fail_on_regression=False,
    )
