"""Connects to the master that a group of Sentinels names, also after a failover.

Imports redis: only runs with a broker may load this module.
"""

from __future__ import annotations

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel

from passmuster.wire.broker import SentinelGroup, TlsFiles, netloc
from passmuster.wire.broker_client import BrokerClient
from passmuster.wire.tls import tls_options

TIMEOUT_S = 1.0
"""Seconds to wait for a Sentinel: one that does not answer delays the next one."""


def sentinel_options(group: SentinelGroup, tls: TlsFiles | None) -> dict[str, Any]:
    """Return redis-py's arguments for a connection to a Sentinel; `tls` None: it is not encrypted."""
    options: dict[str, Any] = {
        "socket_timeout": TIMEOUT_S,
        "socket_connect_timeout": TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),  # redis-py would try for ten seconds before it asks the next one.
        "username": group.user or None,
        "password": group.password or None,
    }
    if tls is not None:
        options |= {"ssl": True, **tls_options(tls)}
    return options


def connect_by_sentinel(group: SentinelGroup, tls: TlsFiles | None, options: dict[str, Any]) -> BrokerClient:
    """Return a client of the current master. Each new connection asks the Sentinels again.

    `options` are redis-py's arguments for a connection to the server.
    """
    # Any: redis-py's types leave out most of it.
    sentinels: Any = _Sentinels(group.nodes, sentinel_kwargs=sentinel_options(group, tls))  # type: ignore[no-untyped-call]
    client: BrokerClient = sentinels.master_for(group.master_name, BrokerClient, **options)
    return client


class _Sentinels(Sentinel):
    """redis-py's client of a group, with errors for people."""

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """Return host and port of the master.

        Raises:
            MasterNotFoundError: no Sentinel names one that is available; says what each replied.
        """
        replies = []
        for client in list(self.sentinels):
            where = client.connection_pool.connection_kwargs
            try:
                masters: Any = client.sentinel_masters()
            except redis.RedisError as error:
                reply = str(error).rstrip(".")
            else:
                state = masters.get(service_name)
                if state is not None and not (state["is_sdown"] or state["is_odown"]):
                    self.sentinels.remove(client)
                    self.sentinels.insert(0, client)  # The next call asks it first.
                    return str(state["ip"]), int(state["port"])
                reply = "it knows no master of this name" if state is None else "the master is down"
            replies.append(f"{netloc(where['host'], where['port'])}: {reply}")
        raise MasterNotFoundError(
            f"no Sentinel names an available master {service_name!r} ({'; '.join(replies)})"
        )
