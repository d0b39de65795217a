"""Runs a GitLab pipeline on this machine, for tests: exactly the features that our examples use."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dispatcher.replica.reading import parse_yaml
from tests.support.ci_place import JobLog, Place, copy, files_at, only_known

REPOSITORY = Path(__file__).resolve().parents[2]
_NOT_JOBS = {"stages", "default", "workflow", "variables", "include"}
_STAGES = ("build", "test", "deploy")
"""GitLab's own."""
_JOB = {
    *("stage", "image", "interruptible", "parallel", "needs", "timeout", "variables", "before_script"),
    *("script", "when", "cache", "artifacts"),
}
_INPUT = re.compile(r"\$\[\[ inputs\.([a-z-]+) \]\]")
_CACHE = {"key", "paths", "policy", "when"}
_ARTIFACTS = {"when", "paths", "reports", "expire_in"}


@dataclass(kw_only=True)
class Pipeline:
    """One pipeline.

    Args:
        place: where it runs.
        variables: what the project sets for its jobs.
        number: its number.
        vanished: jobs whose machine is lost before their first command, as (name, number from 0).
    """

    place: Place
    variables: Mapping[str, str] = field(default_factory=dict)
    number: str = "1"
    vanished: frozenset[tuple[str, int]] = frozenset()
    logs: dict[str, list[JobLog]] = field(default_factory=dict)

    def run(self, path: Path) -> dict[str, list[JobLog]]:
        """Run all jobs in their order; return what became of each, by name."""
        pipeline: Any = parse_yaml(path.read_bytes(), name=str(path))
        only_known("default", pipeline.get("default") or {}, {"image", "interruptible"})
        only_known("workflow", pipeline.get("workflow") or {}, {"auto_cancel", "rules"})
        jobs = {name: job for name, job in pipeline.items() if name not in _NOT_JOBS}
        for include in pipeline.get("include") or []:
            jobs |= component_jobs(include)
        for name, job in jobs.items():
            assert job["stage"] in (pipeline.get("stages") or _STAGES), f"{name} is of no stage"
            self._run_all(name, job)
        return self.logs

    def _run_all(self, name: str, job: Any) -> None:
        only_known(name, job, _JOB)
        total = int(job.get("parallel", 1))
        with ThreadPoolExecutor(max_workers=total) as pool:
            self.logs[name] = list(pool.map(lambda index: self._run(name, job, index, total), range(total)))

    def _run(self, name: str, job: Any, index: int, total: int) -> JobLog:
        log = JobLog(name=f"{name} {index + 1}/{total}")
        before = [one for need in job.get("needs", []) for one in self.logs[need]]
        if job.get("when") != "always" and any(one.result != "success" for one in before):
            log.result = "skipped"
            return log
        if (name, index) in self.vanished:
            log.result = "failure"
            return log
        machine = self.place.folder(f"{name}-{index}")
        workspace = machine / "workspace"
        (machine / "home").mkdir()
        self.place.clone(workspace)
        cache, artifacts = job.get("cache") or {}, job.get("artifacts") or {}
        only_known(f"cache of {name}", cache, _CACHE)
        only_known(f"artifacts of {name}", artifacts, _ARTIFACTS)
        if cache.get("policy") == "pull":
            self.place.restore_cache([cache["key"]], workspace, cache["paths"])
        for need in job.get("needs", []):
            for one in self.logs[need]:
                folder = self.place.artifacts.get(f"{self.number}/{one.name}")
                if folder is not None:
                    copy(files_at(folder), folder, workspace)
        environ = {**(job.get("variables") or {}), **self._environ(name, machine, index, total)}
        script = "\n".join([*(job.get("before_script") or []), *job["script"]])
        status, log.output = self.place.run(script, cwd=workspace, environ=environ)
        log.result = "failure" if status else "success"
        if not status or artifacts.get("when") == "always":
            self._keep(f"{self.number}/{log.name}", workspace, artifacts.get("paths", []))
        if cache.get("policy") == "push" and (not status or cache.get("when") == "always"):
            self.place.caches = [old for old in self.place.caches if old.key != cache["key"]]
            self.place.save_cache(cache["key"], workspace, cache["paths"])
        return log

    def _environ(self, name: str, machine: Path, index: int, total: int) -> dict[str, str]:
        numbers = {"CI_NODE_INDEX": str(index + 1), "CI_NODE_TOTAL": str(total)} if total > 1 else {}
        return {
            "CI": "true",
            "GITLAB_CI": "true",
            "CI_JOB_NAME": name,
            "CI_PIPELINE_ID": self.number,
            "CI_PROJECT_DIR": str(machine / "workspace"),
            "HOME": str(machine / "home"),
            "TMPDIR": str(machine / "home"),
            "XDG_RUNTIME_DIR": str(machine / "home"),
            "LANG": "C.UTF-8",
            "PATH": f"{self.place.python}{os.pathsep}{self.place.environ['PATH']}",
            # The image's only Python.
            "VIRTUAL_ENV": str(self.place.python.parent),
            **numbers,
            **self.variables,
        }

    def _keep(self, name: str, workspace: Path, paths: list[str]) -> None:
        files = [file for path in paths for file in files_at(workspace / path)]
        if files:
            folder = self.place.folder("artifact")
            copy(files, workspace, folder)
            self.place.artifacts[name] = folder


def component_jobs(include: Any) -> dict[str, Any]:
    """Return the jobs of a component of this repository, as GitLab makes them of its inputs."""
    only_known("include", include, {"component", "inputs"})
    address, _, _version = include["component"].partition("@")
    template = REPOSITORY / "templates" / f"{address.rpartition('/')[2]}.yml"
    header, _, body = template.read_text(encoding="utf-8").partition("\n---\n")
    head: Any = parse_yaml(header.encode(), name=str(template))
    known, given = head["spec"]["inputs"], include.get("inputs") or {}
    only_known("inputs", given, set(known))
    inputs = {name: given[name] if name in given else known[name]["default"] for name in known}
    jobs: Any = _with_inputs(parse_yaml(body.encode(), name=str(template)), inputs)
    return dict(jobs)


def _with_inputs(value: Any, inputs: Mapping[str, object]) -> Any:
    """Return a value of a component with its inputs in place: one that is nothing else keeps its type."""
    if isinstance(value, dict):
        return {_with_inputs(key, inputs): _with_inputs(one, inputs) for key, one in value.items()}
    if isinstance(value, list):
        return [_with_inputs(one, inputs) for one in value]
    if not isinstance(value, str):
        return value
    whole = _INPUT.fullmatch(value)
    return inputs[whole[1]] if whole else _INPUT.sub(lambda match: str(inputs[match[1]]), value)
