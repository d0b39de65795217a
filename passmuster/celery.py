"""What Celery's own programs can see of Passmuster's workers: `celery -A passmuster.celery inspect ping`.

Celery's remote control is switched off in every worker: its messages are unsigned, so anyone who can write to
the broker could stop workers with it. `inspect` is therefore answered here, from the statuses that workers
publish, and sends nothing. Every other command that would have to reach a worker is refused with the reason.

The broker's address and the file with its password come from the variables that Passmuster itself reads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from celery import Celery
from celery.app.control import Control, Inspect
from celery.exceptions import CeleryCommandException
from kombu.entity import Exchange, Queue

from passmuster.model.errors import ConfigurationError, PassmusterError
from passmuster.wire.access import BROKER_ERRORS, open_broker
from passmuster.wire.broker import BrokerAddress, parse_broker, with_password
from passmuster.wire.broker_keys import QUEUE_PREFIX, TASK_NAME, WORKER_TTL_S, queue_name
from passmuster.wire.broker_messages import WorkerStatus
from passmuster.wire.broker_settings import BROKER_VARIABLE, PASSWORD_FILE_ROW
from passmuster.wire.celery_settings import shared_settings
from passmuster.wire.run_store import WorkerDirectory
from passmuster.wire.signing_secret import read_secret_file

_UNAVAILABLE = 69
"""Celery's exit status if no worker replied (EX_UNAVAILABLE of sysexits.h)."""

_NO_QUEUE = f"{QUEUE_PREFIX}none"
"""A name that no run has: Celery must have a queue."""

_REASONS = "docs/explanation/distributed.md says why"


class Observer(Celery):  # type: ignore[misc]  # Celery has no types.
    """An application that observes a broker, and sends nothing."""

    def __init__(self, address: BrokerAddress) -> None:
        # Without fixups: the one for Django would insert the current directory at the start of `sys.path`.
        super().__init__("passmuster", fixups=[], control=_Control, set_as_current=False)
        self.address = address
        self.conf.update(
            **shared_settings(address.url),
            worker_enable_remote_control=False,
            # Not declared: a declaration, even by `celery purge`, leaves keys on the broker forever.
            task_queues=(Queue(_NO_QUEUE, Exchange("", type="direct"), no_declare=True),),
            task_default_queue=_NO_QUEUE,
        )

    @property
    def Worker(self) -> None:  # noqa: N802 - Celery's name
        """Refuse: the task is unknown here, and Celery's own worker would accept unsigned messages."""
        raise _refusal(f"start workers with run-tests-worker, not with `celery worker`; {_REASONS}")

    @property
    def events(self) -> None:
        """Refuse: a receiver of events would wait forever."""
        raise _refusal(f"Passmuster's workers send no events; {_REASONS}")

    def send_task(self, *_: Any, **__: Any) -> None:
        """Refuse: it would leave keys on the broker forever, and workers drop unsigned messages."""
        raise _refusal(
            f"cannot send a task: Passmuster's workers drop messages that are not signed; {_REASONS}"
        )


class _Control(Control):  # type: ignore[misc]  # Celery has no types.
    def inspect(self, **options: Any) -> _Inspect:
        """Return what answers `celery inspect`."""
        return _Inspect(app=self.app, **options)

    def broadcast(self, command: str, *_: Any, **__: Any) -> None:
        """Refuse."""
        raise _refusal(
            f"cannot {command}: Passmuster's workers accept no remote control, because its messages are not"
            f" signed; send a worker SIGTERM to end it; {_REASONS}"
        )


class _Inspect(Inspect):  # type: ignore[misc]  # Celery has no types.
    def _request(self, command: str, **_: Any) -> dict[str, Any]:
        """Return what each worker's status says, by node."""
        reply_of = _REPLIES.get(command)
        if reply_of is None:
            raise _refusal(
                f"Passmuster's workers do not answer {command}, only {', '.join(_REPLIES)}; {_REASONS}"
            )
        address: BrokerAddress = self.app.address
        replies = {
            node: reply_of(status)
            for node, status in _read_statuses(address).items()
            if not self.destination or node in self.destination
        }
        if not replies:
            which = f"worker {', '.join(self.destination)}" if self.destination else "worker"
            raise _refusal(
                f"no {which} has sent a heartbeat to {address.shown} within {WORKER_TTL_S} s: start one with"
                " run-tests-worker"
            )
        if self.callback is not None:
            for node, reply in replies.items():
                self.callback({node: reply})
        return replies


def _address(environ: Mapping[str, str]) -> BrokerAddress:
    url = environ.get(BROKER_VARIABLE)
    if not url:
        raise ConfigurationError(f"no broker was given: set {BROKER_VARIABLE}")
    address = parse_broker(url.strip(), source=BROKER_VARIABLE)
    for variable in PASSWORD_FILE_ROW.variables:
        if path := environ.get(variable):
            return with_password(address, read_secret_file(Path(path), source=variable))
    return address


def _read_statuses(address: BrokerAddress) -> dict[str, WorkerStatus]:
    """Return the worker statuses by node name, as Celery forms it. They are unsigned: any text is escaped."""
    try:
        with open_broker(address) as client:
            found = WorkerDirectory(client).statuses()
    except PassmusterError as error:
        raise _refusal(str(error)) from error
    except BROKER_ERRORS as error:
        raise _refusal(f"the broker {address.shown} does not answer: {error}") from error
    return {ascii(f"{status.name}@{status.host}")[1:-1]: status for status in found}


def _ping(_: WorkerStatus) -> dict[str, object]:
    return {"ok": "pong"}


def _active(status: WorkerStatus) -> list[dict[str, object]]:
    return [
        {
            "id": f"{file.run_id}/{file.path}",
            "name": TASK_NAME,
            "args": [file.path],
            "seconds": file.seconds,
            "memory_bytes": file.used_bytes,
        }
        for file in status.files
    ]


def _active_queues(status: WorkerStatus) -> list[dict[str, object]]:
    return [{"name": queue_name(run_id)} for run_id in status.runs]


def _stats(status: WorkerStatus) -> dict[str, object]:
    return {
        "pool": {"max-concurrency": status.slots},
        "busy": status.busy,
        "total": {TASK_NAME: status.accepted},
        "memory": {"used_bytes": status.used_bytes, "budget_bytes": status.budget_bytes},
        "version": status.version,
    }


_REPLIES: Mapping[str, Callable[[WorkerStatus], object]] = {
    "ping": _ping,
    "active": _active,
    "active_queues": _active_queues,
    "stats": _stats,
}


def _refusal(text: str) -> CeleryCommandException:
    return CeleryCommandException(message=text, exit_code=_UNAVAILABLE)


try:
    app = Observer(_address(os.environ))
except PassmusterError as error:
    # Celery would print the traceback of any other exception.
    raise SystemExit(f"passmuster.celery: {error}") from None
