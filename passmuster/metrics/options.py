"""The options for metrics, which every program names alike."""

from __future__ import annotations

from msgspec import Struct

from passmuster.settings.values import ValueType

LOOPBACK = "127.0.0.1"
MAX_PORT = 65535
METRICS_SUMMARY = "serve metrics for Prometheus at this port of the loopback address, or at ADDRESS:PORT"
METRICS_FILE_SUMMARY = "write metrics to this file for the textfile collector of node_exporter"


class ListenAddress(Struct, frozen=True, kw_only=True):
    """Where a server listens."""

    host: str
    port: int  # 0: any free one

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _parse_listen(text: str) -> ListenAddress | None:
    host, separator, port = text.strip().rpartition(":")
    is_number = port.isascii() and port.isdecimal() and len(port) <= len(str(MAX_PORT))
    if not is_number or int(port) > MAX_PORT:
        return None
    is_ipv6 = host.startswith("[") and host.endswith("]")
    name = host[1:-1] if is_ipv6 else host
    if (":" in name) is not is_ipv6 or bool(name) is not bool(separator) or len(name.split()) > 1:
        return None
    return ListenAddress(host=name or LOOPBACK, port=int(port))


LISTEN = ValueType(
    parse=_parse_listen,
    expected=f"a port up to {MAX_PORT}, or ADDRESS:PORT, such as 9464 or 0.0.0.0:9464",
    metavar="[ADDRESS:]PORT",
)
