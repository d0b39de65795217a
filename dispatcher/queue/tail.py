"""`run-tests --tail FILE`: prints the output of one file of a run on a broker until the file finishes.

Talks only to the broker, so it works on any machine, even without the run's dispatcher.
"""

from __future__ import annotations

import posixpath
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import PurePath

from dispatcher.config.model import TestConfig
from dispatcher.model.exit_codes import ExitCode
from dispatcher.queue.broker import broker_access
from passmuster.model.errors import ConfigurationError, InfrastructureError
from passmuster.model.text import TailText
from passmuster.wire.access import BROKER_ERRORS, open_broker
from passmuster.wire.broker_inspector import BrokerInspector
from passmuster.wire.broker_keys import DELIVERIES_PER_ATTEMPT, HEARTBEAT_S, LEASE_S
from passmuster.wire.broker_messages import FileStage, FileStatus
from passmuster.wire.envelope import Envelope
from passmuster.wire.output_stream import OutputStream

READ_S = 1.0
"""Maximum seconds that one read waits for output."""

PARTIAL_S = 2.0 * HEARTBEAT_S
"""Seconds without output after which an incomplete line is shown."""

_MAX_NAMED = 3


def follow_file(
    name: str,
    config: TestConfig,
    environ: Mapping[str, str],
    write: Callable[[str], None],
    say: Callable[[str], None],
) -> int:
    """Print a file's output until it finishes; return the exit status.

    Args:
        name: the file, as the user named it.
        environ: may hold the secret.

    Raises:
        ConfigurationError: there is no broker, no such run, or no such file.
        InfrastructureError: the broker cannot be used.
    """
    address, secret = broker_access(config, environ)
    try:
        with closing(open_broker(address)) as client:
            inspector = BrokerInspector(client)
            run_id, path = find_file(inspector, name, config)
            follower = Follower(inspector, OutputStream(client, Envelope(secret)), write, say)
            follower.follow(run_id, path)
    except BROKER_ERRORS as error:
        raise InfrastructureError(
            f"the broker {address.shown} does not answer: {error}; check that it is running"
        ) from error
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return ExitCode.OK


class Follower:
    """Follows one file; see `follow_file`."""

    def __init__(
        self,
        inspector: BrokerInspector,
        stream: OutputStream,
        write: Callable[[str], None],
        say: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inspector, self._stream, self._clock = inspector, stream, clock
        self._write, self._say = write, say
        self._text = TailText()
        self._last_id = "0"
        self._problem = ""

    def follow(self, run_id: str, path: str) -> None:
        """Print the file's output until it finishes, no longer runs, or its worker is lost."""
        first = self._inspector.file(run_id, path)
        if first is None or first.stage is not FileStage.RUNNING:
            self._say(f"{path} {_describe_state(first)} in run {run_id}: there is nothing to follow")
            return
        self._say(f"{path} of run {run_id} runs on {first.worker}; its output follows")
        delivery, news_s = first.delivery, self._clock()
        while True:
            # In this order: all output of a file is available before it is reported as finished.
            self._stream.subscribe(run_id, path)
            now = self._inspector.file(run_id, path)
            runs = now is not None and now.stage is FileStage.RUNNING and _is_same_attempt(now, delivery)
            if now is not None and runs and now.delivery != delivery:
                self._write(self._text.end())
                self._say(f"{path} was redelivered to {now.worker}")
                delivery, self._text = now.delivery, TailText()
            if self._read(run_id, path, delivery, block_s=READ_S if runs else 0.0):
                news_s = self._clock()
            elif self._clock() - news_s >= PARTIAL_S:
                self._write(self._text.flush())
            end = "" if runs else _describe_state(now, delivery)
            if now is not None and runs and self._inspector.expired_for_s(run_id, path, now) > LEASE_S:
                end = f"is no longer followed: its worker {now.worker} sends no heartbeat"
            if end:
                self._write(self._text.end())
                self._say(f"{path} {end}")
                return

    def _read(self, run_id: str, path: str, delivery: int, *, block_s: float) -> bool:
        """Print new output; return whether there was any."""
        self._last_id, pieces, problem = self._stream.read(run_id, path, self._last_id, block_s=block_s)
        if problem and problem != self._problem:
            self._problem = problem
            self._say(f"part of the output cannot be shown: {problem}")
        for piece in pieces:
            if piece.delivery == delivery:  # Else it is left over from the file's attempt before this one.
                self._write(self._text.take(piece.start, piece.data))
        return bool(pieces)


def _is_same_attempt(status: FileStatus, delivery: int) -> bool:
    """Whether at most the worker differs: another attempt is the run's answer to the end of this one."""
    return status.delivery // DELIVERIES_PER_ATTEMPT == delivery // DELIVERIES_PER_ATTEMPT


def _describe_state(status: FileStatus | None, delivery: int | None = None) -> str:
    """Return why a file is not followed, or no longer; `delivery` is None if it never was."""
    if status is not None and delivery is not None and not _is_same_attempt(status, delivery):
        return "has finished, and will rerun"
    if status is not None and status.stage is FileStage.WAITING:
        return "waits for a worker"
    return "has finished"


def find_file(inspector: BrokerInspector, name: str, config: TestConfig) -> tuple[str, str]:
    """Return the run and the path that the user means.

    Raises:
        ConfigurationError: no file matches, or several do.
        InfrastructureError: the broker's data about the named run is damaged.
    """
    damage_of = {run.run_id: run.damage for run in inspector.runs()}
    if damage := damage_of.get(config.tail_run_id or ""):
        raise InfrastructureError(f"run {config.tail_run_id}: {damage}")
    runs = [run_id for run_id, damage in damage_of.items() if not damage]
    if config.tail_run_id is not None:
        if config.tail_run_id not in runs:
            raise ConfigurationError(
                f"there is no run {config.tail_run_id!r} on the broker: {_listed('it has', runs)}"
            )
        runs = [config.tail_run_id]
    wanted = _relative(name, config)
    found = {run_id: paths for run_id in runs if (paths := _paths(inspector, run_id, wanted))}
    if not found:
        raise ConfigurationError(
            f"no run on the broker has published a file {wanted!r}: {_listed('its runs are', runs)}"
        )
    if len(found) > 1:
        raise ConfigurationError(
            f"several runs have {wanted!r}: add --run-id with {_listed('one of', found)}"
        )
    [(run_id, paths)] = found.items()
    if len(paths) > 1:
        raise ConfigurationError(f"several files are called {wanted!r}: {_listed('say which of', paths)}")
    return run_id, paths[0]


def _paths(inspector: BrokerInspector, run_id: str, wanted: str) -> list[str]:
    """Return the files that the user may mean: the one with this path, or those that end with it."""
    if inspector.file(run_id, wanted) is not None:
        return [wanted]
    return [path for path in inspector.paths(run_id) if path.endswith(f"/{wanted}")]


def _relative(name: str, config: TestConfig) -> str:
    """Return a path as runs know it: relative to the root, with single slashes."""
    path = PurePath(name)
    if path.is_absolute() and path.is_relative_to(config.root):
        path = path.relative_to(config.root)
    return posixpath.normpath(path.as_posix())


def _listed(what: str, names: Sequence[str] | Mapping[str, object]) -> str:
    shown = list(names)[:_MAX_NAMED]
    more = len(names) - len(shown)
    if not shown:
        return "there are none"
    return f"{what} {', '.join(shown)}" + (f" and {more} more" if more else "")
