"""Which server a group of Sentinels names, and what is said if there is none."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from redis.sentinel import MasterNotFoundError

from passmuster.wire.run_store import connect

URL = "sentinel://:geheim@a:1;sentinel://b;sentinel://c/2?master_name=m&sentinel_password=geheim"
MASTER = {"ip": "10.0.0.1", "port": 6379, "is_sdown": False, "is_odown": False}


def group_of(monkeypatch: pytest.MonkeyPatch, *replies: object) -> Any:
    """Return the Sentinels of `URL`, each with its reply or error."""
    group: Any = connect(URL, timeout_s=5).connection_pool
    for client, reply in zip(group.sentinel_manager.sentinels, replies, strict=True):

        def ask(reply: object = reply) -> object:
            if isinstance(reply, Exception):
                raise reply
            return reply

        monkeypatch.setattr(client, "sentinel_masters", ask)
    return group.sentinel_manager


def test_the_next_one_is_asked_until_one_names_the_master_and_stays_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    group = group_of(monkeypatch, redis.ConnectionError("refused"), {"m": MASTER}, AssertionError("asked"))

    assert group.discover_master("m") == ("10.0.0.1", 6379)
    assert [one.connection_pool.connection_kwargs["host"] for one in group.sentinels] == ["b", "a", "c"]
    assert group.discover_master("m") == ("10.0.0.1", 6379)


@pytest.mark.parametrize("down", ["is_sdown", "is_odown"])
def test_the_reply_of_each_is_reported_if_none_names_an_available_master(
    monkeypatch: pytest.MonkeyPatch, down: str
) -> None:
    group = group_of(
        monkeypatch,
        {"other": MASTER},
        {"m": {**MASTER, down: True}},
        redis.AuthenticationError("wrong login."),
    )

    with pytest.raises(MasterNotFoundError) as caught:
        group.discover_master("m")

    assert str(caught.value) == (
        "no Sentinel names an available master 'm' (a:1: it knows no master of this name;"
        " b:26379: the master is down; c:26379: wrong login)"
    )


def test_a_sentinel_that_does_not_answer_is_left_after_a_second() -> None:
    group: Any = connect(URL, timeout_s=5).connection_pool

    for client in group.sentinel_manager.sentinels:
        options = client.connection_pool.connection_kwargs
        assert (options["socket_timeout"], options["socket_connect_timeout"]) == (1.0, 1.0)
        assert options["retry"].get_retries() == 0
        assert options["password"] == "geheim"
