"""The entry point of the queue worker: takes arguments and environment, returns the exit status.

Slow modules are imported only after the arguments are validated. Celery is imported only after the
environment for tests is set aside, because it reads variables and sets some.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import MutableMapping, Sequence
from contextlib import closing

from passmuster.model.errors import ConfigurationError, PassmusterError
from passmuster.model.version import VERSION
from worker.queue.command_line import HEALTH, OWN_VARIABLES, ROWS, WORDS, format_help
from worker.queue.options import read_options

PROGRAM = "run-tests-worker"

SYSTEMD_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "CREDENTIALS_DIRECTORY")
"""The variables by which systemd and a service communicate."""

REQUIRED_PACKAGES = ("celery", "kombu", "redis")
"""The packages that only runs with a broker need."""


def main(argv: Sequence[str] | None = None, environ: MutableMapping[str, str] | None = None) -> int:
    """Run a worker until it is asked to shut down, or a subcommand; return the exit status.

    Args:
        argv: the command-line arguments; None: those of this process.
        environ: the environment; None: that of this process. Variables that Celery must not see are removed
            from it.
    """
    own = os.environ if environ is None else environ
    words = sys.argv[1:] if argv is None else argv
    asked = WORDS.parse(words)
    if asked.wants_help or asked.wants_version:
        say(format_help(PROGRAM) if asked.wants_help else f"{PROGRAM} {VERSION}")
        return 0
    try:
        if words and words[0] == "completion":
            from passmuster.settings.completion import completion_of_program  # Rarely needed.

            say(completion_of_program((PROGRAM,), ROWS, words[1:]))
            return 0
        if words and words[0] == HEALTH:
            return _check_health(words[1:], own)
        options = read_options(words, own)
        tests_environ = split_environment(own)
        for warning in options.warnings:
            _complain(warning)
        try:
            from worker.queue.service import serve
        except ModuleNotFoundError as error:
            if error.name not in REQUIRED_PACKAGES:
                raise
            raise ConfigurationError(
                f"a worker needs the package {error.name}, which is not installed here: "
                f"pip install {error.name}"
            ) from error
        return serve(options, tests_environ, say)
    except PassmusterError as error:
        _complain(str(error))
        return error.exit_code


def _check_health(words: Sequence[str], environ: MutableMapping[str, str]) -> int:
    """Return 0 if the broker knows the worker that `words` name, or one of this host, else 1.

    A worker publishes its status every `HEARTBEAT_S` seconds, and the status expires after `WORKER_TTL_S`.
    Asking the broker therefore also detects a worker whose process lives but cannot take files.

    Raises:
        ConfigurationError: an option is invalid.
        InfrastructureError: the broker cannot be used, so that nothing is known of the worker.
    """
    options = read_options(words, environ, needs_secret=False)
    split_environment(environ)
    from passmuster.wire.access import open_broker
    from passmuster.wire.run_store import WorkerDirectory

    name, host = options.arguments.name, socket.gethostname()
    with closing(open_broker(options.broker)) as client:
        statuses = WorkerDirectory(client).statuses()
    for status in statuses:
        if status.name == name or (name is None and status.host == host):
            say(f"healthy: {status.name}, {status.busy} of {status.slots} slots in use")
            return 0
    wanted = f"worker {name}" if name is not None else f"worker of the host {host}"
    say(f"the broker {options.broker.shown} knows no {wanted}: it is not running, or cannot reach the broker")
    return 1


def _complain(text: str) -> None:
    with contextlib.suppress(OSError):
        sys.stderr.write(f"worker: {text}\n")


def say(line: str) -> None:
    """Print a line and flush. A closed stdout does not stop the worker."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


def split_environment(environ: MutableMapping[str, str]) -> dict[str, str]:
    """Return the environment for tests, and remove the variables that Celery must not see from `environ`.

    The environment for tests contains neither secrets nor the names of files with secrets, and nothing of
    systemd's, whose messages a test would answer in the worker's name.
    """
    hidden = {*OWN_VARIABLES, *SYSTEMD_VARIABLES}
    tests_environ = {name: value for name, value in environ.items() if name not in hidden}
    for name in [name for name in environ if name in OWN_VARIABLES or name.startswith("CELERY_")]:
        del environ[name]
    return tests_environ
