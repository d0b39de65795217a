"""Tests the identity of a member, and its next action."""

from __future__ import annotations

import pytest

from dispatcher.join.election import MemberAction, MemberIdentity, find_identity, is_retry, next_action
from passmuster.model.errors import ConfigurationError
from passmuster.wire.join_messages import EnterReply, JoinStatus


@pytest.mark.parametrize(
    ("environ", "identity", "attempt"),
    [
        ({}, "host box", 0),
        ({"GITHUB_RUN_ATTEMPT": "3"}, "host box", 3),
        ({"BUILDKITE_RETRY_COUNT": "0", "BUILDKITE_PARALLEL_JOB": "2"}, "BUILDKITE_PARALLEL_JOB=2", 1),
        ({"SYSTEM_JOBATTEMPT": "2"}, "host box", 2),
        ({"CI_NODE_INDEX": "4", "CI_NODE_TOTAL": "4"}, "CI_NODE_INDEX=4", 0),
        ({"PASSMUSTER_ATTEMPT": "7", "GITHUB_RUN_ATTEMPT": "1"}, "host box", 7),
        ({"PASSMUSTER_ATTEMPT": "", "PASSMUSTER_JOB_INDEX": "0"}, "PASSMUSTER_JOB_INDEX=0", 0),
    ],
)
def test_the_ci_says_which_machine_this_is(environ: dict[str, str], identity: str, attempt: int) -> None:
    assert find_identity(environ, host="box") == MemberIdentity(identity=identity, attempt=attempt)


@pytest.mark.parametrize("text", ["two", "0", "-1", "1e3", "²", "9" * 400])
def test_an_attempt_that_is_not_a_number_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="PASSMUSTER_ATTEMPT must be the number of this attempt"):
        find_identity({"PASSMUSTER_ATTEMPT": text}, host="box")


@pytest.mark.parametrize(
    ("status", "attempt", "of_round", "was_seen", "expected"),
    [
        (0, 2, 1, True, False),  # Green is green for everybody.
        (1, 2, 1, False, True),
        (1, 1, 1, True, False),  # The same attempt, however often: the CI would have counted.
        (1, 1, 2, True, False),
        (1, 0, 0, True, True),
        (1, 0, 0, False, False),  # Merely late.
        (1, 2, 0, False, True),
    ],
)
def test_a_retry_is_distinguished_from_a_late_machine(
    status: int, attempt: int, of_round: int, was_seen: bool, expected: bool
) -> None:
    found = EnterReply(number=1, is_done=True, attempt=of_round, was_seen=was_seen)

    assert is_retry(found, MemberIdentity(identity="x", attempt=attempt), status=status) is expected


def look(**changes: object) -> JoinStatus:
    return JoinStatus(number=2, is_led=True, leader="a", has_outcome=False)._replace(**changes)  # type: ignore[arg-type]  # Fields by name.


@pytest.mark.parametrize(
    ("found", "can_judge_leader", "step"),
    [
        (look(), True, MemberAction.WAIT),
        (look(is_led=False), True, MemberAction.LEAD),
        (look(is_led=False), False, MemberAction.WAIT),
        (look(has_outcome=True), False, MemberAction.LEAVE),
        (look(has_outcome=True, number=3), True, MemberAction.LEAVE),  # A retry has begun meanwhile.
        (look(number=3), True, MemberAction.GIVE_UP),
        (look(number=0, is_led=False), False, MemberAction.WAIT),
        (look(number=0, is_led=False), True, MemberAction.ENTER),
    ],
)
def test_the_next_action(found: JoinStatus, can_judge_leader: bool, step: MemberAction) -> None:
    assert next_action(found, 2, can_judge_leader=can_judge_leader) is step
