"""Servers that a run refuses."""

from __future__ import annotations

import pytest

from passmuster.model.errors import InfrastructureError
from passmuster.wire.access import check_server


@pytest.mark.parametrize("version", ["6.2.0", "7.0.15", "10.1"])
def test_a_usable_server_is_accepted(version: str) -> None:
    check_server({"redis_version": version, "role": "master", "maxmemory_policy": "noeviction"}, shown="x")
    check_server({"redis_version": version}, shown="x")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"redis_version": "6.0.16"}, "has version 6.0.16, at least 6.2 is needed"),
        ({"redis_version": ""}, "does not identify itself as Redis or Valkey"),
        ({"redis_mode": "sentinel"}, "is a Sentinel: write sentinel:// instead of redis://"),
        ({"role": "slave"}, "is a slave, which accepts no changes"),
        ({"maxmemory_policy": "allkeys-lru"}, "maxmemory-policy allkeys-lru"),
    ],
)
def test_an_unusable_server_is_refused_with_the_reason(change: dict[str, object], words: str) -> None:
    with pytest.raises(InfrastructureError, match=words) as caught:
        check_server({"redis_version": "7.2.0", **change}, shown="redis://broker:6379/0")

    assert "redis://broker:6379/0" in str(caught.value)
