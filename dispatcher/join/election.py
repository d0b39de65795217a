"""Decides the next action of a member. Pure: the caller passes the broker's state and the time."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct

from dispatcher.model.ci import CIS
from passmuster.model.errors import ConfigurationError
from passmuster.wire.join_messages import EnterReply, JoinStatus

_MAX_ATTEMPTS = 1_000_000


class MemberIdentity(Struct, frozen=True, kw_only=True):
    """Identifies this machine within the CI."""

    identity: str
    """Keeps its value when the CI restarts this machine's job."""
    attempt: int
    """The number of the attempt at the job, from 1; 0: unknown."""


def find_identity(environ: Mapping[str, str], *, host: str) -> MemberIdentity:
    """Return this machine's identity from the environment.

    Raises:
        ConfigurationError: the number of the attempt is not a number.
    """
    numbered = next((ci.job_index for ci in CIS if environ.get(ci.job_index)), None)
    identity = f"host {host}" if numbered is None else f"{numbered}={environ[numbered]}"
    for ci in CIS:
        name, first = ci.attempt, 1 - ci.first_attempt
        text = environ.get(name, "")
        if not text:
            continue
        if not (text.isascii() and text.isdigit() and int(text[:10]) + first in range(1, _MAX_ATTEMPTS)):
            raise ConfigurationError(
                f"{name} must be the number of this attempt, a whole number from {1 - first}, "
                f"got {ascii(text)[:40]}"
            )
        return MemberIdentity(identity=identity, attempt=int(text) + first)
    return MemberIdentity(identity=identity, attempt=0)


def is_retry(found: EnterReply, member: MemberIdentity, *, status: int) -> bool:
    """Whether a machine that arrives at a complete round retries it, and is not merely late."""
    if status == 0:
        return False
    if member.attempt:
        return member.attempt > found.attempt
    return found.was_seen


class MemberAction(StrEnum):
    """What a member does next."""

    WAIT = "wait"
    LEAD = "request the leader lease"
    LEAVE = "take the result, and leave"
    ENTER = "tell the broker of the run, which it has lost"
    GIVE_UP = "the round has expired"


def next_action(status: JoinStatus, number: int, *, can_judge_leader: bool) -> MemberAction:
    """Return the next action of a member that does not lead.

    Args:
        number: the machine's round.
        can_judge_leader: whether the broker has been available for long enough for the leader to renew its
            lease.
    """
    if status.has_outcome:
        return MemberAction.LEAVE
    if status.number not in (0, number):
        return MemberAction.GIVE_UP
    if not can_judge_leader:
        return MemberAction.WAIT
    if status.number == 0:
        return MemberAction.ENTER
    return MemberAction.WAIT if status.is_led else MemberAction.LEAD
