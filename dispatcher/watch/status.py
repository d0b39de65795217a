"""`run-tests status`: what there is on a broker, as lines or as JSON."""

from __future__ import annotations

from contextlib import closing

from dispatcher.backends.broker_settings import broker_address
from dispatcher.config.subcommand import read_words
from dispatcher.exit_codes import ExitCode
from dispatcher.subcommands import Call
from dispatcher.watch.status_text import BrokerState, status_json, status_lines
from passmuster.broker_access import BROKEN, open_broker
from passmuster.errors import InfrastructureError
from passmuster.run_look import BrokerLook
from passmuster.run_record import WorkerBoard

SETTINGS = ("root", "broker", "broker-password-file")
JSON = "--json"


def show_status(call: Call) -> int:
    """Print the runs and the workers on a broker; return the exit status.

    Raises:
        ConfigurationError: an argument is wrong, or no broker was given.
        InfrastructureError: the broker cannot be used.
    """
    words = read_words(call.argv, call.environ, call.cwd, settings=SETTINGS, switches=(JSON,))
    if words.wants_help:
        call.write(_help(call.program))
        return ExitCode.OK
    address = broker_address(words.config)
    try:
        with closing(open_broker(address)) as client:
            state = BrokerState(
                broker=address.shown,
                runs=tuple(BrokerLook(client).runs()),
                workers=tuple(WorkerBoard(client).cards()),
            )
    except BROKEN as error:
        raise InfrastructureError(
            f"the broker {address.shown} does not answer: {error}; look whether it runs"
        ) from error
    if JSON in words.switches:
        call.write(status_json(state).decode("ascii"))
    else:
        call.write("".join(f"{line}\n" for line in status_lines(state)))
    return ExitCode.OK


def _help(program: str) -> str:
    return f"""usage: {program} [--broker URL] [--broker-password-file PATH] [--root PATH] [--json]

Prints the runs and the workers on a broker, and exits. Without --broker it is the one of
PASSMUSTER_BROKER_URL, or of [tool.passmuster] in the root's pyproject.toml.

  --json    one object on one line, for programs
"""
