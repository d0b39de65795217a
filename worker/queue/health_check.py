"""The health check of a worker's container: checks that the broker knows a worker of this host.

A running worker publishes its status to the broker every two seconds, and a status expires after ten. Asking
the broker also detects a worker whose process lives but which cannot take files.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import MutableMapping, Sequence
from pathlib import Path


def main(argv: Sequence[str], environ: MutableMapping[str, str]) -> int:
    """Return 0 if the broker knows a worker of this host, else print the reason and return 1.

    `argv` are the worker's own arguments. Variables that Celery must not see are removed from `environ`.
    """
    from passmuster.model.errors import PassmusterError
    from worker.queue.cli import say, split_environment
    from worker.queue.options import read_options

    try:
        options = read_options(argv, environ)
        split_environment(environ)
        from passmuster.wire.access import open_broker
        from passmuster.wire.run_store import WorkerDirectory

        statuses = WorkerDirectory(open_broker(options.broker)).statuses()
    except PassmusterError as error:
        say(str(error))
        return 1
    host = socket.gethostname()
    if any(status.host == host for status in statuses):
        return 0
    say(f"the broker {options.broker.shown} knows no worker of the host {host}")
    return 1


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    sys.exit(main(sys.argv[1:], os.environ))
