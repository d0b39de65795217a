"""Celery's transport with a filter: only the text of a message for Passmuster's task reaches Celery.

Celery trusts its messages. A message that is not JSON, or has another form, would end the worker, and its
other requests (callbacks, chains, times) would be executed although they are unsigned. Each message is
therefore parsed and rebuilt.
"""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from queue import Empty
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, virtual
from kombu.transport.redis import Channel, SentinelChannel, SentinelTransport, Transport
from redis import ResponseError

from passmuster.wire.broker_client import is_damage
from passmuster.wire.broker_keys import (
    PRIORITY_NORMAL,
    PRIORITY_STEPS,
    RUN_TTL_S,
    TASK_NAME,
    WORKER_QUEUE_TTL_S,
    is_worker_queue,
    meta_key,
    run_of_queue,
)
from passmuster.wire.codec import MAX_TASK_CHARS
from worker.queue.log import LogLevel, Say

MAX_BODY_CHARS = 4 * MAX_TASK_CHARS
"""Maximum characters of a message's body: a task's text, signed, as JSON, and in base64."""


MAX_BLOCK_S = 0.25
"""Seconds that one read from the queues blocks; the next read includes the queues of new runs."""


class ForeignMessageError(Exception):
    """A message on the queue is not for Passmuster's task."""


class ForgetfulQoS(virtual.QoS):
    """The unacknowledged messages, which are put back when the worker exits.

    A message that cannot be put back is forgotten; its run sends it again. Kombu would write it to a file in
    TMPDIR, which is never removed (kombu/transport/virtual/base.py, `restore_unacked_once`, 5.7.0).
    """

    def restore_unacked(self) -> list[object]:
        """Put messages back; report no failures."""
        super().restore_unacked()  # type: ignore[no-untyped-call]
        return []


def install_guarded_transport(say: Say) -> None:
    """Filter all messages that this process consumes, and log those that are dropped."""

    set_aside: set[str] = set()

    class GuardedChannel(Channel):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)  # type: ignore[no-untyped-call]
            self.QoS = ForgetfulQoS  # type: ignore[assignment]  # As kombu itself does.

        def _brpop_read(self, **options: Any) -> Any:
            try:
                return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
            except ResponseError as error:
                if not is_damage(error):
                    raise
                self._set_aside_damaged()
                raise Empty from error
            except (ValueError, RecursionError) as error:
                # The message is off the queue and was not handled.
                say(f"a message was dropped: it is not JSON ({type(error).__name__})", level=LogLevel.WARNING)
                raise Empty from error

        def _put(self, queue: str, message: Any, **options: Any) -> None:
            """Put a message back, unless its run has finished: its queue would never be removed."""
            with self.conn_or_acquire() as client:
                if not client.exists(meta_key(run_of_queue(queue))):
                    return
            seconds = WORKER_QUEUE_TTL_S if is_worker_queue(queue) else RUN_TTL_S
            self._new_queue(queue, arguments={"x-expires": seconds * 1000})  # type: ignore[no-untyped-call]
            try:
                super()._put(queue, message, **options)  # type: ignore[no-untyped-call]
            except ResponseError as error:
                if not is_damage(error):
                    raise
                say(f"a message cannot be put back onto queue {queue!a}: {error}", level=LogLevel.WARNING)

        def _set_aside_damaged(self) -> None:
            """Stop reading from keys that are not lists: one of them makes the read of all queues fail."""
            for queue in self.active_queues:
                try:
                    self._size(queue)  # type: ignore[no-untyped-call]
                except ResponseError as error:
                    if not is_damage(error):
                        raise
                    self._active_queues.remove(queue)
                    self._update_queue_cycle()  # type: ignore[no-untyped-call]
                    if queue not in set_aside:
                        set_aside.add(queue)
                        say(f"ignores queue {queue!a}: {error}", level=LogLevel.WARNING)

    class GuardedTransport(Transport):
        Channel = GuardedChannel
        brpop_timeout: float = MAX_BLOCK_S  # type: ignore[assignment]  # The server accepts fractions of a second.

        def _deliver(self, message: object, queue: str) -> None:
            try:
                passed = rebuild_message(message, queue)
            except ForeignMessageError as error:
                say(f"a message was dropped: {error}", level=LogLevel.WARNING)
            else:
                super()._deliver(passed, queue)  # type: ignore[no-untyped-call]

    class GuardedSentinelChannel(GuardedChannel, SentinelChannel):
        pass

    class GuardedSentinelTransport(GuardedTransport, SentinelTransport):
        Channel = GuardedSentinelChannel

    aliases: dict[str, Any] = TRANSPORT_ALIASES
    aliases |= dict.fromkeys(("redis", "rediss"), lambda: GuardedTransport)
    aliases["sentinel"] = lambda: GuardedSentinelTransport


def rebuild_message(message: object, queue: str) -> dict[str, object]:
    """Return a new message with only the text and the priority of a decoded message from `queue`.

    Raises:
        ForeignMessageError: it is not a message for Passmuster's task.
    """
    match message:
        case {"headers": {"task": str(task)}, "body": str(body), "properties": dict(properties)}:
            pass
        case _:
            raise ForeignMessageError("it does not have the form of a task's message")
    if task != TASK_NAME:
        raise ForeignMessageError(f"it is for the task {ascii(task)[:40]}, the only one is {TASK_NAME}")
    priority = properties.get("priority")
    number = str(uuid.uuid4())
    return {
        "body": base64.b64encode(json.dumps([[_text(body)], {}, {}]).encode("ascii")).decode("ascii"),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"lang": "py", "task": TASK_NAME, "id": number, "root_id": number},
        "properties": {
            "priority": priority if priority in PRIORITY_STEPS else PRIORITY_NORMAL,
            "body_encoding": "base64",
            # A copy with the same tag would be acknowledged together with this one.
            "delivery_tag": number,
            "delivery_info": {"exchange": "", "routing_key": queue},
        },
    }


def _text(body: str) -> str:
    """Return the only argument in a message's body."""
    if len(body) > MAX_BODY_CHARS:
        raise ForeignMessageError(f"it has {len(body)} characters, at most {MAX_BODY_CHARS} are allowed")
    try:
        found = json.loads(base64.b64decode(body, validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise ForeignMessageError("its body is damaged") from error
    match found:
        case [[str(text)], {}, *_]:
            return text
    raise ForeignMessageError("its body does not contain exactly one text")
