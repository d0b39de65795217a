"""The dashboard, the alerts and the page about metrics know exactly the metrics that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from passmuster.metrics.table import RUN, WORKER

REPOSITORY = Path(__file__).resolve().parents[3]
DASHBOARD: dict[str, Any] = json.loads((REPOSITORY / "deploy/grafana/passmuster.json").read_text())
RULES: dict[str, Any] = yaml.safe_load((REPOSITORY / "deploy/prometheus/passmuster.rules.yml").read_text())
PAGE = (REPOSITORY / "docs/how-to/monitoring.md").read_text()

METRICS = {table.full_name(metric): metric for table in (RUN, WORKER) for metric in table.metrics}
LABELS = {
    table.full_name(metric): {table.label, metric.label}
    for table in (RUN, WORKER)
    for metric in table.metrics
}

_METRIC = re.compile(r"\b(passmuster_[a-z_]+)(?:\{([^}]*)\})?")
_BY = re.compile(r"by \((\w+)\)")


def queries() -> list[str]:
    of_panels = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    of_variables = [one["query"] for one in DASHBOARD["templating"]["list"] if one["type"] == "query"]
    of_alerts = [rule["expr"] for group in RULES["groups"] for rule in group["rules"]]
    return [*of_panels, *of_variables, *of_alerts]


def test_every_query_is_about_metrics_and_labels_that_exist() -> None:
    assert len(queries()) > 15
    for query in queries():
        found = _METRIC.findall(query)
        assert found, query
        for name, selector in found:
            assert name in METRICS, query
            assert {part.partition("=")[0].rstrip("~!") for part in selector.split(",") if part} <= LABELS[
                name
            ]
            assert set(_BY.findall(query)) <= LABELS[name], query


def test_only_counters_have_a_rate() -> None:
    for query in queries():
        for name in re.findall(r"(?:rate|increase)\((\w+)", query):
            assert name.endswith("_total"), query


def test_the_labels_of_messages_exist() -> None:
    for rule in (rule for group in RULES["groups"] for rule in group["rules"]):
        (name, _), *_ = _METRIC.findall(rule["expr"])
        used = re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"]))
        assert used, rule["alert"]
        assert set(used) <= LABELS[name], rule["alert"]


def test_the_page_lists_each_metric_with_its_type() -> None:
    listed = dict(re.findall(r"^\| `(passmuster_\w+)` \| (counter|gauge) \|", PAGE, re.MULTILINE))

    assert listed == {name: "counter" if metric.is_counter else "gauge" for name, metric in METRICS.items()}
    for name, metric in METRICS.items():
        text = metric.help[0].lower() + metric.help[1:].rstrip(".")
        assert f"| `{name}` | {listed[name]} | {text}" in PAGE
