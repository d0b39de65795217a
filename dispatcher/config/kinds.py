"""The value kinds that only the configuration of a run has: the shard and the report."""

from __future__ import annotations

from dispatcher.model.shard_option import ALLOWED as SHARDS_ALLOWED
from dispatcher.model.shard_option import Shard, read_shard
from passmuster.settings.values import Kind, Value, quoted

IN_RUN = ""
"""The default place of a report: the directory of its own run."""

AUTO_SHARD = Shard(number=0, total=0)
"""Stands for the shard that the CI's variables name, until they were read."""


def _read_shard(text: str) -> Value:
    return read_shard(text) or AUTO_SHARD


def _read_report(text: str) -> str:
    form, is_placed, path = text.strip().partition("=")
    if form.lower() != "html" or "\0" in path or (is_placed and not path):
        raise ValueError(f"expected {REPORT.allowed}, got {quoted(text)}")
    return path or IN_RUN


SHARD = Kind(read=_read_shard, allowed=SHARDS_ALLOWED, metavar="I/N")
REPORT = Kind(
    read=_read_report, allowed="html, or html=PATH", metavar="html[=PATH]", is_path=True, is_output=True
)
