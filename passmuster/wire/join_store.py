"""Stores the state of a joined run on the broker: the leader, the round, and the journal.

`join_store.lua` holds the atomic steps.

Imports redis: only members may load this module. Every method may raise `redis.RedisError`, and
`DamagedDataError` if the data on the broker is damaged; the caller handles both.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis

from passmuster.model.errors import PassmusterError
from passmuster.wire.broker_keys import JOIN_TTL_S, join_key
from passmuster.wire.broker_messages import DamagedDataError, read_number
from passmuster.wire.join_messages import EnterReply, JoinStatus
from passmuster.wire.lua_script import load_script

_MAX_ENTRIES = 100
"""Journal entries of one read: results can have megabytes."""


class NotLeadingError(PassmusterError):
    """Another member leads now, so this one must not write any more."""

    def __init__(self) -> None:
        super().__init__("another machine leads the run now")


class LeaderLease:
    """The right of the member `name` to lead round `number`, which expires unless renewed.

    Its `token` is random and unique.
    """

    def __init__(self, name: str, number: int) -> None:
        self.token = secrets.token_hex(16)
        self.name, self.number = name, number


class JoinStore:
    """The joined run of one name.

    Args:
        client: from `run_store.connect`.
        name: as the user gave it.
        attempt: the CI's attempt of this machine; 0: unknown.
        spec: the signed spec that this member proposes.
    """

    def __init__(self, client: redis.Redis, name: str, *, attempt: int = 0, spec: str = "") -> None:
        # Any: redis-py's types say "a reply, or an awaitable of one" for every command.
        self._client: Any = client
        self._name, self._attempt, self._signed_spec = name, attempt, spec
        self._keys = tuple(
            join_key(name, what)
            for what in ("lease", "holder", "round", "members", "seen", "journal", "spec")
        )
        _, self._holder, _, self._members, _, self._journal, self._spec = self._keys

    def propose_spec(self) -> str:
        """Return the signed spec in force, which the first member set."""
        self._client.set(self._spec, self._signed_spec, nx=True, ex=JOIN_TTL_S)
        self._signed_spec = str(self._client.get(self._spec) or self._signed_spec)
        return self._signed_spec

    def enter(self, identity: str, number: int = 1) -> EnterReply:
        """Register this member.

        Args:
            identity: of the machine, for the CI.
            number: the round to start if the broker does not know the run.
        """
        found, state, attempt, was_seen = self._run("enter", identity, self._attempt, number)
        return EnterReply(_round_number(found), state == "done", _round_number(attempt), bool(was_seen))

    def start_round(self, number: int, identity: str, entry: str) -> bool:
        """Start the round after `number`, which is complete; return False if another member has started it.

        `entry` is the signed journal entry of the new round.
        """
        return bool(self._run("start_round", number, self._attempt, identity, entry))

    def heartbeat(self, name: str) -> int:
        """Send this member's heartbeat; return the number of other members."""
        return int(self._run("heartbeat", name))

    def leave(self, name: str) -> None:
        """Remove this member."""
        self._client.hdel(self._members, name)

    def status(self, number: int) -> JoinStatus:
        """Return the status of the run, and whether this round is complete."""
        found, is_led, leader, has_outcome = self._run("status", outcome_of=number)
        return JoinStatus(_round_number(found), bool(is_led), str(leader), bool(has_outcome))

    def claim(self, lease: LeaderLease) -> bool:
        """Claim the leader lease; return False if another member leads, or the round is over."""
        return bool(self._run("claim", lease.token, lease.name, lease.number))

    def renew(self, lease: LeaderLease) -> bool:
        """Renew the leader lease; return False if another member leads, or the lease was given up.

        If the broker has lost the run's data, the renewal restores it.
        """
        spec = self._signed_spec
        return bool(self._run("renew", lease.token, lease.name, lease.number, self._attempt, spec))

    def give_up(self, lease: LeaderLease) -> None:
        """Give up the leader lease, so another member can lead immediately."""
        self._run("give_up", lease.token)

    def append(self, lease: LeaderLease, entries: Sequence[str]) -> None:
        """Append results to the journal.

        Raises:
            NotLeadingError: another machine leads; nothing was written.
        """
        self._run_as_leader(lease, "append", *entries)

    def entries(self) -> Iterator[tuple[str, str]]:
        """Yield kind ("result", "round") and signed text of each journal entry, oldest first."""
        last_id = "0"
        while reply := self._client.xread({self._journal: last_id}, count=_MAX_ENTRIES):
            for entry_id, fields in reply[0][1]:
                last_id = entry_id
                kind, body = fields.get("kind"), fields.get("body")
                if kind is None or body is None:
                    raise DamagedDataError(f"entry {entry_id} of the run's journal lacks a field")
                yield kind, body

    def finish_round(self, lease: LeaderLease, outcome: str, *, is_green: bool) -> None:
        """Mark the round as complete with its signed outcome, and give up the leader lease.

        After a green round no other can follow, so the journal is removed.

        Raises:
            NotLeadingError: another machine leads; nothing was written.
        """
        self._run_as_leader(lease, "finish_round", outcome, str(int(is_green)))

    def outcome(self, number: int) -> str | None:
        """Return the signed outcome of a round, or None."""
        found = self._client.get(join_key(self._name, f"outcome:{number}"))
        return None if found is None else str(found)

    def put_chunk(self, number: int, name: str, index: int, text: str) -> None:
        """Store a signed chunk of a round's record for one day."""
        self._client.set(self._chunk_key(number, name, index), text, ex=JOIN_TTL_S)

    def chunk(self, number: int, name: str, index: int) -> str | None:
        """Return a chunk of a round's record, or None if it has expired."""
        found = self._client.get(self._chunk_key(number, name, index))
        return None if found is None else str(found)

    @contextmanager
    def transaction(self, client: Any, lease: LeaderLease) -> Iterator[Any]:
        """Open a transaction of `client` that changes nothing once another member leads.

        It watches the last holder, which renewals do not change. A member that was suspended and resumes
        after another one took over therefore cannot overwrite the work of the new leader.

        Raises:
            NotLeadingError: another member leads; also from the block, when it executes the transaction.
        """
        with client.pipeline(transaction=True) as pipeline:
            pipeline.watch(self._holder)
            if pipeline.get(self._holder) != lease.token:
                pipeline.unwatch()
                if not self.renew(lease):
                    raise NotLeadingError
                pipeline.watch(self._holder)
            pipeline.multi()
            try:
                yield pipeline
            except redis.WatchError:
                raise NotLeadingError from None

    def _run_as_leader(self, lease: LeaderLease, operation: str, *arguments: str) -> None:
        for _ in range(2):
            if self._run(operation, lease.token, *arguments, outcome_of=lease.number):
                return
            # The broker may have lost the run's data while no other member leads: a renewal restores it.
            if not self.renew(lease):
                break
        raise NotLeadingError

    def _chunk_key(self, number: int, name: str, index: int) -> str:
        return join_key(self._name, f"record:{number}:{name}:{index}")

    def _run(self, operation: str, *arguments: str | int, outcome_of: int | None = None) -> Any:
        """Run an operation of the script; `outcome_of` is the round whose outcome it reads or writes."""
        keys = list(self._keys)
        if outcome_of is not None:
            keys.append(join_key(self._name, f"outcome:{outcome_of}"))
        return self._client.eval(load_script("join_store.lua"), len(keys), *keys, operation, *arguments)


def _round_number(found: str | None) -> int:
    """Return a number of the round; None: it is missing."""
    return read_number("" if found is None else str(found), what="a number of the run's round")
