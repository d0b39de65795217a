"""A job's scripts run in a shell as in CI; what would differ or change this machine is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from dispatcher.replica.job_run import JobRun
from dispatcher.replica.script_run import ScriptRunner, require_programs
from dispatcher.replica.workflow_command import Replica, WorkflowCommand
from passmuster.model.errors import ConfigurationError, InfrastructureError
from tests.unit.worker.workbench import is_alive, until

BASH = ("bash", "-e", "{0}")


def script(text: str, **fields: object) -> WorkflowCommand:
    return WorkflowCommand(**{"step": "step 'Test'", "script": text, "shell": BASH, "shown": text, **fields})  # type: ignore[arg-type]


class Ran:
    """Runs a job in a project, and keeps what it said."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.lines: list[str] = []
        self.own: list[tuple[str, ...]] = []

    def __call__(
        self, *commands: WorkflowCommand, dry: bool = False, install: bool = False, **fields: object
    ) -> int:
        scratch = self.project / "scratch"
        scratch.mkdir(exist_ok=True)
        replica = Replica(job="test", commands=commands, **fields)  # type: ignore[arg-type]
        return JobRun(
            replica=replica,
            run_tests=self._run_own,
            say=lambda tag, text: self.lines.append(f"{tag.name} {text}"),
            scripts=ScriptRunner(
                root=self.project,
                scratch=scratch,
                variables={"PATH": os.environ["PATH"], "HOME": str(scratch), "LEVEL": "job"},
            ),
            limits=("--jobs", "1"),
            environ={"PIP_INDEX_URL": "file:///nowhere", "PIP_USER": "1", "SECRET": "x"},
            is_dry=dry,
            is_installing=install,
        ).run()

    def _run_own(self, words: Sequence[str], environ: Mapping[str, str]) -> int:
        self.own.append(tuple(words))
        return 0

    def text(self) -> str:
        return (self.project / "out").read_text(encoding="utf-8")


@pytest.fixture
def ran(tmp_path: Path) -> Ran:
    return Ran(tmp_path)


def test_a_script_gets_its_variables_and_the_python_of_the_project(ran: Ran) -> None:
    text = 'echo "$LEVEL $OWN $0" >out; python -c "import sys; print(sys.version_info[:2])" >>out'

    status = ran(
        script(text, variables=(("OWN", "step"),)), python=f"{sys.version_info[0]}.{sys.version_info[1]}"
    )

    assert status == 0
    first, second = ran.text().splitlines()
    assert first == f"job step {ran.project}/scratch/step"
    assert second == str(sys.version_info[:2])
    assert any(line.startswith("INFO Python ") and "as in CI" in line for line in ran.lines)


def test_what_a_step_writes_for_later_ones_reaches_them(ran: Ran) -> None:
    (ran.project / "tools").mkdir()
    tool = ran.project / "tools" / "tool"
    tool.write_text('#!/bin/sh\necho "tool $A $B" >out\n', encoding="utf-8")
    tool.chmod(0o755)
    first = """
echo A=1 >>"$GITHUB_ENV"
printf "B<<END\\n2\\n3\\nEND\\n" >>"$GITHUB_ENV"
echo "$PWD/tools" >>$GITHUB_PATH
"""

    assert ran(script(first), script("tool; echo x >>$GITHUB_OUTPUT >>$GITHUB_STEP_SUMMARY")) == 0

    assert ran.text() == "tool 1 2\n3\n"


def test_the_first_failure_ends_the_job(ran: Ran) -> None:
    assert ran(script("touch out; exit 5"), script("rm out")) == 1

    assert (ran.project / "out").exists()


def test_packages_that_were_not_installed_are_named_after_a_failure(ran: Ran) -> None:
    install = script("pip install x", step="step 'Install'", installs=("pip install x",))

    ran(script("false"), installation=(install,))

    assert "INFO Not replicated: step 'Install': pip install x" in ran.lines
    assert ran.lines[-1].startswith("WARN Packages may be missing here: --install ")


def test_a_program_of_another_python_is_named(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = ran.project / "tools"
    tools.mkdir()
    for name, interpreter in (("stestr", "/nowhere/python3.9"), ("tox", "/nowhere/python3.9")):
        (tools / name).write_text(f"#!{interpreter}\n", encoding="utf-8")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")

    ran(script("true", programs=("stestr", "tox")), dry=True)

    warned = [line for line in ran.lines if line.startswith("WARN")]
    assert warned == [f"WARN stestr ({tools}/stestr) runs under another Python: /nowhere/python3.9"]


def test_a_missing_command_inside_a_script_is_no_failure_of_the_tests(ran: Ran) -> None:
    with pytest.raises(InfrastructureError, match="exit status 127: a command of it is missing here"):
        ran(script("no-such-command-anywhere"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"programs": ("no-such-program",)},
            "no-such-program is not installed here: install it, or give --install",
        ),
        ({"programs": ("python", "-m no_such_module")}, "no_such_module is not installed here"),
        ({"unknown": ("${{ env.X }}",)}, r"uses \$\{\{ env.X \}\}, whose value only CI knows"),
        ({"installs": ("pip install x",)}, "installs packages .pip install x.: give --install"),
        ({"machine": ("sudo apt-get install x",)}, "changes this machine .sudo apt-get install x."),
        ({"folder": "nowhere"}, "the working directory .*/nowhere .from step 'Test'. does not exist"),
        ({"shell": ("no-such-shell",)}, "the shell no-such-shell cannot be started: no such file"),
    ],
)
def test_what_cannot_be_as_in_ci_is_refused(ran: Ran, fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ran(script("touch out", **fields))

    assert not (ran.project / "out").exists()


def test_a_program_that_only_the_caller_has_is_missing(tmp_path: Path) -> None:
    require_programs(script("cd sub", programs=("cd",)), {"PATH": str(tmp_path)}, tmp_path)

    with pytest.raises(ConfigurationError, match="ls is not installed here"):
        require_programs(script("ls", programs=("ls",)), {"PATH": str(tmp_path)}, tmp_path)


def test_a_dry_run_names_it_and_runs_nothing(ran: Ran) -> None:
    install = script("pip install x", step="step 'Install'")
    command = script("touch out", unknown=("${{ env.X }}",), programs=("no-such-program",))

    assert ran(command, dry=True, install=True, installation=(install,), tools=("uv",)) == 0

    assert (
        "WARN step 'Test' uses ${{ env.X }}, whose value only CI knows: choose another step with --step"
        in ran.lines
    )
    assert "INFO the action that installs uv: pip install uv" in ran.lines
    assert "INFO step 'Install': pip install x" in ran.lines
    assert not (ran.project / "out").exists()


def test_installing_happens_in_an_environment_of_its_own(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(words: Sequence[str], **_: object) -> subprocess.CompletedProcess[str]:
        folder = Path(words[-1])
        (folder / "bin").mkdir(parents=True)
        (folder / "pyvenv.cfg").touch()
        (folder / "bin" / "python").symlink_to(sys.executable)
        return subprocess.CompletedProcess(words, 0, "", "")

    monkeypatch.setattr(subprocess, "run", make)
    install = script(
        "env >out; echo uv pip install --system x >>out",
        installs=("uv pip install --system x",),
        variables=(("PIP_USER", "1"), ("UV_SYSTEM_PYTHON", "1")),
    )

    assert (
        ran(
            script("command -v python >>out"),
            WorkflowCommand(step="own"),
            install=True,
            installation=(install,),
        )
        == 0
    )

    folder = ran.project / "scratch" / "environment"
    lines = ran.text().splitlines()
    assert {f"VIRTUAL_ENV={folder}", f"UV_PROJECT_ENVIRONMENT={folder}", "PIP_REQUIRE_VIRTUALENV=1"} <= {
        *lines
    }
    assert "PIP_INDEX_URL=file:///nowhere" in lines
    assert not any(line.startswith(("PIP_USER", "UV_SYSTEM", "SECRET")) for line in lines)
    assert lines[-2:] == ["uv pip install x", str(folder / "bin" / "python")]
    assert ran.own == [("--python", str(folder / "bin" / "python"), "--jobs", "1")]


def test_a_failed_installation_says_nothing_about_the_tests(
    ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(JobRun, "_make_environment", lambda *_: None)

    with pytest.raises(InfrastructureError, match="step 'Test' failed: the tests were not run"):
        ran(script("touch out"), install=True, installation=(script("exit 3"),))

    assert not (ran.project / "out").exists()


def test_an_environment_that_cannot_be_made_is_one_line(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess((), 1, "a\nensurepip is not available\n", "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)

    with pytest.raises(InfrastructureError, match=r"\(exit status 1, ensurepip is not available\)") as raised:
        ran(script("true"), install=True)

    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_script_ends_with_all_it_started(ran: Ran, number: signal.Signals) -> None:
    ready, survived = ran.project / "ready", ran.project / "survived"
    os.mkfifo(ready)
    os.mkfifo(survived)
    text = f"""
trap 'echo >{survived}' INT
sleep 1000 & echo $! >out
echo >{ready}
while :; do wait || :; done
"""

    def interrupt() -> None:
        ready.read_bytes()
        os.kill(os.getpid(), number)
        if number == signal.SIGINT:
            # Two at once could become one.
            survived.read_bytes()
            os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        assert ran(script(text)) == 130
    finally:
        thread.join()

    pid = int(ran.text())
    # Its new parent may not have reaped it yet.
    until(lambda: not is_alive(pid), "what the script left behind has ended")


def test_a_signal_that_comes_while_the_shell_starts_ends_it(
    ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = subprocess.Popen

    def start_interrupted(words: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        process = start(words, **options)
        if words[0] == BASH[0]:
            signal.raise_signal(signal.SIGINT)
        return process

    monkeypatch.setattr(subprocess, "Popen", start_interrupted)

    assert ran(script("sleep 1000")) == 130
