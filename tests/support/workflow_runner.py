"""Runs a GitHub workflow on this machine, for tests: exactly the features that our examples use.

A checkout is a fresh clone, a Python that is set up is one environment for all, artifacts and caches are
folders. Whatever is not known here fails the test.
"""

from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from dispatcher.replica.reading import parse_yaml
from tests.support.ci_place import JobLog, Place, UnknownFeatureError, copy, files_at, only_known
from tests.support.workflow_expressions import Scope

_WORKFLOW = {"name", "on", "permissions", "concurrency", "env", "jobs"}
_JOB = {
    *("name", "needs", "if", "runs-on", "timeout-minutes", "strategy", "env", "steps"),
    *("permissions",),
}
_STEP = {"name", "if", "uses", "with", "run", "env"}
_INPUTS = {
    "actions/checkout": {"persist-credentials", "fetch-depth"},
    "actions/setup-python": {"python-version"},
    "actions/upload-artifact": {
        *("name", "path", "if-no-files-found", "overwrite", "include-hidden-files", "retention-days"),
    },
    "actions/download-artifact": {"pattern", "path", "merge-multiple"},
    "actions/cache/restore": {"path", "key", "restore-keys"},
    "actions/cache/save": {"path", "key"},
}


@dataclass(kw_only=True)
class Run:
    """One run of a workflow.

    Args:
        place: where it runs.
        number: its number.
        attempt: which attempt at it this is.
        secrets: the repository's secrets.
        vanished: jobs whose machine is lost before their first step, as (name, number).
    """

    place: Place
    number: str = "1"
    attempt: int = 1
    secrets: Mapping[str, str] = field(default_factory=dict)
    vanished: frozenset[tuple[str, int]] = frozenset()
    logs: dict[str, list[JobLog]] = field(default_factory=dict)

    def run(self, path: Path) -> dict[str, list[JobLog]]:
        """Run all jobs of a workflow; return what became of each, by name."""
        workflow: Any = parse_yaml(path.read_bytes(), name=str(path))
        only_known("workflow", workflow, _WORKFLOW)
        before, self.logs = self.logs, {}
        waiting = dict(workflow["jobs"])
        while waiting:
            name = next(name for name, job in waiting.items() if set(_needs(job)) <= self.logs.keys())
            job = waiting.pop(name)
            is_new = any(log not in before.get(need, []) for need in _needs(job) for log in self.logs[need])
            old = [] if is_new else [log for log in before.get(name, []) if log.result == "success"]
            self._run_all(name, job, workflow.get("env") or {}, {log.name: log for log in old})
        return self.logs

    def run_failed_again(self, path: Path) -> None:
        """Run what failed, and what needs it, once more."""
        self.attempt += 1
        self.run(path)

    def _run_all(self, name: str, job: Any, env: Mapping[str, object], old: Mapping[str, JobLog]) -> None:
        """Run all combinations of a job at once, as CI does, but for those whose log is still good."""
        only_known(f"job {name}", job, _JOB)
        matrix = _combinations(job.get("strategy") or {})
        makers = [
            _Job(
                run=self,
                name=name,
                job=job,
                env=env,
                index=index,
                values={
                    "github.run_id": self.number,
                    "github.run_attempt": str(self.attempt),
                    **{f"secrets.{key}": value for key, value in self.secrets.items()},
                    **{f"needs.{need}.result": result_of(self.logs[need]) for need in _needs(job)},
                    **{f"matrix.{key}": str(value) for key, value in combination.items()},
                    "strategy.job-index": str(index),
                    "strategy.job-total": str(len(matrix)),
                },
            )
            for index, combination in enumerate(matrix)
        ]
        with ThreadPoolExecutor(max_workers=len(makers)) as pool:
            self.logs[name] = list(pool.map(lambda one: old.get(one.log_name) or one.run_steps(), makers))


def result_of(logs: list[JobLog]) -> str:
    """Return the result of all combinations of a job together."""
    results = {log.result for log in logs}
    return "failure" if "failure" in results else "skipped" if "skipped" in results else "success"


def _needs(job: Any) -> list[str]:
    needs = job.get("needs") or []
    return [needs] if isinstance(needs, str) else needs


def _combinations(strategy: Any) -> list[dict[str, object]]:
    only_known("strategy", strategy, {"fail-fast", "matrix"})
    matrix: dict[str, list[object]] = strategy.get("matrix") or {}
    if {"include", "exclude"} & matrix.keys():
        raise UnknownFeatureError("matrix: include, exclude")
    return [dict(zip(matrix, values, strict=True)) for values in itertools.product(*matrix.values())]


@dataclass(kw_only=True)
class _Job:
    """One combination of a job, on a machine of its own."""

    run: Run
    name: str
    job: Any
    env: Mapping[str, object]
    index: int
    values: dict[str, str]
    has_failed: bool = False
    path: str = field(default_factory=lambda: os.environ["PATH"])
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def log_name(self) -> str:
        return f"{self.name} {self.index}"

    def run_steps(self) -> JobLog:
        log = JobLog(name=self.log_name)
        place = self.run.place
        has_bad_need = any(self.values[f"needs.{need}.result"] != "success" for need in _needs(self.job))
        if not Scope(values=self.values, has_failed=has_bad_need).condition(self.job.get("if")):
            log.result = "skipped"
            return log
        if (self.name, self.index) in self.run.vanished:
            log.result = "failure"
            return log
        machine = place.folder(f"{self.name}-{self.index}")
        workspace = machine / "workspace"
        workspace.mkdir()
        for name in ("home", "temp"):
            (machine / name).mkdir()
        summary = machine / "summary.md"
        summary.touch()
        environ = {
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_WORKSPACE": str(workspace),
            "GITHUB_STEP_SUMMARY": str(summary),
            "GITHUB_RUN_ID": self.run.number,
            "GITHUB_RUN_ATTEMPT": str(self.run.attempt),
            "GITHUB_JOB": self.name,
            "RUNNER_TEMP": str(machine / "temp"),
            "TMPDIR": str(machine / "temp"),
            "HOME": str(machine / "home"),
            "XDG_RUNTIME_DIR": str(machine / "home"),
            "LANG": "C.UTF-8",
        }
        self.values["github.workspace"] = str(workspace)
        for level in (self.env, self.job.get("env") or {}):
            environ |= self._set(level)
        for step in self.job["steps"]:
            only_known(f"a step of {self.name}", step, _STEP)
            if not Scope(values=self.values, has_failed=self.has_failed).condition(step.get("if")):
                continue
            said = self._step(step, workspace, environ)
            log.output += said
        log.result = "failure" if self.has_failed else "success"
        log.summary = summary.read_text(encoding="utf-8")
        return log

    def _text(self, value: object) -> str:
        return Scope(values=self.values, has_failed=self.has_failed).text(value)

    def _set(self, level: Mapping[str, object]) -> dict[str, str]:
        found = {name: self._text(value) for name, value in level.items()}
        self.values |= {f"env.{name}": value for name, value in found.items()}
        return found

    def _step(self, step: Any, workspace: Path, environ: Mapping[str, str]) -> str:
        """Do a step; return what it printed."""
        if "uses" in step:
            action, _, _ = str(step["uses"]).partition("@")
            inputs = step.get("with") or {}
            if action not in _INPUTS:
                raise UnknownFeatureError(f"action: {action}")
            only_known(action, inputs, _INPUTS[action])
            status, said = self._act(
                action, {name: self._text(value) for name, value in inputs.items()}, workspace
            )
        else:
            own = {name: self._text(value) for name, value in (step.get("env") or {}).items()}
            script = self._text(step["run"])
            everything = {**environ, **self.extra, **own, "PATH": self.path}
            status, said = self.run.place.run(script, cwd=workspace, environ=everything)
        if status:
            self.has_failed = True
        title = step.get("name") or step.get("uses") or shlex.join(str(step["run"]).split()[:4])
        return f"== {title} (exit status {status})\n{said}\n"

    def _act(self, action: str, inputs: Mapping[str, str], workspace: Path) -> tuple[int, str]:
        place = self.run.place
        paths = inputs.get("path", "").split()
        match action:
            case "actions/checkout":
                place.clone(workspace)
            case "actions/setup-python":
                self.path = f"{place.python}{os.pathsep}{self.path}"
                # The project's own interpreter; with CI's it is the only one that there is.
                self.extra["VIRTUAL_ENV"] = str(place.python.parent)
            case "actions/upload-artifact":
                return self._upload(inputs, workspace, paths)
            case "actions/download-artifact":
                if inputs.get("merge-multiple") != "true":
                    raise UnknownFeatureError("download-artifact without merge-multiple")
                for name, folder in sorted(place.artifacts.items()):
                    if fnmatch(name, inputs["pattern"]):
                        copy(files_at(folder), folder, workspace / inputs["path"])
            case "actions/cache/restore":
                keys = [inputs["key"], *inputs.get("restore-keys", "").split()]
                place.restore_cache(keys, workspace, paths)
            case "actions/cache/save":
                place.save_cache(inputs["key"], workspace, paths)
        return 0, ""

    def _upload(self, inputs: Mapping[str, str], workspace: Path, paths: list[str]) -> tuple[int, str]:
        place, name = self.run.place, inputs["name"]
        if name in place.artifacts and inputs.get("overwrite") != "true":
            return 1, f"an artifact {name} exists already"
        hidden = inputs.get("include-hidden-files") == "true"
        if place.save_artifact(name, workspace, paths, hidden=hidden):
            return 0, ""
        return int(inputs.get("if-no-files-found") == "error"), "no files were found"
