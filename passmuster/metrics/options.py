"""The options for metrics, which every program names alike."""

from __future__ import annotations

import re

from msgspec import Struct

from passmuster.settings.values import ValueType

LOOPBACK = "127.0.0.1"
MAX_PORT = 65535
METRICS_SUMMARY = "serve metrics for Prometheus at this port of the loopback address, or at ADDRESS:PORT"
METRICS_FILE_SUMMARY = "write metrics to this file for the textfile collector of node_exporter"

_LISTEN = re.compile(r"(?:(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):)?(?P<port>[0-9]{1,5})")


class ListenAddress(Struct, frozen=True, kw_only=True):
    """Where a server listens."""

    host: str
    port: int  # 0: any free one

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _parse_listen(text: str) -> ListenAddress | None:
    found = _LISTEN.fullmatch(text.strip())
    if found is None or int(found["port"]) > MAX_PORT:
        return None
    return ListenAddress(host=(found["host"] or LOOPBACK).strip("[]"), port=int(found["port"]))


LISTEN = ValueType(
    parse=_parse_listen,
    expected=f"a port up to {MAX_PORT}, or ADDRESS:PORT, such as 9464 or 0.0.0.0:9464",
    metavar="[ADDRESS:]PORT",
)
