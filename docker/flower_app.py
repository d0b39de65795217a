"""Flower for Passmuster's broker: shows how many files each run still has on its queue.

Flower's lists of workers and tasks stay empty. They need events and remote control, which Passmuster's
workers switch off: anyone who can write to the broker could end them.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from kombu.entity import Queue

from passmuster.model.errors import PassmusterError
from passmuster.wire.access import BROKER_ERRORS
from passmuster.wire.broker_keys import queue_name
from passmuster.wire.run_store import RunStore, connect
from worker.queue.celery_app import make_app
from worker.queue.options import read_options

POLL_S = 2.0


def main() -> None:
    """Serve until the process ends."""
    # A worker's options, all from variables: the broker's address, and the file with its password.
    # No secret: Flower reads neither tasks nor results, and has nothing to sign.
    url = read_options([], os.environ, needs_secret=False).broker.url
    app = make_app(url)

    def follow() -> None:
        client = connect(url, timeout_s=5.0)
        while True:
            try:
                runs = RunStore.active_runs(client)
            except BROKER_ERRORS:
                runs = set()
            # Flower shows these queues, since no worker reports its own.
            app.conf.task_queues = [Queue(queue_name(run_id)) for run_id in sorted(runs)]
            time.sleep(POLL_S)

    threading.Thread(target=follow, name="runs", daemon=True).start()
    app.start(["flower", "--address=0.0.0.0", "--port=5555", "--enable_events=False"])


if __name__ == "__main__":
    try:
        main()
    except PassmusterError as error:
        sys.exit(f"flower: {error}")
