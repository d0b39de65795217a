"""Runs a GitHub workflow on this machine, for tests: exactly the features that our examples use.

A checkout is a fresh clone, a Python that is set up is one environment for all, artifacts and caches are
folders. Passmuster's own repository is the one with this file. Whatever is not known here fails the test.
"""

from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from dispatcher.replica.reading import parse_yaml
from tests.support.ci_place import JobLog, Place, UnknownFeatureError, copy, files_at, only_known
from tests.support.workflow_expressions import Scope

REPOSITORY = Path(__file__).resolve().parents[2]
OURS = "you/passmuster"
"""The name of this repository in the examples."""

_WORKFLOW = {"name", "on", "permissions", "concurrency", "env", "jobs"}
_JOB = {
    *("name", "needs", "if", "runs-on", "timeout-minutes", "strategy", "env", "steps"),
    *("permissions", "outputs", "uses", "with"),
}
_STEP = {"name", "id", "if", "uses", "with", "run", "env", "shell"}
_INPUTS = {
    "actions/checkout": {"persist-credentials", "fetch-depth", "repository", "ref", "path"},
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
        before, self.logs = self.logs, {}
        waiting = dict(_planned_jobs(path, {}))
        while waiting:
            name = next(name for name, plan in waiting.items() if set(_needs(plan.job)) <= self.logs.keys())
            plan = waiting.pop(name)
            needs = _needs(plan.job)
            is_new = any(log not in before.get(need, []) for need in needs for log in self.logs[need])
            old = [] if is_new else [log for log in before.get(name, []) if log.result == "success"]
            self._run_all(name, plan, {log.name: log for log in old})
        return self.logs

    def run_failed_again(self, path: Path) -> None:
        """Run what failed, and what needs it, once more."""
        self.attempt += 1
        self.run(path)

    def _run_all(self, name: str, plan: _PlannedJob, old: Mapping[str, JobLog]) -> None:
        """Run all combinations of a job at once, as CI does, but for those whose log is still good."""
        only_known(f"job {name}", plan.job, _JOB)
        values = {
            "github.run_id": self.number,
            "github.run_attempt": str(self.attempt),
            "job.workflow_repository": OURS,
            "job.workflow_sha": "the commit",
            **{f"inputs.{key}": value for key, value in plan.inputs.items()},
            **{f"secrets.{key}": value for key, value in self.secrets.items()},
        }
        for need in _needs(plan.job):
            values[f"needs.{need}.result"] = result_of(self.logs[need])
            for key, value in self.logs[need][0].outputs.items():
                values[f"needs.{need}.outputs.{key}"] = value
        matrix = _combinations(plan.job.get("strategy") or {}, values)
        makers = [
            _Job(
                run=self,
                name=name,
                job=plan.job,
                env=plan.env,
                index=index,
                values={
                    **values,
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
    return next((word for word in ("failure", "cancelled", "skipped") if word in results), "success")


@dataclass(frozen=True, kw_only=True)
class _PlannedJob:
    """A job, and what its workflow gives it."""

    job: Any
    env: Mapping[str, object]
    inputs: Mapping[str, str]


def _planned_jobs(path: Path, inputs: Mapping[str, str]) -> Iterator[tuple[str, _PlannedJob]]:
    """Yield the jobs of a workflow; in the place of one that calls a workflow, the jobs of that one."""
    workflow: Any = parse_yaml(path.read_bytes(), name=str(path))
    only_known("workflow", workflow, _WORKFLOW)
    for name, job in workflow["jobs"].items():
        if "uses" not in job:
            yield name, _PlannedJob(job=job, env=workflow.get("env") or {}, inputs=inputs)
            continue
        only_known(f"job {name}", job, {"uses", "with"})
        called = REPOSITORY / str(job["uses"]).removeprefix(f"{OURS}/").partition("@")[0]
        known = parse_yaml(called.read_bytes(), name=str(called))["on"]["workflow_call"]["inputs"]  # type: ignore[index]
        yield from _planned_jobs(called, inputs_of(known, job.get("with") or {}))


def inputs_of(known: Mapping[str, Mapping[str, object]], given: Mapping[str, object]) -> dict[str, str]:
    """Return the inputs of a reusable workflow or an action as texts, with its defaults."""
    only_known("inputs", given, set(known))
    values = {name: given.get(name, known[name].get("default")) for name in known}
    assert None not in values.values(), f"an input without a value and a default: {values}"
    return {name: Scope(values={}).text(value) for name, value in values.items()}


def _needs(job: Any) -> list[str]:
    needs = job.get("needs") or []
    return [needs] if isinstance(needs, str) else needs


def _combinations(strategy: Any, values: Mapping[str, str]) -> list[dict[str, object]]:
    only_known("strategy", strategy, {"fail-fast", "matrix"})
    matrix: dict[str, list[object]] = {
        name: Scope(values=values).items(axis) if isinstance(axis, str) else axis
        for name, axis in (strategy.get("matrix") or {}).items()
    }
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
    is_cancelled: bool = False
    can_cancel: bool = True
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
        # A job that starts after the cancellation does so because of its `if`, and goes on.
        self.can_cancel = not place.is_cancelled
        machine = place.folder(f"{self.name}-{self.index}")
        workspace = machine / "workspace"
        workspace.mkdir()
        for name in ("home", "temp"):
            (machine / name).mkdir()
        summary, outputs = machine / "summary.md", machine / "outputs"
        summary.touch()
        outputs.touch()
        environ = {
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_WORKSPACE": str(workspace),
            "GITHUB_STEP_SUMMARY": str(summary),
            "GITHUB_OUTPUT": str(outputs),
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
        log.output = self._steps(self.job["steps"], workspace, environ)
        log.result = "cancelled" if self.is_cancelled else "failure" if self.has_failed else "success"
        log.summary = summary.read_text(encoding="utf-8")
        log.outputs = {name: self._text(value) for name, value in (self.job.get("outputs") or {}).items()}
        return log

    def _steps(self, steps: Any, workspace: Path, environ: Mapping[str, str]) -> str:
        """Do all steps of a job or an action; return what they printed."""
        said = ""
        for step in steps:
            only_known(f"a step of {self.name}", step, _STEP)
            if self._scope.condition(step.get("if")):
                said += self._step(step, workspace, environ)
        return said

    @property
    def _scope(self) -> Scope:
        return Scope(values=self.values, has_failed=self.has_failed, is_cancelled=self.is_cancelled)

    def _text(self, value: object) -> str:
        return self._scope.text(value)

    def _set(self, level: Mapping[str, object]) -> dict[str, str]:
        found = {name: self._text(value) for name, value in level.items()}
        self.values |= {f"env.{name}": value for name, value in found.items()}
        return found

    def _step(self, step: Any, workspace: Path, environ: Mapping[str, str]) -> str:
        """Do a step; return what it printed."""
        if "uses" in step:
            action, _, _ = str(step["uses"]).partition("@")
            inputs = step.get("with") or {}
            if action.startswith((OURS, "./")):
                folder = workspace / action if action.startswith("./") else REPOSITORY
                return self._composite(folder, inputs, workspace, environ)
            if action not in _INPUTS:
                raise UnknownFeatureError(f"action: {action}")
            only_known(action, inputs, _INPUTS[action])
            status, said = self._act(
                action, {name: self._text(value) for name, value in inputs.items()}, workspace
            )
        else:
            only_known("shell", {str(step.get("shell", "bash")): step}, {"bash"})
            own = {name: self._text(value) for name, value in (step.get("env") or {}).items()}
            script = self._text(step["run"])
            everything = {**environ, **self.extra, **own, "PATH": self.path}
            place = self.run.place
            status, said = place.run(script, cwd=workspace, environ=everything, can_cancel=self.can_cancel)
            outputs = Path(environ["GITHUB_OUTPUT"])
            for line in outputs.read_text(encoding="utf-8").splitlines():
                name, _, value = line.partition("=")
                self.values[f"steps.{step['id']}.outputs.{name}"] = value
            outputs.write_text("", encoding="utf-8")
        if status:
            self.has_failed = True
            self.is_cancelled |= self.can_cancel and self.run.place.is_cancelled
        title = step.get("name") or step.get("uses") or shlex.join(str(step["run"]).split()[:4])
        return f"== {title} (exit status {status})\n{said}\n"

    def _composite(
        self, folder: Path, inputs: Mapping[str, object], workspace: Path, environ: Mapping[str, str]
    ) -> str:
        """Do the steps of an action that lies in a folder, with its inputs in the place of the job's own."""
        action: Any = parse_yaml((folder / "action.yml").read_bytes(), name=str(folder))
        given = {name: self._text(value) for name, value in inputs.items()}
        outside = self.values
        self.values = {name: value for name, value in outside.items() if not name.startswith("inputs.")}
        self.values |= {f"inputs.{name}": value for name, value in inputs_of(action["inputs"], given).items()}
        said = self._steps(action["runs"]["steps"], workspace, {**environ, "GITHUB_ACTION_PATH": str(folder)})
        self.values = outside
        return said

    def _act(self, action: str, inputs: Mapping[str, str], workspace: Path) -> tuple[int, str]:
        place = self.run.place
        paths = inputs.get("path", "").split()
        match action:
            case "actions/checkout" if inputs.get("repository") == OURS:
                (workspace / inputs["path"]).parent.mkdir(exist_ok=True)
                (workspace / inputs["path"]).symlink_to(REPOSITORY)
            case "actions/checkout":
                only_known(action, inputs, {"persist-credentials", "fetch-depth"})
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
