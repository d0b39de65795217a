"""The one Celery task: run the file of a message. What that means is in `worker.queue_files`."""

from __future__ import annotations

from celery import Celery
from celery.exceptions import Reject

from passmuster.routing import TASK_NAME
from worker.queue_files import QueueFiles


def register(app: Celery, files: QueueFiles) -> None:
    """Give the application its task."""

    def run_file(text: str) -> None:
        if not files.take(text):
            raise Reject("not here, or not now", requeue=True)

    app.task(name=TASK_NAME)(run_file)
    # Celery's own tasks take orders that nobody signed.
    app.finalize()
    for name in [name for name in app.tasks if name != TASK_NAME]:
        app.tasks.unregister(name)
