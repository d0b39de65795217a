"""Runs a GitLab pipeline on this machine, for tests: exactly the features that our examples use."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dispatcher.replica.reading import parse_yaml
from tests.support.ci_place import JobLog, Place, copy, files_at, only_known

_NOT_JOBS = {"stages", "default", "workflow", "variables"}
_JOB = {"stage", "parallel", "needs", "timeout", "script", "when", "cache", "artifacts"}
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
        """Run all jobs, a stage after the other; return what became of each, by name."""
        pipeline: Any = parse_yaml(path.read_bytes(), name=str(path))
        only_known("default", pipeline.get("default") or {}, {"image", "interruptible"})
        only_known("workflow", pipeline.get("workflow") or {}, {"auto_cancel", "rules"})
        jobs = {name: job for name, job in pipeline.items() if name not in _NOT_JOBS}
        for stage in pipeline["stages"]:
            for name, job in jobs.items():
                if job["stage"] == stage:
                    self._run_all(name, job)
        assert self.logs.keys() == jobs.keys(), "a job is of no stage"
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
        status, log.output = self.place.run(
            "\n".join(job["script"]), cwd=workspace, environ=self._environ(name, machine, index, total)
        )
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
