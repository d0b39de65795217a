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

THIRD_PARTY = {"msgspec", "psutil", "rich"}
"""What else of the outside may be imported: the package's dependencies."""

QUEUE = {"celery", "kombu", "redis"}
QUEUE_PLACES = (
    "passmuster/run_record.py",
    "passmuster/broker_client.py",
    "passmuster/join_record.py",
    "passmuster/broker_access.py",
    "passmuster/tree_store.py",
    "worker/celery_app.py",
    "worker/serving/queue_transport.py",
    "worker/tasks.py",
    "dispatcher/backends/celery_*.py",
)
"""The only places that may load the queue, so that a local run never does."""

WORKFLOW = {"yaml"}
WORKFLOW_PLACES = ("dispatcher/workflow/reading.py",)
"""The only place that may load what reads a workflow: it is installed for `--workflow` alone."""

CHILD_PLACES = ("worker/child/*", "dispatcher/coverage_report/child/*", "dispatcher/discovery/child/*")
"""What runs under the project's interpreter; `test_child_scripts` has its rules."""

IMPURE = {"os", "subprocess", "time", "socket", "threading", "random", "multiprocessing", "asyncio"}

PURE = (
    "dispatcher/again.py",
    "dispatcher/backends/crew.py",
    "dispatcher/backends/queue_book.py",
    "dispatcher/discovery/patterns.py",
    "dispatcher/events.py",
    "dispatcher/file_rules.py",
    "dispatcher/insight/compare.py",
    "dispatcher/insight/explain_json.py",
    "dispatcher/insight/explain_text.py",
    "dispatcher/insight/explanation.py",
    "dispatcher/insight/plan_text.py",
    "dispatcher/insight/prediction.py",
    "dispatcher/insight/regression.py",
    "dispatcher/insight/spread.py",
    "dispatcher/migrate/command_names.py",
    "dispatcher/migrate/references.py",
    "dispatcher/migrate/script_paths.py",
    "dispatcher/migrate/section.py",
    "dispatcher/migrate/shell_words.py",
    "dispatcher/migrate/wrapper.py",
    "dispatcher/join/decisions.py",
    "dispatcher/join/request.py",
    "dispatcher/plan.py",
    "dispatcher/record/proof.py",
    "dispatcher/record/shape.py",
    "dispatcher/record/together.py",
    "dispatcher/report/ci/annotations.py",
    "dispatcher/report/ci/azure.py",
    "dispatcher/report/ci/buildkite.py",
    "dispatcher/report/ci/dialect.py",
    "dispatcher/report/ci/fault_line.py",
    "dispatcher/report/ci/github.py",
    "dispatcher/report/ci/gitlab.py",
    "dispatcher/report/ci/markdown_text.py",
    "dispatcher/report/ci/summary_page.py",
    "dispatcher/report/ci/timeline.py",
    "dispatcher/report/ci/which.py",
    "dispatcher/report/console_format.py",
    "dispatcher/report/console_summary.py",
    "dispatcher/report/failure_text.py",
    "dispatcher/report/html/attempts.py",
    "dispatcher/report/html/axis.py",
    "dispatcher/report/html/files_sections.py",
    "dispatcher/report/html/markup.py",
    "dispatcher/report/html/memory_chart.py",
    "dispatcher/report/html/notes.py",
    "dispatcher/report/html/outputs.py",
    "dispatcher/report/html/overview.py",
    "dispatcher/report/html/samples.py",
    "dispatcher/report/html/table.py",
    "dispatcher/report/html/timeline.py",
    "dispatcher/report/html/told.py",
    "dispatcher/report/isolation_summary.py",
    "dispatcher/report/junit_model.py",
    "dispatcher/report/regression_summary.py",
    "dispatcher/report/summary.py",
    "dispatcher/report/tags.py",
    "dispatcher/run/differences.py",
    "dispatcher/run/findings.py",
    "dispatcher/run/results.py",
    "dispatcher/run/state.py",
    "dispatcher/schedule/figures.py",
    "dispatcher/schedule/forecast.py",
    "dispatcher/schedule/history_merge.py",
    "dispatcher/schedule/lane.py",
    "dispatcher/schedule/line.py",
    "dispatcher/schedule/min_tree.py",
    "dispatcher/schedule/order.py",
    "dispatcher/schedule/record.py",
    "dispatcher/schedule/retry.py",
    "dispatcher/schedule/shard.py",
    "dispatcher/sharding.py",
    "dispatcher/watch/status_text.py",
    "dispatcher/watch/tail_text.py",
    "dispatcher/ways.py",
    "dispatcher/workflow/choose.py",
    "dispatcher/workflow/expressions.py",
    "dispatcher/workflow/job.py",
    "dispatcher/workflow/matrix.py",
    "dispatcher/workflow/node.py",
    "dispatcher/workflow/options.py",
    "dispatcher/workflow/replica.py",
    "dispatcher/workflow/script.py",
    "passmuster/broker.py",
    "passmuster/capacity.py",
    "passmuster/codec.py",
    "passmuster/envelope.py",
    "passmuster/join_scripts.py",
    "passmuster/join_words.py",
    "passmuster/overcommit.py",
    "passmuster/queue_words.py",
    "passmuster/result.py",
    "passmuster/routing.py",
    "passmuster/run_scripts.py",
    "passmuster/run_terms.py",
    "passmuster/server_check.py",
    "passmuster/settings/help.py",
    "passmuster/settings/origins.py",
    "passmuster/settings/relations.py",
    "passmuster/settings/setting.py",
    "passmuster/settings/spelling.py",
    "passmuster/settings/values.py",
    "passmuster/settings/words.py",
    "passmuster/status.py",
    "passmuster/task.py",
    "passmuster/tree_manifest.py",
    "passmuster/units.py",
    "passmuster/version.py",
    "worker/serving/card.py",
    "worker/classify.py",
    "worker/inherited.py",
    "worker/memory_policy.py",
    "worker/warm/choice.py",
    "worker/warm/costs.py",
    "worker/warm/needs.py",
    "worker/warm/source.py",
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
        elif top in OURS and top not in ALLOWED[package]:
            yield line, f"{package} must not import {module}"
        elif top in QUEUE and not _is_at(name, QUEUE_PLACES):
            yield line, f"{top} belongs into {', '.join(QUEUE_PLACES)} alone"
        elif top in WORKFLOW and not _is_at(name, WORKFLOW_PLACES):
            yield line, f"{top} belongs into {', '.join(WORKFLOW_PLACES)} alone"
        elif top == "dataclasses" and not _is_at(name, CHILD_PLACES):
            yield line, "values are Structs of msgspec, and dataclasses takes long to import"
        elif name in PURE and top in IMPURE:
            yield line, f"a pure module must not import {module}"
        elif not _is_at(name, CHILD_PLACES) and not _is_known(top):
            yield line, f"{top} is no dependency of the package"


def _is_at(name: str, places: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatch(name, place) for place in places)


def _is_known(top: str) -> bool:
    return top in sys.stdlib_module_names | OURS | THIRD_PARTY | QUEUE | WORKFLOW


def test_every_import_of_ours_is_allowed() -> None:
    assert violations(REPOSITORY) == []


@pytest.mark.parametrize("name", PURE)
def test_every_module_that_must_be_pure_exists(name: str) -> None:
    assert (REPOSITORY / name).is_file()


@pytest.mark.parametrize(
    ("name", "code", "complaint"),
    [
        ("worker/execute.py", "import dispatcher.plan", "worker must not import dispatcher.plan"),
        ("dispatcher/cli.py", "from worker import execute", "dispatcher must not import worker"),
        ("dispatcher/cli.py", "def f():\n    import worker", "dispatcher must not import worker"),
        ("passmuster/task.py", "import worker", "passmuster must not import worker"),
        ("worker/cli.py", "import run_tests", "worker must not import run_tests"),
        ("worker/execute.py", "from . import errors", "a relative import"),
        ("worker/execute.py", "import celery", "celery belongs into"),
        ("worker/serving/queue_files.py", "import redis", "redis belongs into"),
        ("dispatcher/backends/local.py", "from redis.client import Redis", "redis belongs into"),
        ("passmuster/envelope.py", "import kombu", "kombu belongs into"),
        ("dispatcher/ci_replica.py", "import yaml", "yaml belongs into"),
        ("passmuster/codec.py", "import time", "a pure module must not import time"),
        ("dispatcher/run/state.py", "import time", "a pure module must not import time"),
        ("worker/classify.py", "from os import path", "a pure module must not import os"),
        ("worker/execute.py", "import dataclasses", "values are Structs of msgspec"),
        ("worker/execute.py", "import requests", "requests is no dependency of the package"),
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
        ("worker/tasks.py", "import celery, kombu\nfrom worker.execute import run_single_test"),
        ("dispatcher/backends/celery_queue.py", "import redis"),
        ("passmuster/run_record.py", "import redis"),
        ("dispatcher/run/loop.py", "import time, psutil\nfrom passmuster.task import TestTask"),
        ("worker/child/passmuster_child_x.py", "import coverage, dataclasses"),
    ],
)
def test_an_allowed_import_is_not_found(tmp_path: Path, name: str, code: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_text(code)

    assert violations(tmp_path) == []
