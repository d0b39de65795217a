"""Reads the state of the runs on a broker for observers. Changes nothing there.

The returned text is unsigned, so it may contain anything and must be escaped before it is shown. Every method
may raise `redis.RedisError`.
"""

from __future__ import annotations

from typing import Any

from passmuster.wire.broker_keys import RUNS_KEY, lease_key, meta_key, state_key
from passmuster.wire.broker_messages import DamagedDataError, FileStage, FileStatus, RunStatus
from passmuster.wire.lua_script import load_script


class BrokerInspector:
    """Read-only view of a broker; `client` is from `passmuster.wire.run_store.connect`."""

    def __init__(self, client: Any) -> None:
        # Any: redis-py's types say "a reply, or an awaitable of one" for every command.
        self._client = client

    def runs(self) -> list[RunStatus]:
        """Return the active runs, oldest first; a damaged one has only its damage."""
        found = []
        for run_id in self._client.smembers(RUNS_KEY):
            try:
                reply = self._client.eval(
                    load_script("run_store.lua"), 2, meta_key(run_id), state_key(run_id), "status"
                )
            except DamagedDataError as error:
                found.append(RunStatus(run_id=run_id, damage=str(error)))
                continue
            if reply is not None:  # None: it finished at this moment, or expired.
                found.append(_run_status(run_id, *reply))
        return sorted(found, key=lambda run: (run.started_at, run.run_id))

    def file(self, run_id: str, path: str) -> FileStatus | None:
        """Return the status of a file, or None if the broker does not know it."""
        text = self._client.hget(state_key(run_id), path)
        letter, _, rest = (text or "").partition(":")
        delivery, _, worker = rest.partition(":")
        if letter not in tuple(FileStage):
            return None
        stage = FileStage(letter)
        worker = worker if stage is FileStage.RUNNING else ""
        return FileStatus(stage=stage, delivery=_number(delivery), worker=worker)

    def expired_for_s(self, run_id: str, path: str, status: FileStatus) -> float:
        """Return the seconds since the lease of a running file expired; 0: it is valid."""
        member = f"{status.delivery}\0{status.worker}\0{path}"
        deadline_ms = self._client.zscore(lease_key(run_id), member)
        seconds, micros = self._client.time()
        return 0.0 if deadline_ms is None else max(0.0, seconds + micros / 1e6 - deadline_ms / 1000)

    def paths(self, run_id: str) -> list[str]:
        """Return the files of a run that the broker knows, sorted."""
        return sorted(self._client.hkeys(state_key(run_id)))


def _run_status(run_id: str, begun: str, heartbeat: str, backlog: str, now: str, *counts: int) -> RunStatus:
    begun_ms, heartbeat_ms, now_ms = _number(begun), _number(heartbeat), _number(now)
    queued, running, done = counts
    return RunStatus(
        run_id=run_id,
        started_at=begun_ms / 1000,
        seconds=max(0.0, (now_ms - begun_ms) / 1000),
        heartbeat_age_s=max(0.0, (now_ms - heartbeat_ms) / 1000),
        waiting=queued + _number(backlog),
        running=running,
        done=done,
    )


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0
