"""Celery connects to the same broker as redis-py, and no less safely."""

from __future__ import annotations

from typing import Any

import pytest
from kombu.connection import Connection
from redis.connection import SSLConnection

from passmuster.wire.celery_settings import HEALTH_CHECK_S, shared_settings
from passmuster.wire.run_store import connect
from worker.queue.transport import MAX_BLOCK_S

ADDRESSES = (
    "redis://127.0.0.1",
    "redis://:a%3Bb%40c%2F@[::1]:7000/3",
    "redis://me:p+w@host:7000",
    "rediss://me:pw@host:7000/2?ssl_ca_certs=/ca.pem&ssl_certfile=/me.pem&ssl_keyfile=/me.key",
    "rediss://host",
    "redis+socket:///run/a%20b.sock",
    "redis+socket://me:p%3Bw@/run/a.sock?virtual_host=4",
    "unix:///run/a.sock?db=4",
    "sentinel://a;sentinel://:p%3Bw@b:1/2?master_name=m&sentinel_password=eye",
    "sentinels://me:pw@a/2?master_name=m&ssl_ca_certs=/ca.pem",
)


def channel_of(settings: dict[str, Any]) -> Any:
    """Return a channel of Celery's that has no connection."""
    connection = Connection(
        settings["broker_read_url"],
        ssl=settings["broker_use_ssl"],
        transport_options=settings["broker_transport_options"],
    )
    channel = object.__new__(connection.transport.Channel)
    channel.connection = connection.transport
    return channel


def test_a_silently_lost_connection_is_closed_within_15_seconds() -> None:
    # Looked at once in an interval, and given up at the first look after an interval without an answer.
    assert MAX_BLOCK_S + 2 * HEALTH_CHECK_S <= 15
    options = shared_settings("redis://host")["broker_transport_options"]
    assert isinstance(options, dict)
    assert options["health_check_interval"] == HEALTH_CHECK_S


@pytest.mark.parametrize("url", ADDRESSES)
def test_celery_and_redis_py_connect_to_the_same_database(url: str) -> None:
    ours = connect(url, timeout_s=5)
    settings = shared_settings(url)
    told = channel_of(settings)._connparams()

    wanted = ours.connection_pool.connection_kwargs
    server = () if "sentinel" in url else ("host", "port", "path")  # Which server it is the Sentinels say.
    for name in (*server, "db", "password"):
        assert told.get(name) == wanted.get(name), name
    assert (told.get("username") or None) == wanted.get("username")
    is_encrypted = issubclass(ours.connection_pool.connection_class, SSLConnection)
    assert issubclass(told["connection_class"], SSLConnection) is is_encrypted
    for name in ("ssl_cert_reqs", "ssl_check_hostname", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
        assert told.get(name) == wanted.get(name), name


@pytest.mark.parametrize("url", [url for url in ADDRESSES if url.startswith("sentinel")])
def test_celery_and_redis_py_ask_the_same_sentinels(url: str) -> None:
    settings = shared_settings(url)
    channel = channel_of(settings)
    options = settings["broker_transport_options"]
    assert isinstance(options, dict)
    channel.master_name, channel.sentinel_kwargs = options["master_name"], options["sentinel_kwargs"]
    theirs = channel._sentinel_managed_pool().sentinel_manager

    ours: Any = connect(url, timeout_s=5).connection_pool
    for name in ("host", "port", "username", "password", "ssl_ca_certs", "ssl_check_hostname"):
        wanted = [one.connection_pool.connection_kwargs.get(name) for one in ours.sentinel_manager.sentinels]
        assert [one.connection_pool.connection_kwargs.get(name) for one in theirs.sentinels] == wanted, name
    assert options["master_name"] == ours.service_name == "m"


@pytest.mark.parametrize("url", [url for url in ADDRESSES if url.startswith(("rediss:", "sentinels:"))])
def test_tls_is_always_checked(url: str) -> None:
    assert connect(url, timeout_s=5).connection_pool.connection_kwargs["ssl_cert_reqs"] == "required"
    assert connect(url, timeout_s=5).connection_pool.connection_kwargs["ssl_check_hostname"] is True
