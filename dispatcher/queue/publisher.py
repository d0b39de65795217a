"""Publishes a run's files on its queue, one minimal Celery task for each.

Loads Celery: import this only for runs with a broker.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from celery import Celery
from kombu.entity import Exchange, Queue
from kombu.exceptions import BatchPublishError, KombuError
from redis import RedisError, ResponseError

from dispatcher.queue.delivery_tracker import Message
from passmuster.model.task import TestTask
from passmuster.wire.broker_client import translate_damage
from passmuster.wire.broker_keys import (
    PRIORITY_NORMAL,
    PRIORITY_URGENT,
    RUN_TTL_S,
    TASK_NAME,
    WORKER_QUEUE_TTL_S,
    queue_name,
    worker_queue_name,
)
from passmuster.wire.broker_messages import TASK_KIND
from passmuster.wire.celery_settings import shared_settings
from passmuster.wire.codec import TASK_CODEC
from passmuster.wire.envelope import Envelope

BROKEN: tuple[type[Exception], ...] = (KombuError, RedisError, OSError)
"""The errors of publishing while the broker is unavailable."""

_BATCH = 500
"""Messages sent in one go: half the cost of one by one."""


class Publisher:
    """Publishes the files of one run.

    Args:
        url: the broker's address, password included.
        complete: adds the configuration to a task, because workers do not have the dispatcher's.
    """

    def __init__(
        self, url: str, run_id: str, envelope: Envelope, complete: Callable[[TestTask], TestTask]
    ) -> None:
        # In Celery these variables override all settings made here (celery issue 4284).
        for variable in [variable for variable in os.environ if variable.startswith("CELERY_")]:
            del os.environ[variable]
        self._app = Celery("passmuster", fixups=[], set_as_current=False)
        self._app.conf.update(**shared_settings(url))
        self._run_id, self._queue = run_id, _queue(queue_name(run_id))
        self._envelope, self._complete = envelope, complete

    def publish(self, messages: Sequence[Message]) -> None:
        """Put messages on the queue, in their order.

        Raises:
            Exception: one of `BROKEN`: the broker is unavailable. Some messages may have arrived
                nevertheless.
            DamagedDataError: the broker's data is not a queue.
        """
        try:
            self._publish(messages)
        except BatchPublishError as error:
            if isinstance(error.__cause__, ResponseError):
                with translate_damage():
                    raise error.__cause__ from None
            raise

    def _publish(self, messages: Sequence[Message]) -> None:
        with self._app.producer_pool.acquire(block=True) as producer, producer.batch(_BATCH):
            for queue, seconds in self._lifetimes(messages).items():
                # This creates no key: it only sets which keys the transport lets expire.
                producer.channel.queue_declare(queue=queue, arguments={"x-expires": seconds * 1000})
            for message in messages:
                task = self._complete(message.task)
                text = self._envelope.sign(TASK_KIND, TASK_CODEC.encode(task), str(message.delivery))
                self._app.send_task(
                    TASK_NAME,
                    args=[text],
                    task_id=f"{task.attempt_id}/{message.delivery}",
                    producer=producer,
                    queue=self._queue_of(message),
                    priority=PRIORITY_URGENT if message.is_urgent else PRIORITY_NORMAL,
                    declare=[],
                    retry=False,
                    argsrepr="",  # Otherwise the message repeats everything in a form for people.
                    kwargsrepr="",
                )

    def _lifetimes(self, messages: Sequence[Message]) -> dict[str, int]:
        """Return after how many seconds each queue of these messages expires."""
        workers = {message.worker for message in messages if message.worker}
        queues = {worker_queue_name(self._run_id, worker): WORKER_QUEUE_TTL_S for worker in workers}
        return {self._queue.name: RUN_TTL_S, **queues}

    def _queue_of(self, message: Message) -> Queue:
        return _queue(worker_queue_name(self._run_id, message.worker)) if message.worker else self._queue

    def close(self) -> None:
        """Close the connections."""
        self._app.close()


def _queue(name: str) -> Queue:
    # Not declared with its exchange: such a declaration leaves keys on the broker forever.
    return Queue(name, Exchange("", type="direct"), routing_key=name, no_declare=True)
