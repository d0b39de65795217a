"""The one Celery task: run the file of a message. What that means is in `worker.serving.queue_files`."""

from __future__ import annotations

import logging
from collections.abc import Callable

from celery import Celery
from celery.exceptions import Reject

from passmuster.routing import TASK_NAME


def register(app: Celery, take: Callable[[str], bool]) -> None:
    """Give the application its task.

    Args:
        app: the application.
        take: does what a message asks for; False: it is to be put back.
    """

    logging.getLogger("celery.app.trace").addFilter(_is_no_requeue)

    def run_file(text: str) -> None:
        if not take(text):
            raise Reject("not here, or not now", requeue=True)

    app.task(name=TASK_NAME)(run_file)
    # Celery's own tasks take orders that nobody signed.
    app.finalize()
    for name in [name for name in app.tasks if name != TASK_NAME]:
        app.tasks.unregister(name)


def _is_no_requeue(record: logging.LogRecord) -> bool:
    """Whether Celery logs something else than a message that is put back, which is no fault."""
    return not (record.exc_info and isinstance(record.exc_info[1], Reject))
