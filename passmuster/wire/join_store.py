"""Stores the state of a joined run on the broker: the leader, the round, and the journal.

Imports redis: only members may load this module. Every method may raise `redis.RedisError`, and
`DamagedRecordError` if the data on the broker is damaged; the caller handles both.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from typing import Any

import redis

from passmuster.model.errors import PassmusterError
from passmuster.wire import join_lua as join_scripts
from passmuster.wire.broker_keys import JOIN_TTL_S, join_key
from passmuster.wire.broker_messages import DamagedDataError, read_number
from passmuster.wire.join_messages import EnterReply, JoinStatus

_MAX_ENTRIES = 100
"""Entries of the journal that are read at once: results can have megabytes."""


class NotLeadingError(PassmusterError):
    """Another member leads now, so this one must not write any more."""


class LeaderLease:
    """The right of one member to lead one round, which expires unless renewed. Its `token` is random and
    unique.

    Args:
        name: of the member.
        number: of the round.
    """

    def __init__(self, name: str, number: int) -> None:
        self.token = secrets.token_hex(16)
        self.name, self.number = name, number


class JoinStore:
    """The run of one name.

    Args:
        client: from `run_store.connect`.
        name: as the user gave it.
        attempt: the CI's attempt of this machine; 0: unknown.
        terms: the signed spec that this member proposes.
    """

    def __init__(self, client: redis.Redis, name: str, *, attempt: int = 0, terms: str = "") -> None:
        # Any: redis-py's types say "an answer, or an awaitable of one" for every command.
        self._client: Any = client
        self._name, self._attempt, self._terms_text = name, attempt, terms
        self._keys = tuple(
            join_key(name, what)
            for what in ("claim", "holder", "round", "members", "seen", "journal", "terms")
        )
        _, self._holder, _, self._members, _, self._journal, self._terms = self._keys

    def propose_spec(self) -> str:
        """Return the signed spec in force, which the first member set."""
        self._client.set(self._terms, self._terms_text, nx=True, ex=JOIN_TTL_S)
        found = str(self._client.get(self._terms) or self._terms_text)
        self._terms_text = found
        return found

    def enter(self, identity: str, number: int = 1) -> EnterReply:
        """Register this member.

        Args:
            identity: of the machine, for the CI.
            number: the round to start if the broker does not know the run.
        """
        found, state, attempt, was_seen = self._script(join_scripts.ENTER, identity, self._attempt, number)
        return EnterReply(_round(found), state == "done", _round(attempt), bool(was_seen))

    def start_round(self, number: int, identity: str, entry: str) -> bool:
        """Start the next round; return False if another member has started it.

        Args:
            number: of the round that is complete.
            identity: of this machine.
            entry: the signed journal entry of the new round.
        """
        return bool(self._script(join_scripts.BEGIN, number, self._attempt, identity, entry))

    def heartbeat(self, name: str) -> int:
        """Send this member's heartbeat; return the number of other members."""
        return int(self._script(join_scripts.PULSE, name))

    def leave(self, name: str) -> None:
        """Remove this member."""
        self._client.hdel(self._members, name)

    def status(self, number: int) -> JoinStatus:
        """Return the status of the run, and whether this round is complete."""
        found, claimed, leader, outcome = self._script(join_scripts.LOOK, number=number)
        return JoinStatus(_round(found), bool(claimed), str(leader), bool(outcome))

    def claim(self, claim: LeaderLease) -> bool:
        """Claim the leader lease; return False if another member leads, or the round is over."""
        return bool(self._script(join_scripts.CLAIM, claim.token, claim.name, claim.number))

    def renew(self, claim: LeaderLease) -> bool:
        """Renew the leader lease; return False if another member leads, or the lease was given up.

        If the broker has lost the run's data, the renewal restores it.
        """
        return bool(
            self._script(
                join_scripts.RENEW, claim.token, claim.name, claim.number, self._attempt, self._terms_text
            )
        )

    def give_up(self, claim: LeaderLease) -> None:
        """Give up the leader lease, so another member can lead immediately."""
        self._script(join_scripts.GIVE_UP, claim.token)

    def append(self, claim: LeaderLease, entries: Sequence[str]) -> None:
        """Append results to the journal.

        Raises:
            NotLeadingError: another machine leads; nothing was written.
        """
        self._as_leader(claim, join_scripts.APPEND, *entries)

    def entries(self) -> Iterator[tuple[str, str]]:
        """Yield kind ("result", "round") and signed text of each journal entry, oldest first."""
        last_id = "0"
        while answer := self._client.xread({self._journal: last_id}, count=_MAX_ENTRIES):
            for entry_id, fields in answer[0][1]:
                last_id = entry_id
                kind, body = fields.get("kind"), fields.get("body")
                if kind is None or body is None:
                    raise DamagedDataError(f"entry {entry_id} of the run's journal lacks a field")
                yield kind, body

    def finish_round(self, claim: LeaderLease, outcome: str, *, is_green: bool) -> None:
        """Mark the round as complete, and give up the leader lease.

        Args:
            claim: the lease of this member.
            outcome: the signed outcome of the round.
            is_green: whether no further round can follow.

        Raises:
            NotLeadingError: another machine leads; nothing was written.
        """
        self._as_leader(claim, join_scripts.DONE, outcome, "green" if is_green else "")

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

    def guarded(self, client: redis.Redis, claim: LeaderLease) -> Any:
        """Return a client whose writes fail once another member leads."""
        return _GuardedClient(client, self._holder, lambda: self.renew(claim), claim.token)

    def _as_leader(self, claim: LeaderLease, script: str, *arguments: str) -> None:
        if self._script(script, claim.token, *arguments, number=claim.number):
            return
        # The broker may have lost the run's data while no other member leads.
        if not self.renew(claim) or not self._script(script, claim.token, *arguments, number=claim.number):
            raise NotLeadingError("another machine leads the run by now")

    def _chunk_key(self, number: int, name: str, index: int) -> str:
        return join_key(self._name, f"record:{number}:{name}:{index}")

    def _script(self, script: str, *arguments: str | int, number: int = 0) -> Any:
        keys = (*self._keys, join_key(self._name, f"outcome:{number}")) if number else self._keys
        return self._client.eval(script, len(keys), *keys, *arguments)


def _round(found: str | None) -> int:
    """Return a number of the round; None: it is missing."""
    return read_number("" if found is None else str(found), what="a number of the run's round")


class _GuardedClient:
    """A client that writes only while this member holds the leader lease, checked in the same transaction.

    The check reads the last holder, which renewals do not change. A member that was suspended and resumes
    after another one took over therefore cannot overwrite the work of the new leader.
    """

    def __init__(self, client: redis.Redis, key: str, renew: Any, token: str) -> None:
        self._client: Any = client
        self._key, self._renew, self._token = key, renew, token

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def pipeline(self, transaction: bool = True) -> Any:  # noqa: FBT001, FBT002 - redis-py's own signature
        pipeline = self._client.pipeline(transaction=True)
        try:
            pipeline.watch(self._key)
            if pipeline.get(self._key) != self._token:
                pipeline.unwatch()
                if not self._renew():
                    raise NotLeadingError("another machine leads the run by now")
                pipeline.watch(self._key)
            pipeline.multi()
        except BaseException:
            pipeline.reset()
            raise
        return _Guarded(pipeline)

    def eval(self, *arguments: Any) -> Any:
        with self.pipeline() as pipeline:
            pipeline.eval(*arguments)
            return pipeline.execute()[0]

    def xtrim(self, *arguments: Any, **options: Any) -> Any:
        with self.pipeline() as pipeline:
            pipeline.xtrim(*arguments, **options)
            return pipeline.execute()[0]


class _Guarded:
    """A transaction that raises `NotLeadingError` if the leader lease was taken meanwhile."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipeline, name)

    def __enter__(self) -> _Guarded:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipeline.reset()

    def execute(self) -> Any:
        try:
            return self._pipeline.execute()
        except redis.WatchError:
            raise NotLeadingError("another machine leads the run by now") from None
