"""Whether this container's worker is well: the health check of its image.

A worker that runs says so at the broker every two seconds, and what it said last holds for ten. So this asks
the broker: a worker whose process is there, but which could take no file, is found out too.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent


def main(argv: Sequence[str]) -> int:
    """Return 0 if a worker of this host is known to the broker, else 1, and say why.

    Args:
        argv: the words that the worker itself was started with.
    """
    from passmuster.errors import PassmusterError
    from worker.cli import put_aside, read_options

    try:
        options = read_options(argv, os.environ)
        put_aside(os.environ)
        from passmuster.broker_access import open_broker
        from passmuster.run_record import WorkerBoard

        cards = WorkerBoard(open_broker(options.broker)).cards()
    except PassmusterError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    host = socket.gethostname()
    if any(card.host == host for card in cards):
        return 0
    sys.stdout.write(f"the broker {options.broker.shown} knows no worker of the host {host}\n")
    return 1


if __name__ == "__main__":
    sys.path.insert(0, str(HOME))
    sys.exit(main(sys.argv[1:]))
