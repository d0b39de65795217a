"""The workspace of a worker: one uploaded tree at a time, or its own root for any number of runs."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import cast

import pytest

from passmuster.model.errors import InfrastructureError
from passmuster.model.executor import Usage
from passmuster.model.status import StopReason
from passmuster.source.identity import tree_identity
from passmuster.wire.run_spec import RunSpec
from tests.support.git_project import GitProject
from tests.support.queue_worker import until
from worker.executor.local import LocalExecutor
from worker.process.output_capture import OutputCapture
from worker.queue.in_flight import InFlightFile, InFlightFiles
from worker.queue.root_runner import RootRunner
from worker.queue.task_handler import TaskHandler
from worker.queue.workspace import Workspace
from worker.trees.shipped import ShippedTrees

OWN = Path("/own")


def spec(run_id: str, *, tree: str = "", workdir: str = "", identity: str = "", listing: str = "") -> RunSpec:
    return RunSpec(
        run_id=run_id,
        version="1",
        tree=tree,
        workdir=workdir,
        source_identity=identity,
        listing=listing,
        grace_s=1.0,
        has_coverage=False,
        environment_names=(),
    )


def source_problem(workspace: Workspace, run: RunSpec) -> str:
    return workspace.source_problem(run) or ""


class ScriptedRunner(RootRunner):
    """A runner that is its own executor and handler."""

    def __init__(self, root: str, log: list[str]) -> None:
        self.executor = cast(LocalExecutor, self)
        self.handler = cast(TaskHandler, self)
        self.root, self._log = root, log
        self.refusal = ""
        self.python = f"CPython of {root}"
        log.append(f"built {root}")

    def usage(self) -> Usage:
        return Usage(slots=2, budget_bytes=9, used_bytes=7, peak_bytes=7, files=())

    def output(self, attempt_id: str) -> OutputCapture | None:
        self._log.append(f"asked for {attempt_id} in {self.root}")
        return None

    def run_problem(self, spec: RunSpec) -> str | None:
        return self.refusal or None

    def prefetch(self, spec: RunSpec, paths: Sequence[str]) -> None:
        self._log.append(f"expects {','.join(paths)} in {self.root}")

    def handle_message(self, text: str) -> bool:
        self._log.append(f"took {text} in {self.root}")
        return True

    def stop_all(self, reason: StopReason, *, grace_s: float) -> None:
        self._log.append(f"stopped {self.root}")

    def stop_attempts(self, attempt_ids: Collection[str], reason: StopReason, *, grace_s: float) -> None:
        self._log.append(f"ended {','.join(attempt_ids)} in {self.root}")

    def close(self) -> None:
        self._log.append(f"closed {self.root}")


class Machine(ShippedTrees):
    """A workplace with scripted parts, and runs that come to it in threads."""

    def __init__(self, own_root: Path | None = OWN) -> None:
        self.log: list[str] = []
        self.in_flight = InFlightFiles()
        self.error: Exception | None = None
        self.refusal = ""
        self.workspace = Workspace(own_root, self, self.build, self.in_flight)
        self.answers: dict[str, str | Exception] = {}
        self._threads: list[threading.Thread] = []

    def prepare(self, digest: str) -> Path:
        if self.error is not None:
            raise self.error
        return Path("/trees", digest)

    def differing_files(self, listing: str, root: Path) -> list[str]:
        return {"same": [], "other": ["a", "b\n", "c", "d"]}[listing]

    def build(self, root: Path, workdir: str | None) -> ScriptedRunner:
        runner = ScriptedRunner(str(root) + (f" ({workdir})" if workdir else ""), self.log)
        runner.refusal = self.refusal
        return runner

    def come(self, run: RunSpec) -> None:
        """Let a run come, and wait until it is in or in the line."""

        def enter() -> None:
            try:
                self.answers[run.run_id] = self.workspace.enter(run) or ""
            except Exception as error:
                self.answers[run.run_id] = error

        thread = threading.Thread(target=enter, daemon=True)
        self._threads.append(thread)
        thread.start()
        until(lambda: run.run_id in self.answers or run.run_id in self.workspace._waiting, "the run has come")

    def wait(self, run_id: str) -> str | Exception:
        until(lambda: run_id in self.answers, f"{run_id} has an answer")
        return self.answers[run_id]

    def close(self) -> None:
        self.workspace.stop_all(StopReason.CANCELLED, grace_s=0)
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture
def machine() -> Iterator[Machine]:
    machine = Machine()
    yield machine
    machine.close()


def held(run_id: str) -> InFlightFile:
    return InFlightFile(
        run_id=run_id, path="a.py", delivery=101, attempt_id=f"{run_id}/a.py", cancel_grace_s=1.0
    )


def test_files_are_prefetched_in_the_root_of_their_run(machine: Machine) -> None:
    machine.workspace.prefetch(spec("a"), ["a.py"])
    machine.workspace.open()

    machine.workspace.prefetch(spec("a"), ["a.py", "b.py"])

    assert [line for line in machine.log if line.startswith("expects")] == [f"expects a.py,b.py in {OWN}"]


def test_any_number_of_runs_share_the_own_root(machine: Machine) -> None:
    machine.workspace.open()
    machine.come(spec("a"))
    machine.come(spec("b"))

    assert (machine.wait("a"), machine.wait("b")) == ("", "")
    assert machine.workspace.handle_message("message")
    assert machine.log == ["built /own", "took message in /own"]
    assert machine.workspace.usage().used_bytes == 7


def test_a_run_with_an_uploaded_tree_has_the_workspace_to_itself(machine: Machine) -> None:
    machine.workspace.open()
    machine.come(spec("own"))
    machine.come(spec("x", tree="1", workdir="sub"))
    machine.come(spec("y", tree="1"))
    machine.come(spec("later"))
    assert set(machine.answers) == {"own"}

    machine.workspace.leave("own")
    assert machine.wait("x") == ""
    assert set(machine.answers) == {"own", "x"}
    machine.workspace.leave("x")
    assert machine.wait("y") == ""
    assert set(machine.answers) == {"own", "x", "y"}
    machine.workspace.leave("y")
    assert machine.wait("later") == ""

    assert machine.log == [
        "built /own",
        "closed /own",
        "built /trees/1 (sub)",
        "closed /trees/1 (sub)",
        "built /trees/1",
        "closed /trees/1",
        "built /own",
    ]


def test_the_workspace_is_not_changed_while_a_file_runs(machine: Machine) -> None:
    machine.come(spec("x", tree="1"))
    assert machine.wait("x") == ""
    machine.in_flight.add(held("x"))
    machine.workspace.leave("x")
    machine.come(spec("y", tree="2"))
    assert "y" not in machine.answers

    machine.in_flight.remove("x/a.py")

    assert machine.wait("y") == ""


def test_a_run_that_the_broker_lost_returns_to_its_files(machine: Machine) -> None:
    machine.come(spec("x", tree="1"))
    machine.wait("x")
    machine.in_flight.add(held("x"))
    machine.workspace.leave("x")
    machine.answers.clear()

    machine.come(spec("x", tree="1"))

    assert machine.wait("x") == ""
    assert machine.log == ["built /trees/1"]


def test_a_resumed_run_with_another_tree_gets_that_tree(machine: Machine) -> None:
    machine.come(spec("x", tree="1"))
    machine.wait("x")
    machine.workspace.leave("x")
    machine.answers.clear()

    machine.come(spec("x", tree="2"))

    assert machine.wait("x") == ""
    assert machine.log == ["built /trees/1", "closed /trees/1", "built /trees/2"]


def test_a_run_that_ended_waits_no_longer(machine: Machine) -> None:
    machine.come(spec("x", tree="1"))
    machine.wait("x")
    machine.come(spec("y", tree="2"))
    machine.come(spec("z", tree="3"))

    machine.workspace.leave("y")
    assert machine.wait("y") == "the run has ended"
    machine.workspace.leave("x")

    assert machine.wait("z") == ""


@pytest.mark.parametrize("kind", ["error", "refusal"])
def test_a_run_that_cannot_be_served_releases_its_turn(machine: Machine, kind: str) -> None:
    if kind == "error":
        machine.error = InfrastructureError("the disk is full")
    else:
        machine.refusal = "no coverage"
    machine.come(spec("x", tree="1"))
    assert str(machine.wait("x")) == ("the disk is full" if kind == "error" else "no coverage")
    machine.error, machine.refusal = None, ""

    machine.come(spec("y", tree="2"))

    assert machine.wait("y") == ""


def test_calls_reach_the_current_runner(machine: Machine) -> None:
    machine.workspace.stop_attempts(["nothing here"], StopReason.CANCELLED, grace_s=0)
    machine.workspace.open()
    machine.workspace.stop_attempts(["a"], StopReason.CANCELLED, grace_s=0)
    machine.workspace.stop_all(StopReason.CANCELLED, grace_s=0)
    machine.workspace.close()
    machine.workspace.close()

    assert machine.log == ["built /own", "ended a in /own", "stopped /own", "closed /own"]
    assert machine.workspace.usage().used_bytes == 0


def test_no_run_enters_after_the_shutdown_was_requested(machine: Machine) -> None:
    machine.come(spec("x", tree="1"))
    machine.wait("x")
    machine.come(spec("y", tree="2"))

    machine.workspace.stop_all(StopReason.CANCELLED, grace_s=0)

    assert machine.wait("y") == "the worker shuts down"
    machine.come(spec("z"))
    assert machine.wait("z") == "the worker shuts down"


def test_a_message_without_a_runner_is_put_back(machine: Machine) -> None:
    assert not machine.workspace.handle_message("message")


def test_runs_are_compared_with_the_own_root_alone(tmp_path: Path) -> None:
    git = GitProject(tmp_path / "own")
    commit = git.commit()
    own, none = Machine(git.root).workspace, Machine(None).workspace

    assert source_problem(own, spec("a")) == ""
    assert source_problem(own, spec("a", identity=f"git:{commit}")) == ""
    assert source_problem(own, spec("a", tree="1", identity="git:other")) == ""
    assert "its tree is at commit" in source_problem(own, spec("a", identity="git:other"))
    assert source_problem(none, spec("a", tree="1")) == ""
    assert "no tree of its own" in source_problem(none, spec("a"))


def test_the_dispatcher_s_own_root_is_not_compared(tmp_path: Path) -> None:
    (tmp_path / ".passmuster" / "runs" / "20260101-000000-abcdef").mkdir(parents=True)
    workspace = Machine(tmp_path).workspace

    assert source_problem(workspace, spec("20260101-000000-abcdef", identity="git:other")) == ""
    assert source_problem(workspace, spec("20260101-000000-fedcba", identity="git:other")) != ""
    assert source_problem(workspace, spec("../runs", identity="git:other")) != ""


def test_a_root_without_git_is_compared_file_by_file(tmp_path: Path) -> None:
    (tmp_path / "f.py").write_text("x = 1")
    workspace = Machine(tmp_path).workspace

    assert source_problem(workspace, spec("a", identity="git:1234", listing="same")) == ""
    differing = source_problem(workspace, spec("a", identity="git:1234", listing="other"))
    assert differing.startswith("its tree is at 1 file(s) outside git (")
    assert differing.endswith(
        r", the run is of commit 1234 (a, 'b\n', c and 1 more differ): "
        "check out the same commit there, with the same changes, or use --ship"
    )
    assert "both sides have git" in source_problem(workspace, spec("a", identity="git:1234"))
    own = tree_identity(tmp_path)
    assert source_problem(workspace, spec("a", identity=own, listing="other")) == "", "nothing differs"


def test_additional_files_of_the_worker_are_ignored(tmp_path: Path) -> None:
    git = GitProject(tmp_path / "own")
    commit = git.commit()
    (git.root / "written_by_a_test.txt").write_text("x")
    workspace = Machine(git.root).workspace

    assert source_problem(workspace, spec("a", identity=f"git:{commit}", listing="same")) == ""
    assert "differ" in source_problem(workspace, spec("a", identity=f"git:{commit}", listing="other"))
    assert "its tree is at commit" in source_problem(workspace, spec("a", identity=f"git:{commit}"))
    assert "its tree is at" in source_problem(workspace, spec("a", identity="git:other", listing="same"))
