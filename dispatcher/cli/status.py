"""`run-tests status`: the runs on this machine, and what there is on a broker, as lines or as JSON."""

from __future__ import annotations

import time
from contextlib import closing

from dispatcher.cli.call import Call, read_words
from dispatcher.config.choices import Subcommand
from dispatcher.config.model import TestConfig
from dispatcher.insight.broker_overview import BrokerState, status_json, status_lines
from dispatcher.insight.local_runs import local_lines, local_runs
from dispatcher.model.exit_codes import ExitCode
from dispatcher.queue.broker import broker_address
from passmuster.model.errors import InfrastructureError
from passmuster.wire.access import BROKEN, open_broker
from passmuster.wire.broker_inspector import BrokerLook
from passmuster.wire.run_store import WorkerBoard

JSON = "--json"


def show_status(call: Call) -> int:
    """Print the runs on this machine, and the runs and the workers on a broker; return the exit status.

    Raises:
        ConfigurationError: an argument is wrong.
        InfrastructureError: the broker cannot be used.
    """
    words = read_words(call.argv, call.environ, call.cwd, command=Subcommand.STATUS, switches=(JSON,))
    if words.wants_help:
        call.write(_help(call.program))
        return ExitCode.OK
    local = local_runs(words.config.machine_folder, call.environ)
    state = _broker_state(words.config) if words.config.broker is not None else None
    if JSON in words.switches:
        call.write(status_json(state, local).decode("ascii"))
    else:
        lines = local_lines(local, now_at=time.time())
        if state is not None:
            lines += ["", *status_lines(state)]
        call.write("".join(f"{line}\n" for line in lines))
    return ExitCode.OK


def _broker_state(config: TestConfig) -> BrokerState:
    address = broker_address(config)
    try:
        with closing(open_broker(address)) as client:
            return BrokerState(
                broker=address.shown,
                runs=tuple(BrokerLook(client).runs()),
                workers=tuple(WorkerBoard(client).cards()),
            )
    except BROKEN as error:
        raise InfrastructureError(
            f"the broker {address.shown} does not answer: {error}; check that it is running"
        ) from error


def _help(program: str) -> str:
    return f"""usage: {program} [--broker URL] [--broker-password-file PATH] [--machine-folder PATH]
       [--root PATH] [--json]

Prints the runs on this machine, and the runs and the workers on a broker where one is given by --broker,
PASSMUSTER_BROKER_URL, or [tool.passmuster] in the root's pyproject.toml.

  --machine-folder PATH    the folder in which runs of several users or containers share the machine
  --json                   one object on one line, for programs
"""
