"""What the manifests for Kubernetes start, on this machine: with their variables, arguments and probes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from tests.e2e.support.processes import wait_until
from tests.e2e.support.project import Project
from tests.e2e.support.sources import script
from tests.support.kubernetes import LocalContainer
from tests.support.valkey import private_server

END_S = 60.0


class Pod:
    """The process of a container, whose output goes to a file."""

    def __init__(self, container: LocalContainer, project: Project, *, cwd: Path) -> None:
        self._log = project.base / f"pod-{len(list(project.base.glob('pod-*')))}.log"
        # Outside of the machine's pool: it is not this test's alone.
        self._environ = project.environment({**container.environ, "PASSMUSTER_SLOT": "0"})
        self._probes, self._cwd = container.probes, cwd
        with open(self._log, "wb") as log:
            self.process = subprocess.Popen(
                container.command,
                cwd=cwd,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_limit_cpus,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def probe(self, name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._probes[name], cwd=self._cwd, env=self._environ, capture_output=True, text=True, check=False
        )

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until the output has a match, and return it."""
        wait_until(lambda: bool(re.search(pattern, self.log)) or self.process.poll() is not None, pattern)
        found = re.search(pattern, self.log)
        assert found is not None, self.log
        return found

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def _limit_cpus() -> None:
    """Allow the two CPUs that the manifest's limit allows."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])


def test_a_worker_that_is_drained_finishes_what_runs_and_another_one_the_rest(
    project: Project, tmp_path: Path
) -> None:
    held = script(
        f"open({str(tmp_path / 'started')!r}, 'a').write(os.path.basename(__file__) + '\\n')\n"
        f"while not os.path.exists({str(tmp_path / 'go_on')!r}): time.sleep(0.01)"
    )
    project.write({f"tests/test_{number}.py": held for number in range(4)})
    empty = tmp_path / "empty"
    empty.mkdir()
    started = tmp_path / "started"
    pods: list[Pod] = []

    with private_server() as server:
        address = urlsplit(server.url)
        secrets = {"redis_password": address.password or "", "passmuster_secret": "a" * 64}
        url = f"redis://{address.hostname}:{address.port}/0"

        def start(kind: str, cwd: Path) -> Pod:
            folder = tmp_path / f"container-{len(pods)}"
            pods.append(Pod(LocalContainer(kind, folder, url=url, secrets=secrets), project, cwd=cwd))
            return pods[-1]

        try:
            first = start("Deployment", empty)
            slots = int(first.wait_for(r"slots: (\d+) ")[1])
            first.wait_for("(?m)^ready: ")
            ready = first.probe("readinessProbe")
            run = start("Job", project.root)
            wait_until(lambda: started.exists() and len(started.read_text().split()) == slots, "files run")
            first.process.send_signal(signal.SIGTERM)
            first.wait_for("Warm shutdown")
            second = start("Deployment", empty)
            second.wait_for("(?m)^ready: ")
            (tmp_path / "go_on").touch()
            first_code = first.process.wait(END_S)
            run_code = run.process.wait(END_S)
            second.process.send_signal(signal.SIGTERM)
            second_code = second.process.wait(END_S)
            gone = second.probe("livenessProbe")
            server.close()
            unknown = second.probe("livenessProbe")
        finally:
            for pod in pods:
                pod.kill()

    logs = "\n".join(pod.log for pod in pods)
    assert (first_code, second_code, run_code) == (0, 0, 0), logs
    assert f"ran {slots} file(s)" in first.log, logs
    assert f"ran {4 - slots} file(s)" in second.log, logs
    assert sorted(started.read_text().split()) == [f"test_{number}.py" for number in range(4)], logs
    assert "4/4 files passed" in run.log, logs
    assert (ready.returncode, ready.stderr) == (0, ""), ready
    assert gone.returncode == 1, gone
    assert (unknown.returncode, "cannot be reached" in unknown.stderr) == (0, True), unknown
