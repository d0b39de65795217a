"""Where Python keeps no bytecode, the processes of a run compile and rewrite each source once, unseen."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from passmuster.model.status import Isolation, RunnerKind, Status
from tests.support.pytest_environment import PYTEST_PYTHON
from tests.unit.worker.workbench import Workbench
from worker.process.command import CHILD_DIR

RECORDER = """
import os, sys
def note(event, arguments):
    if event == "compile" and isinstance(arguments[1], str):
        with open(os.environ["COMPILED"], "a") as log:
            print(os.path.basename(arguments[1]), file=log)
sys.addaudithook(note)
"""
"""A `sitecustomize` of every process of a test: what is compiled, and what pytest parses to rewrite it."""

FILES = {
    RunnerKind.SCRIPT: "import shared\nprint(shared.VALUE)\n",
    RunnerKind.UNITTEST: """
        import unittest
        import shared
        class Case(unittest.TestCase):
            def test_value(self):
                print(shared.VALUE)
    """,
    RunnerKind.PYTEST: "import shared\ndef test_value():\n    print(shared.VALUE)\n",
}
TOLD = """
import sys
import shared
print(sys.dont_write_bytecode, sys.pycache_prefix, shared.__cached__, shared.__file__)
print(shared.__spec__.cached)
code = shared.function.__code__
print(type(shared.__loader__), code.co_filename, list(code.co_lines()), list(code.co_positions()))
"""


class Bench(Workbench):
    """A project without bytecode, and a record of what its processes compile."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, interpreter=str(PYTEST_PYTHON))
        site = folder / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(RECORDER)
        self.log = folder / "compiled"
        self.variables = {
            **os.environ,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(site),
            "COMPILED": str(self.log),
            "PYTEST_ADDOPTS": "-p no:cacheprovider -s",
        }
        self.write("pytest.ini", "[pytest]\n")
        self.write("shared.py", "VALUE = 'first'\ndef function():\n    return VALUE\n")

    def choose(self, isolation: Isolation, **variables: str) -> None:
        """Start anew with a start method and further variables."""
        environ = {**self.variables, **variables}
        self.use(structs.replace(self.settings, isolation=isolation, environ=environ))

    def output_of(self, name: str, kind: RunnerKind) -> str:
        """Run a file, which must pass as it was asked to be started, and return what it printed."""
        result = self.run(structs.replace(self.task(name), runner=kind))
        assert (result.status, result.isolation) == (Status.PASS, self.settings.isolation), result.output
        return result.output

    def times_compiled(self, name: str) -> int:
        """Return how often a source was compiled or parsed."""
        return self.log.read_text().splitlines().count(name)

    def kept(self) -> list[Path]:
        """Return the files of kept code."""
        return sorted(self.tmp_parent.glob("pm-*/code/*"))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.executor.close()


@pytest.mark.parametrize("isolation", [Isolation.SPAWN, Isolation.FORK])
@pytest.mark.parametrize("kind", list(FILES))
def test_the_second_file_compiles_no_module_that_the_first_has_compiled(
    bench: Bench, kind: RunnerKind, isolation: Isolation
) -> None:
    bench.choose(isolation)
    for name in ("test_one.py", "test_two.py"):
        bench.write(name, FILES[kind])
        assert "first" in bench.output_of(name, kind)

    assert bench.times_compiled("shared.py") == 1
    assert bench.times_compiled("test_two.py") >= 1
    assert list(bench.root.rglob("__pycache__")) == []


@pytest.mark.parametrize("isolation", [Isolation.SPAWN, Isolation.FORK])
def test_a_conftest_is_rewritten_once_and_asserts_as_rewritten_code_does(
    bench: Bench, isolation: Isolation
) -> None:
    bench.choose(isolation)
    bench.write("conftest.py", "def check(value):\n    assert value == 'other'\n")
    for name in ("test_one.py", "test_two.py"):
        bench.write(
            name,
            """
            import conftest, pytest
            def test_text():
                with pytest.raises(AssertionError) as caught:
                    conftest.check("value")
                print("said:", str(caught.value).splitlines()[0])
            """,
        )
        assert "said: assert 'value' == 'other'" in bench.output_of(name, RunnerKind.PYTEST)

    assert bench.times_compiled("conftest.py") == 1
    assert list(bench.root.rglob("__pycache__")) == []


@pytest.mark.parametrize("isolation", [Isolation.SPAWN, Isolation.FORK])
def test_a_module_looks_as_it_does_without_passmuster(bench: Bench, isolation: Isolation) -> None:
    bench.choose(isolation)
    bench.write("tell.py", TOLD)
    plain = subprocess.run(
        [PYTEST_PYTHON, "tell.py"], cwd=bench.root, env=bench.variables, capture_output=True, text=True
    ).stdout

    for _ in range(2):
        assert bench.output_of("tell.py", RunnerKind.SCRIPT) == plain


def test_a_source_that_changed_is_compiled_anew_though_its_size_and_time_are_the_same(bench: Bench) -> None:
    bench.choose(Isolation.SPAWN)
    bench.write("show.py", FILES[RunnerKind.SCRIPT])
    shared = bench.root / "shared.py"
    before = shared.stat()
    outputs = [bench.output_of("show.py", RunnerKind.SCRIPT)]
    shared.write_text(shared.read_text().replace("first", "other"))
    os.utime(shared, ns=(before.st_atime_ns, before.st_mtime_ns))
    outputs.append(bench.output_of("show.py", RunnerKind.SCRIPT))

    assert outputs == ["first\n", "other\n"]


def test_a_warning_of_the_compiler_reaches_every_process(bench: Bench) -> None:
    bench.choose(Isolation.SPAWN, PYTHONWARNINGS="always")
    bench.write("shared.py", "VALUE = 'first' if 1 is 1 else ''\n")
    bench.write("show.py", FILES[RunnerKind.SCRIPT])

    for _ in range(2):
        assert 'SyntaxWarning: "is" with' in bench.output_of("show.py", RunnerKind.SCRIPT)


def test_a_source_with_a_hidden_warning_is_not_kept_for_a_process_that_shows_it(bench: Bench) -> None:
    bench.choose(Isolation.SPAWN, PYTHONWARNINGS="ignore")
    bench.write("shared.py", "VALUE = 'first' if 1 is 1 else ''\n")
    bench.write("show.py", FILES[RunnerKind.SCRIPT])
    bench.output_of("show.py", RunnerKind.SCRIPT)
    bench.output_of("show.py", RunnerKind.SCRIPT)

    assert bench.times_compiled("shared.py") == 2


def test_damaged_code_is_compiled_again(bench: Bench) -> None:
    bench.choose(Isolation.SPAWN)
    bench.write("show.py", FILES[RunnerKind.SCRIPT])
    bench.output_of("show.py", RunnerKind.SCRIPT)
    assert bench.kept()
    for entry in bench.kept():
        entry.write_bytes(entry.read_bytes()[:-5] + b"wrong")

    assert bench.output_of("show.py", RunnerKind.SCRIPT) == "first\n"
    assert bench.times_compiled("shared.py") == 2


def test_an_error_in_a_source_is_shown_without_a_frame_of_passmuster(bench: Bench) -> None:
    bench.choose(Isolation.SPAWN)
    bench.write("shared.py", "def\n")
    bench.write("show.py", FILES[RunnerKind.SCRIPT])
    result = bench.run(bench.task("show.py"))
    plain = subprocess.run(
        [PYTEST_PYTHON, "show.py"], cwd=bench.root, env=bench.variables, capture_output=True, text=True
    ).stderr

    assert "SyntaxError" in plain
    assert result.output == plain


TRACES = """
import sys
NAMES = set()
sys.settrace(lambda frame, event, argument: NAMES.add(frame.f_globals["__name__"]))
import shared
sys.settrace(None)
print(shared.VALUE, "passmuster_child_bytecode" in NAMES)
"""


def test_a_debugger_finds_itself_in_no_code_that_keeps_code(bench: Bench) -> None:
    bench.choose(Isolation.SPAWN)
    bench.write("trace.py", TRACES)

    assert bench.output_of("trace.py", RunnerKind.SCRIPT) == "first False\n"


def test_kept_code_is_private_and_goes_with_the_run(bench: Bench) -> None:
    bench.choose(Isolation.SPAWN)
    bench.write("show.py", FILES[RunnerKind.SCRIPT])
    bench.output_of("show.py", RunnerKind.SCRIPT)
    modes = {entry.stat().st_mode & 0o077 for entry in (*bench.kept(), bench.kept()[0].parent)}
    bench.executor.close()

    assert modes == {0}
    assert bench.kept() == []


def test_where_python_keeps_bytecode_nothing_else_is_kept(bench: Bench) -> None:
    del bench.variables["PYTHONDONTWRITEBYTECODE"]
    bench.choose(Isolation.SPAWN)
    bench.write("show.py", FILES[RunnerKind.SCRIPT])
    bench.output_of("show.py", RunnerKind.SCRIPT)

    assert bench.kept() == []
    assert list(bench.root.rglob("__pycache__/shared.*.pyc"))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Return a folder that another user can enter, which those of pytest are not."""
    # Not below TMPDIR, which is private to this file.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def test_a_tree_that_cannot_be_written_is_compiled_once(open_folder: Path) -> None:
    tree, code = open_folder / "tree", open_folder / "code"
    tree.mkdir()
    code.mkdir()
    (tree / "shared.py").write_text("VALUE = 1\n")
    tree.chmod(0o555)
    nobody = 65534 if os.geteuid() == 0 else os.geteuid()  # Root can write everywhere.
    os.chown(code, nobody, -1)
    program = f"""
import os, sys, passmuster_child_bytecode as bytecode
os.setuid({nobody})
sys.dont_write_bytecode = False
bytecode.install({str(code)!r})
found = []
sys.addaudithook(lambda event, arguments: event == 'compile' and found.append(arguments[1]))
sys.path.insert(0, {str(tree)!r})
import shared
print(len(found))
"""
    command = [sys.executable, "-B", "-c", program]
    printed = [
        subprocess.run(command, cwd=CHILD_DIR, stdout=subprocess.PIPE, text=True, env={}, check=True).stdout
        for _ in range(2)
    ]

    assert printed == ["1\n", "0\n"]
