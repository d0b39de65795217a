"""`run-tests watch`: stays, and runs what a change affects."""

from __future__ import annotations

from copy import copy
from functools import partial

from msgspec import structs

from dispatcher.cli.command import CommandCall
from dispatcher.cli.subcommands import WATCH, SubcommandArguments, WatchOptions
from dispatcher.config.model import TestConfig
from dispatcher.model.exit_codes import ExitCode
from dispatcher.terminal.tags import Tag
from dispatcher.watch.session import WatchContext, WatchSession
from passmuster.settings.origins import Origins


def watch(call: CommandCall, arguments: SubcommandArguments[WatchOptions]) -> int:
    """Run rounds until the user quits; return the exit status.

    Raises:
        ConfigurationError: the configuration is wrong at the start.
    """
    say = partial(call.say, color=call.color(arguments.config, call.stderr))

    def load() -> tuple[TestConfig, Origins]:
        again = WATCH.parse(call)
        return _for_rounds(again.config), again.origins

    context = WatchContext(
        load=load,
        run=lambda runner, config: copy(call).run_files(runner, config),
        target=call.warm_target(),
        polls=arguments.options.poll,
        environ=call.environ,
        cwd=call.cwd,
        say=say,
        warn=partial(say, tag=Tag.WARN),
        complain=partial(say, tag=Tag.FAIL),
        is_unread=lambda: call.err.is_silent,
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
