"""Celery settings that dispatcher and workers share; the reasons are in docs/explanation/decisions.md."""

from __future__ import annotations

from urllib.parse import quote

from passmuster.wire.broker import BrokerAddress, netloc, read_address
from passmuster.wire.broker_keys import PREFIX, PRIORITY_STEPS
from passmuster.wire.sentinel import sentinel_options
from passmuster.wire.tls import tls_options

SOCKET_S = 10
"""Seconds to wait for a reply that Celery's own thread waits for; meanwhile it accepts no message."""

CONNECT_S = 5

HEALTH_CHECK_S = 5
"""Seconds between two checks of the connection that waits for messages. One that does not answer is closed
after 5 to 10 s (kombu/transport/redis.py, `maybe_check_brpop_health`, 5.7.0)."""


def shared_settings(url: str) -> dict[str, object]:
    """Return the settings of an application that publishes or consumes; `url` contains the password."""
    address = read_address(url)
    url = _celery_url(address)
    return {
        # Both, and not `broker_url`: variables of the environment override that.
        "broker_read_url": url,
        "broker_write_url": url,
        # Not in the address: `rediss://` alone is not encrypted at all (kombu/transport/redis.py, 5.7.0).
        "broker_use_ssl": None if address.tls is None else tls_options(address.tls),
        "broker_transport_options": {
            **_sentinel_options(address),
            "global_keyprefix": PREFIX,
            "priority_steps": list(PRIORITY_STEPS),
            # The broker does not keep unacknowledged messages: leases detect the files of a killed worker,
            # and kombu's own keys (`unacked`) would outlive the worker and the run.
            "ack_emulation": False,
            "socket_timeout": SOCKET_S,
            "socket_connect_timeout": CONNECT_S,
            "socket_keepalive": True,
            "health_check_interval": HEALTH_CHECK_S,
        },
        "accept_content": ["json"],
        "task_serializer": "json",
        "task_ignore_result": True,
        "task_create_missing_queues": False,
        "control_exchange": "pm",
    }


def _sentinel_options(address: BrokerAddress) -> dict[str, object]:
    """Return kombu's options for Sentinel; none for the address of a server."""
    group = address.sentinel
    if group is None:
        return {}
    return {
        "master_name": group.master_name,
        "sentinel_kwargs": sentinel_options(group, address.tls),
    }


def _celery_url(address: BrokerAddress) -> str:
    """Return the address as Celery parses it, which gives unencoded characters another meaning."""
    login = f"{quote(address.user, safe='')}:{quote(address.password, safe='')}@" if address.password else ""
    if address.sentinel is not None:
        # In full for each: kombu tries them in turn, each as an address of its own.
        nodes = (f"sentinel://{login}{netloc(*node)}/{address.database}" for node in address.sentinel.nodes)
        return ";".join(nodes)
    if address.path:
        return f"redis+socket://{login}{quote(address.path)}?virtual_host={address.database}"
    scheme = "redis" if address.tls is None else "rediss"
    return f"{scheme}://{login}{netloc(address.host, address.port)}/{address.database}"
