"""Whose turn it is on a worker: one shipped run at a time, the worker's own root for any number."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pytest

from passmuster.model.errors import InfrastructureError
from passmuster.model.executor import Usage
from passmuster.model.status import StopReason
from passmuster.source.identity import tree_identity
from passmuster.wire.run_spec import RunSpec
from tests.support.git_project import GitProject
from tests.support.queue_worker import until
from worker.process.output_capture import OutputCapture
from worker.queue.in_flight import InFlightFile, InFlightFiles
from worker.queue.root_runner import RootRunner
from worker.queue.workspace import Workspace
from worker.trees.shipped import ShippedTrees

OWN = Path("/own")


def terms(
    run_id: str, *, tree: str = "", workdir: str = "", identity: str = "", listing: str = ""
) -> RunSpec:
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
    def __init__(self, place: str, log: list[str]) -> None:
        self.place, self._log = place, log
        self.refusal = ""
        self.python = f"CPython of {place}"
        log.append(f"built {place}")

    def usage(self) -> Usage:
        return Usage(slots=2, budget_bytes=9, used_bytes=7, peak_bytes=7, files=())

    def output(self, attempt_id: str) -> OutputCapture | None:
        self._log.append(f"asked for {attempt_id} in {self.place}")
        return None

    def run_problem(self, spec: RunSpec) -> str | None:
        return self.refusal or None

    def prefetch(self, spec: RunSpec, paths: Sequence[str]) -> None:
        self._log.append(f"expects {','.join(paths)} in {self.place}")

    def handle_message(self, text: str) -> bool:
        self._log.append(f"took {text} in {self.place}")
        return True

    def stop_all(self, reason: StopReason, *, grace_s: float) -> None:
        self._log.append(f"stopped {self.place}")

    def stop_attempts(self, attempt_ids: Collection[str], reason: StopReason, *, grace_s: float) -> None:
        self._log.append(f"ended {','.join(attempt_ids)} in {self.place}")

    def close(self) -> None:
        self._log.append(f"closed {self.place}")


class Site(ShippedTrees):
    """A workplace with scripted parts, and runs that come to it in threads."""

    def __init__(self, own_root: Path | None = OWN) -> None:
        self.log: list[str] = []
        self.roster = InFlightFiles()
        self.trouble: Exception | None = None
        self.refusal = ""
        self.place = Workspace(own_root, self, self.build, self.roster)
        self.answers: dict[str, str | Exception] = {}
        self._threads: list[threading.Thread] = []

    def prepare(self, digest: str) -> Path:
        if self.trouble is not None:
            raise self.trouble
        return Path("/trees", digest)

    def differing_files(self, listing: str, root: Path) -> list[str]:
        return {"same": [], "other": ["a", "b\n", "c", "d"]}[listing]

    def build(self, root: Path, workdir: str | None) -> ScriptedRunner:
        bench = ScriptedRunner(str(root) + (f" ({workdir})" if workdir else ""), self.log)
        bench.refusal = self.refusal
        return bench

    def come(self, run: RunSpec) -> None:
        """Let a run come, and wait until it is in or in the line."""

        def enter() -> None:
            try:
                self.answers[run.run_id] = self.place.enter(run) or ""
            except Exception as error:
                self.answers[run.run_id] = error

        thread = threading.Thread(target=enter, daemon=True)
        self._threads.append(thread)
        thread.start()
        until(lambda: run.run_id in self.answers or run.run_id in self.place._waiting, "the run has come")

    def wait(self, run_id: str) -> str | Exception:
        until(lambda: run_id in self.answers, f"{run_id} has an answer")
        return self.answers[run_id]

    def close(self) -> None:
        self.place.stop_all(StopReason.CANCELLED, grace_s=0)
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


def held(run_id: str) -> InFlightFile:
    return InFlightFile(
        run_id=run_id, path="a.py", delivery=101, attempt_id=f"{run_id}/a.py", cancel_grace_s=1.0
    )


def test_files_are_looked_ahead_at_where_they_will_run(site: Site) -> None:
    site.place.prefetch(terms("a"), ["a.py"])
    site.place.open()

    site.place.prefetch(terms("a"), ["a.py", "b.py"])

    assert [line for line in site.log if line.startswith("expects")] == [f"expects a.py,b.py in {OWN}"]


def test_any_number_of_runs_share_the_own_root(site: Site) -> None:
    site.place.open()
    site.come(terms("a"))
    site.come(terms("b"))

    assert (site.wait("a"), site.wait("b")) == ("", "")
    assert site.place.handle_message("message")
    assert site.log == ["built /own", "took message in /own"]
    assert site.place.usage().used_bytes == 7


def test_a_shipped_run_has_the_place_to_itself(site: Site) -> None:
    site.place.open()
    site.come(terms("own"))
    site.come(terms("x", tree="1", workdir="sub"))
    site.come(terms("y", tree="1"))
    site.come(terms("later"))
    assert set(site.answers) == {"own"}

    site.place.leave("own")
    assert site.wait("x") == ""
    assert set(site.answers) == {"own", "x"}
    site.place.leave("x")
    assert site.wait("y") == ""
    assert set(site.answers) == {"own", "x", "y"}
    site.place.leave("y")
    assert site.wait("later") == ""

    assert site.log == [
        "built /own",
        "closed /own",
        "built /trees/1 (sub)",
        "closed /trees/1 (sub)",
        "built /trees/1",
        "closed /trees/1",
        "built /own",
    ]


def test_the_place_is_not_changed_while_a_file_is_here(site: Site) -> None:
    site.come(terms("x", tree="1"))
    assert site.wait("x") == ""
    site.roster.add(held("x"))
    site.place.leave("x")
    site.come(terms("y", tree="2"))
    assert "y" not in site.answers

    site.roster.remove("x/a.py")

    assert site.wait("y") == ""


def test_a_run_that_the_broker_had_forgotten_comes_back_to_its_files(site: Site) -> None:
    site.come(terms("x", tree="1"))
    site.wait("x")
    site.roster.add(held("x"))
    site.place.leave("x")
    site.answers.clear()

    site.come(terms("x", tree="1"))

    assert site.wait("x") == ""
    assert site.log == ["built /trees/1"]


def test_a_run_that_comes_back_with_another_tree_gets_that(site: Site) -> None:
    site.come(terms("x", tree="1"))
    site.wait("x")
    site.place.leave("x")
    site.answers.clear()

    site.come(terms("x", tree="2"))

    assert site.wait("x") == ""
    assert site.log == ["built /trees/1", "closed /trees/1", "built /trees/2"]


def test_a_run_that_is_gone_waits_no_longer(site: Site) -> None:
    site.come(terms("x", tree="1"))
    site.wait("x")
    site.come(terms("y", tree="2"))
    site.come(terms("z", tree="3"))

    site.place.leave("y")
    assert site.wait("y") == "the run has ended"
    site.place.leave("x")

    assert site.wait("z") == ""


@pytest.mark.parametrize("kind", ["error", "refusal"])
def test_a_run_that_cannot_be_served_gives_way(site: Site, kind: str) -> None:
    if kind == "error":
        site.trouble = InfrastructureError("the disk is full")
    else:
        site.refusal = "no coverage"
    site.come(terms("x", tree="1"))
    assert str(site.wait("x")) == ("the disk is full" if kind == "error" else "no coverage")
    site.trouble, site.refusal = None, ""

    site.come(terms("y", tree="2"))

    assert site.wait("y") == ""


def test_what_is_told_to_the_present_bench(site: Site) -> None:
    site.place.stop_attempts(["nothing here"], StopReason.CANCELLED, grace_s=0)
    site.place.open()
    site.place.stop_attempts(["a"], StopReason.CANCELLED, grace_s=0)
    site.place.stop_all(StopReason.CANCELLED, grace_s=0)
    site.place.close()
    site.place.close()

    assert site.log == ["built /own", "ended a in /own", "stopped /own", "closed /own"]
    assert site.place.usage().used_bytes == 0


def test_nothing_starts_after_the_end_was_asked_for(site: Site) -> None:
    site.come(terms("x", tree="1"))
    site.wait("x")
    site.come(terms("y", tree="2"))

    site.place.stop_all(StopReason.CANCELLED, grace_s=0)

    assert site.wait("y") == "the worker shuts down"
    site.come(terms("z"))
    assert site.wait("z") == "the worker shuts down"


def test_a_message_without_a_place_is_put_back(site: Site) -> None:
    assert not site.place.handle_message("message")


def test_runs_are_compared_with_the_own_root_alone(tmp_path: Path) -> None:
    git = GitProject(tmp_path / "own")
    commit = git.commit()
    own, none = Site(git.root).place, Site(None).place

    assert source_problem(own, terms("a")) == ""
    assert source_problem(own, terms("a", identity=f"git:{commit}")) == ""
    assert source_problem(own, terms("a", tree="1", identity="git:other")) == ""
    assert "its tree is at commit" in source_problem(own, terms("a", identity="git:other"))
    assert source_problem(none, terms("a", tree="1")) == ""
    assert "no tree of its own" in source_problem(none, terms("a"))


def test_the_folder_that_a_run_is_of_is_not_compared(tmp_path: Path) -> None:
    (tmp_path / ".passmuster" / "runs" / "20260101-000000-abcdef").mkdir(parents=True)
    place = Site(tmp_path).place

    assert source_problem(place, terms("20260101-000000-abcdef", identity="git:other")) == ""
    assert source_problem(place, terms("20260101-000000-fedcba", identity="git:other")) != ""
    assert source_problem(place, terms("../runs", identity="git:other")) != ""


def test_a_root_without_git_is_compared_file_by_file(tmp_path: Path) -> None:
    (tmp_path / "f.py").write_text("x = 1")
    place = Site(tmp_path).place

    assert source_problem(place, terms("a", identity="git:1234", listing="same")) == ""
    differing = source_problem(place, terms("a", identity="git:1234", listing="other"))
    assert differing.startswith("its tree is at 1 file(s) outside git (")
    assert differing.endswith(
        r", the run is of commit 1234 (a, 'b\n', c and 1 more differ): "
        "check out the same commit there, with the same changes, or use --ship"
    )
    assert "both sides have git" in source_problem(place, terms("a", identity="git:1234"))
    own = tree_identity(tmp_path)
    assert source_problem(place, terms("a", identity=own, listing="other")) == "", "nothing differs"


def test_files_that_only_the_worker_has_are_no_other_tree(tmp_path: Path) -> None:
    git = GitProject(tmp_path / "own")
    commit = git.commit()
    (git.root / "written_by_a_test.txt").write_text("x")
    place = Site(git.root).place

    assert source_problem(place, terms("a", identity=f"git:{commit}", listing="same")) == ""
    assert "differ" in source_problem(place, terms("a", identity=f"git:{commit}", listing="other"))
    assert "its tree is at commit" in source_problem(place, terms("a", identity=f"git:{commit}"))
    assert "its tree is at" in source_problem(place, terms("a", identity="git:other", listing="same"))
