"""The coverage part of a test process, tried in real processes with a stand-in for the bootstrap."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import coverage
import pytest

CHILD_DIRECTORY = Path(__file__).parents[4] / "worker" / "child"

IMPORT = f"""
import json, os, sys, types
sys.path.insert(0, {str(CHILD_DIRECTORY)!r})
import passmuster_child_coverage as measure
del sys.path[0]
"""
BOOTSTRAP = f"""{IMPORT}
measure.load()
path = sys.argv[1]
sys.path[0] = os.path.dirname(os.path.abspath(path))
try:
    measurement = measure.start(json.loads(os.environ.pop("SETTINGS")))
except measure.CoverageStartError as exc:
    sys.exit(str(exc))
def called_after_start():
    return 1
called_after_start()
try:
    main = types.ModuleType("__main__")
    main.__file__ = path
    sys.modules["__main__"] = main
    with open(path) as stream:
        code = compile(stream.read(), path, "exec")
    exec(code, main.__dict__)
finally:
    measure.stop(measurement)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    status: int
    stdout: str
    stderr: str
    covered: dict[str, list[int]]
    data_files: list[str]


class Project:
    def __init__(self, directory: Path) -> None:
        self.root = directory / "project"
        self.root.mkdir()
        self.bootstrap = directory / "bootstrap"
        self.bootstrap.mkdir()
        (self.bootstrap / "main.py").write_text(BOOTSTRAP, encoding="utf-8")
        self.private = directory / "private"
        self.private.mkdir()

    def write(self, name: str, *lines: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def run(self, name: str, *, source: Sequence[str] = (), **variables: str) -> Ran:
        data_file = str(self.private / ".coverage")
        kept = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}
        settings = json.dumps({"data_file": data_file, "source": list(source)})
        done = subprocess.run(
            [sys.executable, str(self.bootstrap / "main.py"), name],
            cwd=self.root,
            env={**kept, "COVERAGE_FILE": data_file, "SETTINGS": settings, **variables},
            capture_output=True,
            text=True,
        )
        files = sorted(str(path) for path in self.private.iterdir()) if self.private.exists() else []
        return Ran(
            status=done.returncode,
            stdout=done.stdout,
            stderr=done.stderr,
            covered=self.read(files),
            data_files=files,
        )

    def read(self, files: list[str]) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for file in files:
            data = coverage.CoverageData(file)
            data.read()
            for measured in data.measured_files():
                lines = {*found.get(os.path.relpath(measured, self.root), []), *(data.lines(measured) or [])}
                found[os.path.relpath(measured, self.root)] = sorted(lines)
        return found


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def run_python(code: str, *options: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", IMPORT + code], cwd=cwd, capture_output=True, text=True, timeout=60
    )


def test_measures_the_file_and_leaves_nothing_in_the_project(project: Project) -> None:
    project.write("test_a.py", "def used():", "    return 1", "def unused():", "    return 2", "used()")
    ran = project.run("test_a.py")
    assert (ran.status, ran.stdout, ran.stderr) == (0, "", "")
    assert ran.covered == {"test_a.py": [1, 2, 3, 5]}
    assert [path.name for path in project.root.iterdir()] == ["test_a.py"]


def test_the_exit_status_and_traceback_of_a_failing_file_stay_its_own(project: Project) -> None:
    project.write("test_a.py", "raise SystemExit(7)")
    assert project.run("test_a.py").status == 7


def test_the_bootstrap_is_not_in_the_data_even_where_everything_is_measured(project: Project) -> None:
    project.write(".coveragerc", "[run]", "include = *")
    project.write(
        "test_a.py", "import os", "pid = os.fork()", "if not pid: os._exit(0)", "os.waitpid(pid, 0)"
    )
    covered = project.run("test_a.py").covered
    assert covered["test_a.py"] == [1, 2, 3, 4]
    assert not [name for name in covered if "passmuster_child" in name]


def test_configured_source_wins_over_the_working_directory_and_asked_source_over_both(
    project: Project,
) -> None:
    project.write("shop/__init__.py", "price = 1")
    project.write("tools/__init__.py", "name = 2")
    project.write("test_a.py", "import shop, tools")
    assert set(project.run("test_a.py").covered) == {"shop/__init__.py", "tools/__init__.py", "test_a.py"}
    for path in project.private.iterdir():
        path.unlink()
    project.write(".coveragerc", "[run]", "source = shop")
    assert set(project.run("test_a.py").covered) == {"shop/__init__.py"}
    assert set(project.run("test_a.py", source=["tools"]).covered) == {
        "shop/__init__.py",
        "tools/__init__.py",
    }


def test_a_file_that_touches_no_source_still_delivers_data_and_no_warning(project: Project) -> None:
    project.write("shop/__init__.py", "price = 1")
    project.write("test_a.py", "pass")
    ran = project.run("test_a.py", source=["shop"])
    assert len(ran.data_files) == 1
    assert ran.stderr == ""


def test_sigterm_saves_the_data_and_still_ends_the_process(project: Project) -> None:
    project.write("test_a.py", "import os, signal", "os.kill(os.getpid(), signal.SIGTERM)", "never = 1")
    ran = project.run("test_a.py")
    assert ran.status == -signal.SIGTERM
    assert ran.covered == {"test_a.py": [1, 2]}


def test_sigterm_goes_to_the_tests_own_handler_where_it_has_one(project: Project) -> None:
    project.write(
        "test_a.py",
        "import os, signal, sys",
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))",
        "os.kill(os.getpid(), signal.SIGTERM)",
    )
    ran = project.run("test_a.py")
    assert ran.status == 9
    assert ran.covered == {"test_a.py": [1, 2, 3]}


def test_an_ignored_sigterm_stays_ignored(project: Project) -> None:
    (project.bootstrap / "main.py").write_text(
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + BOOTSTRAP, encoding="utf-8"
    )
    project.write("test_a.py", "import os, signal", "os.kill(os.getpid(), signal.SIGTERM)", "print('alive')")
    assert project.run("test_a.py").stdout == "alive\n"


def test_a_forked_child_dies_of_sigterm_as_without_coverage(project: Project) -> None:
    project.write(
        "test_a.py",
        "import os, signal",
        "pid = os.fork()",
        "if pid == 0:",
        "    print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, flush=True)",
        "    os.kill(os.getpid(), signal.SIGTERM)",
        "print(os.waitpid(pid, 0)[1] == signal.SIGTERM)",
    )
    ran = project.run("test_a.py")
    assert ran.stdout == "True\nTrue\n"
    assert ran.covered == {"test_a.py": [1, 2, 3, 6]}


def test_a_forked_child_that_leaves_through_the_end_of_the_file_saves_beside_its_parent(
    project: Project,
) -> None:
    project.write(
        "test_a.py",
        "import os",
        "pid = os.fork()",
        "if pid:",
        "    os.waitpid(pid, 0)",
        "else:",
        "    child = 1",
    )
    ran = project.run("test_a.py")
    assert len(ran.data_files) == 2
    assert ran.covered == {"test_a.py": [1, 2, 3, 4, 6]}


def test_os_exit_delivers_nothing_unless_the_project_asks(project: Project) -> None:
    project.write("test_a.py", "import os", "os._exit(0)")
    assert project.run("test_a.py").data_files == []
    project.write(".coveragerc", "[run]", "patch = _exit")
    assert project.run("test_a.py").covered == {"test_a.py": [1, 2]}


@pytest.mark.parametrize("settings", ["patch = subprocess", "parallel = true"])
def test_data_of_subprocesses_lands_in_the_private_directory(project: Project, settings: str) -> None:
    # Without `patch`, it is the user who has subprocesses start coverage, by a .pth file as a rule.
    project.write("sitecustomize.py", "import coverage", "coverage.process_startup()")
    project.write(".coveragerc", "[run]", settings, "omit = sitecustomize.py")
    project.write("shop.py", "price = 1")
    project.write(
        "test_a.py",
        "import subprocess, sys, tempfile",
        "subprocess.run([sys.executable, '-m', 'shop'], check=True)",
    )
    started = {"COVERAGE_PROCESS_START": str(project.root / ".coveragerc")} if "parallel" in settings else {}
    ran = project.run("test_a.py", **started, PYTHONPATH=str(project.root), PYTHONDONTWRITEBYTECODE="1")
    assert ran.covered == {"test_a.py": [1, 2], "shop.py": [1]}
    left = sorted(path.name for path in project.root.iterdir())
    assert left == [".coveragerc", "shop.py", "sitecustomize.py", "test_a.py"]


def test_data_of_multiprocessing_lands_in_the_private_directory(project: Project) -> None:
    project.write(".coveragerc", "[run]", "concurrency = multiprocessing")
    project.write("shop.py", "def price():", "    return 1")
    project.write(
        "test_a.py",
        "import multiprocessing, os, tempfile",
        "import shop",
        "with tempfile.TemporaryDirectory() as elsewhere:",
        "    os.chdir(elsewhere)",
        "    process = multiprocessing.get_context('fork').Process(target=shop.price)",
        "    process.start()",
        "    process.join()",
        "    assert os.listdir() == []",
    )
    ran = project.run("test_a.py")
    assert ran.stderr == ""
    assert ran.covered["shop.py"] == [1, 2]
    assert sorted(path.name for path in project.root.iterdir() if path.suffix) == ["shop.py", "test_a.py"]


def test_data_that_cannot_be_saved_is_told_and_changes_no_verdict(project: Project) -> None:
    project.write("test_a.py", f"import shutil; shutil.rmtree({str(project.private)!r})")
    ran = project.run("test_a.py")
    assert ran.status == 0
    assert ran.stderr.startswith("passmuster: coverage data could not be saved: ")
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize("line", ["patch = nonsense", "plugins = no_such_plugin", "concurrency = nonsense"])
def test_a_wrong_configuration_is_one_line(project: Project, line: str) -> None:
    project.write(".coveragerc", "[run]", line)
    project.write("test_a.py", "print('ran')")
    ran = project.run("test_a.py")
    assert (ran.status, ran.stdout) == (1, "")
    assert ran.stderr.startswith("passmuster: coverage cannot start: ")
    assert ran.stderr.count("\n") == 1


def test_a_sigterm_during_the_saving_ends_the_process_after_it(tmp_path: Path) -> None:
    code = """
import signal
class Slow:
    def stop(self):
        pass
    def save(self):
        os.kill(os.getpid(), signal.SIGTERM)
        print("saved", flush=True)
measurement = measure.Measurement(Slow())
measure._handle_sigterm(measurement)
measure.stop(measurement)
print("went on")
"""
    done = run_python(code, cwd=tmp_path)
    assert done.stdout == "saved\n"
    assert done.returncode == -signal.SIGTERM


def test_an_interpreter_without_coverage_is_told_apart(tmp_path: Path) -> None:
    # A folder of reports must not pass for the package.
    (tmp_path / "coverage").mkdir()
    code = """
print(measure.available(), "coverage" in sys.modules)
try:
    measure.start({"data_file": "x", "source": []})
except measure.CoverageStartError as exc:
    print(exc)
"""
    without_site = run_python(code, "-S", cwd=tmp_path)
    assert without_site.stdout.startswith("False False\npassmuster: coverage cannot ")
    assert run_python("print(measure.available())", cwd=tmp_path).stdout == "True\n"
