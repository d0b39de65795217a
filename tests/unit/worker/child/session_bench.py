"""Runs test files in forks of one prepared pytest session, and spawned, to compare both."""

from __future__ import annotations

import difflib
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.support.pytest_environment import PYTEST_PYTHON
from tests.unit.worker.child.child_bench import LAUNCHER, ChildBench, Ran
from worker.process.child_report import ChildReport
from worker.process.command import CHILD_MAIN

# What the fork server does, as far as pytest can notice: prepare once, load the conftests in a probe and then
# itself, fork for each file, restore the path, give each child its own standard output, temporary directory
# and reports.
SERVER = """
import json, os, shutil, sys
here, folder, temporary, holds, late, files = *sys.argv[1:6], sys.argv[6:]
sys.path[0] = here
import passmuster_child_start, passmuster_child_report, passmuster_child_select
sys.path[0] = os.getcwd()
session = passmuster_child_start.load("passmuster_child_session")
before = sorted(os.listdir("/proc/self/fd"))
try:
    prepared, refused = session.PreparedSession(), ""
except session.Unsupported as error:
    prepared, refused = None, str(error)
told = {"refused": refused, "why_not": {}, "status": {}, "unsupported": {}}
told["root"] = [] if prepared is None else [prepared.rootdir, prepared.inifile]
told["project_modules"] = [name for name in sys.modules if name.partition(".")[0] in ("conftest", "unit")]
told["findings"] = []
def hold(is_probe):
    conftests = passmuster_child_start.load("passmuster_child_conftests")
    try:
        return conftests.hold_conftests(prepared, [os.getcwd()], str, is_probe=is_probe)
    except session.Unsupported as error:
        return str(error)
if holds and prepared:
    if os.fork() == 0:
        with open(os.path.join(folder, "finding"), "w") as note:
            note.write(hold(True))
        os._exit(0)
    os.wait()
    told["findings"] = [open(os.path.join(folder, "finding")).read(), hold(False)]
if late:
    conftests = prepared.executed_conftests
    for path in late.split(os.pathsep):
        conftests.resume()
        assert conftests.extend_path(path) and not conftests.has(path)
        conftests.execute(path)
        conftests.suspend()
        assert conftests.has(path)
for number, file in enumerate(files if prepared else ()):
    told["why_not"][file] = prepared.why_not(file)
    shutil.rmtree(temporary, ignore_errors=True)
    os.mkdir(temporary)
    base = os.path.join(folder, str(number))
    pid = os.fork()
    if pid == 0:
        output = os.open(base + ".out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.dup2(os.open(base + ".report", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 198)
        os.environ["TMPDIR"] = temporary
        sys.argv[:] = [os.path.join(os.path.dirname(sys.modules["pytest"].__file__), "__main__.py"), file]
        try:
            reporter = passmuster_child_report.ReportWriter(198)
            raise SystemExit(prepared.run(file, reporter, passmuster_child_select.Selection()))
        except session.Unsupported as error:
            with open(base + ".unsupported", "w") as note:
                note.write(str(error))
            raise SystemExit(99)
    status = os.waitpid(pid, 0)[1]
    told["status"][file] = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
    if os.path.exists(base + ".unsupported"):
        told["unsupported"][file] = open(base + ".unsupported").read()
print(json.dumps(told))
"""

_NOISE = (
    (re.compile(r"=* ?(.*\bin )[0-9.]+s(?: \([0-9:]+\))?((?:\x1b\[\d+m)*) ?=*"), r"\1<time>\2"),
    (re.compile(r"0x[0-9a-f]+"), "<address>"),
    (re.compile(r"^[0-9.]+s (setup|call|teardown)", re.MULTILINE), r"<time> \1"),
)


def normalised(output: str) -> str:
    """Return an output without what differs from run to run."""
    for pattern, replacement in _NOISE:
        output = pattern.sub(replacement, output)
    return output


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a prepared session did.

    Args:
        refused: why it could not be prepared; empty: it could.
        root: root directory and configuration file.
        runs: how each file ended.
        why_not: what was said about each before the fork.
        unsupported: what a child said after all.
        findings: what the probe, and then the server, found when they loaded the conftests.
    """

    refused: str
    root: tuple[str, ...]
    runs: dict[str, Ran]
    why_not: dict[str, str]
    unsupported: dict[str, str]
    findings: tuple[str, ...]


class SessionBench(ChildBench):
    """A project whose files are run in both ways.

    Attributes:
        ways: how `compare` forks files: whether the server loads the initial conftests before it is forked.
        late_conftests: others that the server executes after that, one level after another.
    """

    ways: tuple[bool, ...] = (False,)
    late_conftests: tuple[str, ...] = ()

    def run_forked(self, *names: str, holds_conftests: bool | None = None, **variables: str) -> Prepared:
        """Prepare a session, and run files in forks of it.

        Args:
            holds_conftests: None: as the last of `ways`.
        """
        if holds_conftests is None:
            holds_conftests = self.ways[-1]
        folder = self.root.parent / "forked"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        holds = "yes" if holds_conftests else ""
        late = os.pathsep.join(str(self.root / name) for name in self.late_conftests)
        arguments = [str(CHILD_MAIN.parent), str(folder), self.temporary, holds, late, *names]
        variables = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **variables}
        done = self._execute([self.python, "-c", SERVER, *arguments], variables)
        assert done.returncode == 0, done.stdout
        told = json.loads(done.stdout.splitlines()[-1])
        assert told["project_modules"] == [], told
        assert done.stdout.count("\n") == 1, done.stdout
        return Prepared(
            refused=told["refused"],
            root=tuple(told["root"]),
            runs={
                name: _ran(folder, number, told["status"][name])
                for number, name in enumerate(names)
                if name in told["status"]
            },
            why_not=told["why_not"],
            unsupported=told["unsupported"],
            findings=tuple(told["findings"]),
        )

    def run_spawned(self, name: str, **variables: str) -> Ran:
        """Run a file as the supervisor does without a server."""
        shutil.rmtree(self.temporary, ignore_errors=True)
        Path(self.temporary).mkdir()
        variables = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "TMPDIR": self.temporary, **variables}
        return self.run(name, "pytest", **variables)

    @property
    def temporary(self) -> str:
        """The temporary directory of every run, made anew for each."""
        return str(self.root.parent / "temporary")

    def compare(self, *names: str, **variables: str) -> dict[str, Ran]:
        """Assert that files run the same spawned, and forked in each way; return how they ran forked last."""
        spawned = {name: self.run_spawned(name, **variables) for name in names}
        for holds_conftests in self.ways:
            prepared = self.run_forked(*names, holds_conftests=holds_conftests, **variables)
            assert prepared.refused == "", prepared.refused
            assert not any(prepared.findings), prepared.findings
            assert prepared.unsupported == {}, prepared.unsupported
            assert set(prepared.why_not.values()) == {""}, prepared.why_not
            for name, forked in prepared.runs.items():
                differences = _differences(name, spawned[name], forked)
                assert not differences, "\n".join([f"holds conftests: {holds_conftests}", *differences])
        return prepared.runs


def _differences(name: str, spawned: Ran, forked: Ran) -> list[str]:
    """Return how two runs of a file differ, as lines."""
    found = [] if spawned.status == forked.status else [f"{name}: {spawned.status} is now {forked.status}"]
    for one, other in (
        (normalised(spawned.output).splitlines(), normalised(forked.output).splitlines()),
        (_records(spawned.report), _records(forked.report)),
    ):
        found += difflib.unified_diff(one, other, f"{name} spawned", f"{name} forked", lineterm="")
    return found


def _ran(folder: Path, number: int, status: int) -> Ran:
    report = ChildReport()
    if (folder / f"{number}.report").exists():
        report.feed((folder / f"{number}.report").read_bytes())
    output = (folder / f"{number}.out").read_text(encoding="utf-8", errors="backslashreplace")
    return Ran(status=status, output=output, report=report)


def _records(report: ChildReport) -> list[str]:
    cases = [repr((case.case_id, case.outcome, normalised(case.message))) for case in report.cases]
    return [*cases, repr((report.begun, report.done, normalised(report.collect_error)))]


def find_pythons() -> list[str]:
    """Return the interpreters with pytest to test with: this version, and those named in the environment."""
    named = os.environ.get("PASSMUSTER_TEST_PYTHONS", "")
    return [str(PYTEST_PYTHON), *(path for path in named.split(os.pathsep) if path)]


__all__ = ["LAUNCHER", "Prepared", "SessionBench", "find_pythons", "normalised"]
