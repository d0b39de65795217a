"""`run-tests status`: the runs on this machine, and the runs and workers of a broker, as lines or as JSON."""

from __future__ import annotations

import time
from contextlib import closing

from dispatcher.cli.subcommands import StatusOptions, SubcommandArguments, SubcommandCall
from dispatcher.config.model import TestConfig
from dispatcher.insight.status_report import BrokerState, local_lines, local_runs, status_json, status_lines
from dispatcher.model.exit_codes import ExitCode
from dispatcher.queue.broker import broker_address
from passmuster.model.errors import InfrastructureError
from passmuster.wire.access import BROKER_ERRORS, open_broker
from passmuster.wire.broker_inspector import BrokerInspector
from passmuster.wire.run_store import WorkerDirectory


def show_status(call: SubcommandCall, arguments: SubcommandArguments[StatusOptions]) -> int:
    """Print the runs on this machine, and the runs and workers of a broker; return the exit status.

    Raises:
        ConfigurationError: an argument is wrong.
        InfrastructureError: the broker cannot be used.
    """
    local = local_runs(arguments.config.machine_folder, call.environ)
    state = _broker_state(arguments.config) if arguments.config.broker is not None else None
    if arguments.options.json:
        call.write(status_json(state, local).decode("ascii"))
    else:
        lines = local_lines(local, now_at=time.time())
        if state is not None:
            lines += ["", *status_lines(state)]
        call.write_lines(lines)
    return ExitCode.OK


def _broker_state(config: TestConfig) -> BrokerState:
    address = broker_address(config)
    try:
        with closing(open_broker(address)) as client:
            return BrokerState(
                broker=address.shown,
                runs=tuple(BrokerInspector(client).runs()),
                workers=tuple(WorkerDirectory(client).statuses()),
            )
    except BROKER_ERRORS as error:
        raise InfrastructureError(
            f"the broker {address.shown} does not answer: {error}; check that it is running"
        ) from error
