"""Who may import whom. Every import counts, wherever in a file it stands."""

from __future__ import annotations

import ast
import fnmatch
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

ALLOWED = {
    "passmuster": {"passmuster"},
    "worker": {"worker", "passmuster"},
    "dispatcher": {"dispatcher", "passmuster"},
}
"""What of ours each package may import."""

OURS = {*ALLOWED, "run_tests", "run_ci_replica"}

API = "passmuster/api.py"
"""The one module of a package that may import everything of ours: it shows names of all packages."""

THIRD_PARTY = {"msgspec", "psutil", "rich"}
"""What else of the outside may be imported: the package's dependencies."""

QUEUE = {"celery", "kombu", "redis"}
QUEUE_PLACES = (
    "dispatcher/queue/publisher.py",
    "passmuster/celery.py",
    "passmuster/source/store.py",
    "passmuster/wire/access.py",
    "passmuster/wire/broker_client.py",
    "passmuster/wire/join_store.py",
    "passmuster/wire/run_store.py",
    "passmuster/wire/sentinel.py",
    "worker/queue/celery_app.py",
    "worker/queue/transport.py",
)
"""The only places that may load the queue, so that a local run never does."""

WORKFLOW = {"yaml"}
WORKFLOW_PLACES = ("dispatcher/replica/reading.py",)
"""The only place that may load what reads a workflow: it is installed for `--workflow` alone."""

NOTIFICATIONS = {"watchfiles"}
NOTIFICATION_PLACES = ("dispatcher/watch/changes.py",)
"""The only place that may load what notifies of changes: it is installed for `watch` alone."""

METRICS = {"prometheus_client"}
METRICS_PLACES = ("passmuster/metrics/exporter.py",)
"""The only place that may load the format of Prometheus: it is installed for `--metrics` alone."""

TEMPLATES = {"jinja2", "markupsafe"}
TEMPLATE_PLACES = (
    "dispatcher/reporters/templates.py",
    "dispatcher/reporters/html/reporter.py",
)
"""The only places that may load Jinja2, and only inside functions: its import takes 50 ms."""

CHILD_PLACES = ("worker/child/*", "dispatcher/coverage/child/*", "dispatcher/discovery/child/*")
"""What runs under the project's interpreter; `test_child_scripts` has its rules."""

IMPURE = {"os", "subprocess", "time", "socket", "threading", "random", "multiprocessing", "asyncio"}

PURE = (
    "dispatcher/config/overrides.py",
    "dispatcher/discovery/patterns.py",
    "dispatcher/engine/retry.py",
    "dispatcher/engine/state.py",
    "dispatcher/history/file_history.py",
    "dispatcher/history/merge.py",
    "dispatcher/history/regressions.py",
    "dispatcher/insight/explain_report.py",
    "dispatcher/insight/explanation.py",
    "dispatcher/insight/plan_report.py",
    "dispatcher/insight/prediction.py",
    "dispatcher/join/election.py",
    "dispatcher/join/run_request.py",
    "dispatcher/merge/combine.py",
    "dispatcher/merge/record_check.py",
    "dispatcher/merge/record_format.py",
    "dispatcher/migrate/names.py",
    "dispatcher/migrate/references.py",
    "dispatcher/migrate/section.py",
    "dispatcher/migrate/command_context.py",
    "dispatcher/migrate/script_path.py",
    "dispatcher/migrate/shell_call.py",
    "dispatcher/model/events.py",
    "dispatcher/model/invocation.py",
    "dispatcher/model/plan.py",
    "dispatcher/model/rerun_reason.py",
    "dispatcher/model/results.py",
    "dispatcher/model/usage_stats.py",
    "dispatcher/planning/isolation_policy.py",
    "dispatcher/planning/order.py",
    "dispatcher/planning/ready_queue.py",
    "dispatcher/planning/shard_assignment.py",
    "dispatcher/planning/shard_selection.py",
    "dispatcher/planning/simulation.py",
    "dispatcher/queue/delivery_tracker.py",
    "dispatcher/queue/worker_registry.py",
    "dispatcher/replica/choose.py",
    "dispatcher/replica/command_kind.py",
    "dispatcher/replica/expressions.py",
    "dispatcher/replica/job.py",
    "dispatcher/replica/matrix.py",
    "dispatcher/replica/node.py",
    "dispatcher/replica/options.py",
    "dispatcher/replica/script.py",
    "dispatcher/replica/step.py",
    "dispatcher/replica/workflow_command.py",
    "dispatcher/reporters/ci/annotations.py",
    "dispatcher/reporters/console/lines.py",
    "dispatcher/reporters/console/summary.py",
    "dispatcher/reporters/console/totals.py",
    "dispatcher/reporters/failure_text.py",
    "dispatcher/reporters/html/data.py",
    "dispatcher/reporters/html/entries.py",
    "dispatcher/reporters/html/report_model.py",
    "dispatcher/reporters/junit_model.py",
    "dispatcher/terminal/tags.py",
    "dispatcher/watch/events.py",
    "passmuster/host/capacity.py",
    "passmuster/model/oversubscription.py",
    "passmuster/model/result.py",
    "passmuster/model/status.py",
    "passmuster/model/task.py",
    "passmuster/model/text.py",
    "passmuster/model/units.py",
    "passmuster/model/version.py",
    "passmuster/settings/completion.py",
    "passmuster/settings/help.py",
    "passmuster/settings/origins.py",
    "passmuster/settings/relations.py",
    "passmuster/settings/setting.py",
    "passmuster/settings/spelling.py",
    "passmuster/settings/values.py",
    "passmuster/settings/argument_parser.py",
    "passmuster/source/manifest.py",
    "passmuster/wire/access.py",
    "passmuster/wire/broker.py",
    "passmuster/wire/broker_keys.py",
    "passmuster/wire/broker_messages.py",
    "passmuster/wire/codec.py",
    "passmuster/wire/envelope.py",
    "passmuster/wire/join_messages.py",
    "passmuster/wire/run_spec.py",
    "worker/budget/inherited.py",
    "worker/budget/memory_policy.py",
    "worker/executor/classify.py",
    "worker/forkserver/import_sets.py",
    "worker/forkserver/module_costs.py",
    "worker/forkserver/source.py",
    "worker/forkserver/file_imports.py",
)
"""Modules that decide and do nothing: the clock and randomness come to them as arguments."""


def imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the line and the full name of each module that a file imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or "")


def violations(root: Path) -> list[str]:
    """Return each forbidden import of the packages below `root`, as `file:line: what is wrong`."""
    found: list[str] = []
    for package in ALLOWED:
        for path in sorted((root / package).rglob("*.py")):
            name = path.relative_to(root).as_posix()
            tree = ast.parse(path.read_bytes(), filename=name)
            found.extend(f"{name}:{line}: {text}" for line, text in _wrong_imports(name, tree))
    return found


def _wrong_imports(name: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    package = name.partition("/")[0]
    for line, module in imported(tree):
        top = module.partition(".")[0]
        if module.startswith("."):
            yield line, "a relative import"
        elif top in OURS and top not in ALLOWED[package] and name != API:
            yield line, f"{package} must not import {module}"
        elif top in QUEUE and not _is_at(name, QUEUE_PLACES):
            yield line, f"{top} belongs into {', '.join(QUEUE_PLACES)} alone"
        elif top in WORKFLOW and not _is_at(name, WORKFLOW_PLACES):
            yield line, f"{top} belongs into {', '.join(WORKFLOW_PLACES)} alone"
        elif top in METRICS and not _is_at(name, METRICS_PLACES):
            yield line, f"{top} belongs into {', '.join(METRICS_PLACES)} alone"
        elif top in NOTIFICATIONS and not _is_at(name, NOTIFICATION_PLACES):
            yield line, f"{top} belongs into {', '.join(NOTIFICATION_PLACES)} alone"
        elif top in TEMPLATES and not _is_at(name, TEMPLATE_PLACES):
            yield line, f"{top} belongs into {', '.join(TEMPLATE_PLACES)} alone"
        elif top == "dataclasses" and not _is_at(name, CHILD_PLACES):
            yield line, "values are Structs of msgspec, and dataclasses takes long to import"
        elif name in PURE and top in IMPURE:
            yield line, f"a pure module must not import {module}"
        elif not _is_at(name, CHILD_PLACES) and not _is_known(top):
            yield line, f"{top} is no dependency of the package"


def _is_at(name: str, places: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatch(name, place) for place in places)


def _is_known(top: str) -> bool:
    known = OURS | THIRD_PARTY | QUEUE | WORKFLOW | METRICS | NOTIFICATIONS | TEMPLATES
    return top in sys.stdlib_module_names | known


def test_every_import_of_ours_is_allowed() -> None:
    assert violations(REPOSITORY) == []


@pytest.mark.parametrize("name", PURE)
def test_every_module_that_must_be_pure_exists(name: str) -> None:
    assert (REPOSITORY / name).is_file()


@pytest.mark.parametrize(
    ("name", "code", "complaint"),
    [
        (
            "worker/executor/local.py",
            "import dispatcher.model.plan",
            "worker must not import dispatcher.model.plan",
        ),
        ("dispatcher/cli/main.py", "from worker import execute", "dispatcher must not import worker"),
        ("dispatcher/cli/main.py", "def f():\n    import worker", "dispatcher must not import worker"),
        ("passmuster/model/task.py", "import worker", "passmuster must not import worker"),
        ("worker/queue/cli.py", "import run_tests", "worker must not import run_tests"),
        ("worker/executor/local.py", "from . import errors", "a relative import"),
        ("worker/executor/local.py", "import celery", "celery belongs into"),
        ("worker/queue/task_handler.py", "import redis", "redis belongs into"),
        ("dispatcher/engine/local.py", "from redis.client import Redis", "redis belongs into"),
        ("passmuster/wire/envelope.py", "import kombu", "kombu belongs into"),
        ("dispatcher/replica/ci_replica.py", "import yaml", "yaml belongs into"),
        ("worker/queue/metrics.py", "import prometheus_client", "prometheus_client belongs into"),
        ("dispatcher/watch/session.py", "import watchfiles", "watchfiles belongs into"),
        ("passmuster/wire/codec.py", "import time", "a pure module must not import time"),
        ("dispatcher/engine/state.py", "import time", "a pure module must not import time"),
        ("worker/executor/classify.py", "from os import path", "a pure module must not import os"),
        ("worker/executor/local.py", "import dataclasses", "values are Structs of msgspec"),
        ("worker/executor/local.py", "import requests", "requests is no dependency of the package"),
    ],
)
def test_a_forbidden_import_is_found(tmp_path: Path, name: str, code: str, complaint: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_text(code)

    [found] = violations(tmp_path)

    assert found.startswith(f"{name}:")
    assert complaint in found


@pytest.mark.parametrize(
    ("name", "code"),
    [
        (
            "worker/queue/celery_app.py",
            "import celery, kombu\nfrom worker.executor.local import run_single_test",
        ),
        ("dispatcher/queue/publisher.py", "import redis"),
        ("passmuster/wire/run_store.py", "import redis"),
        ("dispatcher/engine/loop.py", "import time, psutil\nfrom passmuster.model.task import TestTask"),
        ("worker/child/passmuster_child_x.py", "import coverage, dataclasses"),
    ],
)
def test_an_allowed_import_is_not_found(tmp_path: Path, name: str, code: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_text(code)

    assert violations(tmp_path) == []
