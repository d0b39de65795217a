"""Metrics are exported in Prometheus' format, and what prevents it is one line."""

from __future__ import annotations

import re
import socket
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from passmuster.metrics import exporter as module
from passmuster.metrics.exporter import Exporter, MetricValues
from passmuster.metrics.options import LISTEN, ListenAddress
from passmuster.metrics.table import RUN, WORKER, Metric, MetricTable
from passmuster.model.errors import ConfigurationError, InfrastructureError

SLOTS = Metric(name="slots", help="Slots.")
ENDED = Metric(name="ended_total", help="Ended.", label="status", label_values=("PASS", "FAIL"))
TABLE = MetricTable(prefix="x", label="project", metrics=(SLOTS, ENDED))
ANY_PORT = ListenAddress(host="127.0.0.1", port=0)

Open = Callable[..., Exporter]


@pytest.fixture
def values() -> MetricValues:
    return MetricValues(TABLE, 'a "shop"\n\udcff')


@pytest.fixture
def export(values: MetricValues) -> Iterator[Open]:
    opened: list[Exporter] = []

    def begin(address: ListenAddress | None = None, path: Path | None = None, **others: object) -> Exporter:
        opened.append(Exporter(values, address=address, path=path, **others))  # type: ignore[arg-type]
        return opened[-1]

    yield begin
    for one in opened:
        one.close()


def served(exporter: Exporter) -> str:
    with urllib.request.urlopen(exporter.url, timeout=10) as answer:
        text: bytes = answer.read()
    return text.decode()


def test_metrics_are_served_and_read_anew_for_each_request(values: MetricValues, export: Open) -> None:
    exporter = export(ANY_PORT, refresh=lambda: values.add(SLOTS, 1))
    values.add(ENDED, 2, "PASS")
    values.add(ENDED, 0.5, "PASS")

    first, second = served(exporter), served(exporter)

    project = 'project="a \\"shop\\"\\\\n\\\\xff"'
    assert first.splitlines() == [
        "# HELP x_slots Slots.",
        "# TYPE x_slots gauge",
        f"x_slots{{{project}}} 1.0",
        "# HELP x_ended_total Ended.",
        "# TYPE x_ended_total counter",
        f'x_ended_total{{{project},status="PASS"}} 2.5',
        f'x_ended_total{{{project},status="FAIL"}} 0.0',
    ]
    assert second == first.replace(" 1.0", " 2.0")


def test_only_this_machine_is_served_unless_an_address_is_given(export: Open) -> None:
    address = LISTEN.parse("0")

    assert address == ANY_PORT
    assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+/metrics", export(address).url)


def test_the_port_is_free_again_after_the_end(export: Open) -> None:
    first = export(ANY_PORT)
    port = int(first.url.split(":")[2].split("/")[0])
    first.close()

    assert export(ListenAddress(host="127.0.0.1", port=port)).url == first.url


def test_a_port_in_use_is_named(export: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(
            ConfigurationError, match=rf"^cannot serve metrics at 127\.0\.0\.1:{port} .*in use"
        ):
            export(ListenAddress(host="127.0.0.1", port=port))


@pytest.mark.parametrize("host", ["192.0.2.1", "a..b", "x" * 100])
def test_an_address_that_cannot_be_used_is_named(export: Open, host: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^cannot serve metrics at {host}:0 "):
        export(ListenAddress(host=host, port=0))


def test_the_file_is_replaced_while_the_program_runs(
    values: MetricValues, export: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FILE_EVERY_S", 0.01)
    path = tmp_path / "a.prom"
    exporter = export(path=path, keeps_file=True)
    with path.open() as old:
        values.set(SLOTS, 4)
        until_seen(path, "x_slots{", " 4.0")
        assert "4.0" not in old.read()  # A reader of the old version still has all of it.
    values.set(SLOTS, 5)
    exporter.close()

    assert " 5.0" in path.read_text()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.prom"]


def until_seen(path: Path, *parts: str) -> None:
    while not all(part in path.read_text() for part in parts):
        pass  # The test's own timeout ends it.


def test_the_file_of_a_program_that_has_ended_is_removed(export: Open, tmp_path: Path) -> None:
    path = tmp_path / "a.prom"
    exporter = export(path=path)
    assert path.is_file()

    exporter.close()

    assert not path.exists()


def test_a_file_that_node_exporter_would_not_read_is_refused(export: Open, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"metrics\.txt must end with \.prom"):
        export(path=tmp_path / "metrics.txt")


def test_a_file_that_cannot_be_written_is_named(export: Open, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^cannot write the metrics to '.*/gone/a\.prom' .*No such"):
        export(path=tmp_path / "gone" / "a.prom")


def test_the_last_version_that_cannot_be_written_is_reported(export: Open, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    exporter = export(path=folder / "a.prom", keeps_file=True)
    (folder / "a.prom").unlink()
    folder.rmdir()

    with pytest.raises(InfrastructureError, match=r"^cannot write the metrics"):
        exporter.close()


def test_a_missing_package_is_named(export: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)

    for given in ({"address": ANY_PORT}, {"path": tmp_path / "a.prom"}):
        with pytest.raises(ConfigurationError, match=r"pip install prometheus-client$"):
            export(**given)


def test_nothing_is_imported_unless_metrics_are_exported(values: MetricValues) -> None:
    loaded = {name for name in sys.modules if name.startswith("prometheus_client")}
    for name in loaded:
        del sys.modules[name]

    values.add(SLOTS, 1)

    assert not [name for name in sys.modules if name.startswith("prometheus_client")]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9464", "127.0.0.1:9464"),
        ("0.0.0.0:9464", "0.0.0.0:9464"),
        ("[::]:0", "[::]:0"),
        ("worker-1.example:65535", "worker-1.example:65535"),
    ],
)
def test_addresses_are_read(text: str, address: str) -> None:
    assert str(LISTEN.read(text)) == address


@pytest.mark.parametrize(
    "text",
    ["", "x", "65536", "-1", ":9464", "::1:9464", "localhost", "a b:1", "1:2:3", "[]:1", "[a]:1", "9" * 5000],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a port up to 65535, or ADDRESS:PORT"):
        LISTEN.read(text)


@pytest.mark.parametrize("table", [RUN, WORKER], ids=lambda table: table.label)
def test_names_follow_the_conventions_of_prometheus(table: MetricTable) -> None:
    assert len({metric.name for metric in table.metrics}) == len(table.metrics)
    for metric in table.metrics:
        assert re.fullmatch(r"passmuster_(run|worker)_[a-z_]+", table.full_name(metric))
        assert metric.help.endswith(".")
