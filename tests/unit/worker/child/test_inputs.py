"""What a test process records of its reads: on every interpreter, by real files."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from passmuster.model.inputs import FileInputs, Listing
from tests.unit.worker.child.child_bench import INTERPRETERS, ChildBench
from worker.process.child_report import ChildReport
from worker.process.command import CHILD_DIR


@pytest.fixture(params=INTERPRETERS)
def bench(tmp_path: Path, request: pytest.FixtureRequest) -> ChildBench:
    return make_bench(tmp_path, INTERPRETERS[request.param])


def make_bench(folder: Path, interpreter: str) -> ChildBench:
    (folder / "project").mkdir()
    (folder / "tmp").mkdir()
    return ChildBench(folder / "project", interpreter)


def recorded(bench: ChildBench, name: str) -> FileInputs:
    ran = bench.run(name, TMPDIR=str(bench.root.parent / "tmp"))
    inputs = ran.report.inputs.inputs()
    assert ran.status == 0, ran.output
    assert inputs is not None, ran.output
    return inputs


def test_code_data_and_lookups_of_a_file_are_recorded(bench: ChildBench) -> None:
    bench.write("package/__init__.py", "from package.inner import value\n")
    bench.write(
        "package/inner.py", "import importlib\nvalue = importlib.import_module('package.late').value\n"
    )
    bench.write("package/late.py", "value = 1\n")
    bench.write("removed.py", "")
    bench.write("data/one.txt", "1")
    bench.write("data/two.bin", b"2")
    elsewhere = bench.root.parent / "elsewhere.txt"
    elsewhere.write_text("x")
    bench.write(
        "test_it.py",
        f"""
        import glob, os, pathlib, shutil, sys, tempfile, threading
        import package, removed
        del sys.modules["removed"]
        try:
            import missing_one
        except ImportError:
            pass
        try:
            from package import missing_two
        except ImportError:
            pass
        open("data/one.txt").close()
        os.close(os.open(b"data/two.bin", os.O_RDONLY))
        thread = threading.Thread(target=lambda: pathlib.Path({str(elsewhere)!r}).read_text())
        thread.start()
        thread.join()
        try:
            open("absent.ini")
        except OSError:
            pass
        os.listdir("data")
        with open("written.txt", "w") as file:
            file.write("x")
        open("written.txt").close()
        made = tempfile.mkdtemp()
        os.mkdir(made + "/inner")
        shutil.rmtree(made)
        with tempfile.TemporaryFile() as file, open("/dev/null") as null:
            pass
        for event in ("open", "import", "os.rename", "subprocess.Popen", "exec", "os.listdir"):
            sys.audit(event)
        sys.audit("open", 1, 2)
        if __name__ == "__main__":
            print("done")
        """,
    )

    inputs = recorded(bench, "test_it.py")

    assert set(inputs.read) == {
        *("package/__init__.py", "package/inner.py", "package/late.py", "removed.py", "test_it.py"),
        *("data/one.txt", "data/two.bin", str(elsewhere)),
    }
    assert inputs.absent == ("absent.ini",)
    assert inputs.listed == (Listing("data", "*"),)
    assert {"package/inner", "package/late", "package/missing_two"} <= set(inputs.modules)
    assert {"package", "removed", "missing_one", "sitecustomize", "os"} <= set(inputs.names)
    assert inputs.path == (".",)
    assert (inputs.unsure, inputs.has_network) == ("", False)


def test_a_file_is_recorded_however_it_is_named(bench: ChildBench) -> None:
    for name in ("linked", "moved", "kept", "data base", "above", "real/beside"):
        bench.write(f"{name}.txt", "")
    bench.write("apps/one/app.json", "{}")
    bench.write("real/inner/code.txt", "")
    (bench.root / "inner").symlink_to("real/inner")
    library = bench.root.parent / "library.py"
    library.write_text("")
    bench.write(
        "test_it.py",
        f"""
        import glob, os, pathlib, sqlite3, sys, tempfile
        own = tempfile.mkdtemp()
        os.symlink(os.path.abspath("linked.txt"), own + "/link")
        open(own + "/link").close()
        os.rename("moved.txt", "moved.tmp")
        open("moved.tmp").close()
        os.rename("moved.tmp", "moved.txt")
        try:
            open("kept.txt", "x")
        except FileExistsError:
            open("kept.txt").close()
        sqlite3.connect("file:" + os.path.abspath("data%20base.txt") + "?mode=ro", uri=True).close()
        open(os.path.join(sys.prefix, "..", "..", *([".."] * 20), os.path.abspath("above.txt")[1:])).close()
        open("inner/../beside.txt").close()
        assert glob.glob("apps/*/app.json") == [str(one) for one in pathlib.Path(".").glob("apps/*/app.json")]
        assert len(list(pathlib.Path("apps").glob("*/app.*"))) == 1
        sys.dont_write_bytecode = False
        sys.path.insert(0, {str(library.parent)!r})
        import library
        if __name__ == "__main__":
            print("done")
        """,
    )

    recorded(bench, "test_it.py")
    inputs = recorded(bench, "test_it.py")  # The library may come from its compiled form now.

    assert set(inputs.read) == {
        *("test_it.py", "linked.txt", "moved.txt", "kept.txt", "data base.txt", "above.txt"),
        *("real/beside.txt", str(library)),
    }
    assert str(library.parent) in inputs.path  # Another module there could hide one that comes later.
    assert set(inputs.listed) == {
        *(Listing("apps", "*"), Listing("apps", "*/app.json"), Listing("apps/one", "*")),
    }
    assert inputs.unsure == ""


def test_the_names_of_a_projects_folders_do_not_hide_its_files(tmp_path: Path) -> None:
    root = tmp_path / ".hypothesis" / "project"
    (tmp_path / "tmp").mkdir()
    (root / "vendored" / "site-packages").mkdir(parents=True)
    bench = ChildBench(root, INTERPRETERS["running"])
    bench.write("vendored/site-packages/theirs.py", "")
    layered = (
        root / "env" / "lib" / "python3" / "site-packages"
    )  # Of another environment than the one that runs.
    bench.write("env/pyvenv.cfg", "")
    bench.write("env/lib/python3/site-packages/installed.py", "")
    bench.write("it.py", "import theirs, installed\nif __name__ == '__main__': pass\n")

    path = f"{root / 'vendored/site-packages'}:{layered}"
    ran = bench.run("it.py", TMPDIR=str(tmp_path / "tmp"), PYTHONPATH=path)

    inputs = ran.report.inputs.inputs()
    assert inputs is not None, ran.output
    assert set(inputs.read) == {"it.py", "vendored/site-packages/theirs.py"}


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        (
            "import subprocess, sys; subprocess.run([sys.executable, '-c', ''], check=True)",
            "starts a program",
        ),
        ("import os; os.system('true')", "starts a program"),
        ("import os; os.fork() or os._exit(0)", "forks a process"),
        (
            "import sys, types; sys.modules['x.popen_loky_posix'] = types.ModuleType('x.popen_loky_posix')",
            "starts a program",
        ),
        ("import platform; platform.processor()", ""),
        ("import subprocess; subprocess.run(['git', '--version'], check=True)", "starts a program"),
        (
            "import os; os.open('same.txt', os.O_RDONLY, dir_fd=os.open('.', os.O_RDONLY))",
            "below a descriptor",
        ),
        (
            (
                "import os; open('same.txt').close(); "
                "os.open('same.txt', os.O_RDONLY, dir_fd=os.open('folder', os.O_RDONLY))"
            ),
            "below a descriptor",
        ),
        (
            (
                "import os, tempfile; folder = os.open('folder', os.O_RDONLY); "
                "os.chdir(tempfile.mkdtemp()); os.open('same.txt', os.O_RDONLY, dir_fd=folder)"
            ),
            "below a descriptor",
        ),
        ("import subprocess; subprocess.run(['./file'], check=True)", "starts a program"),
        ("import subprocess; subprocess.run(['uname'], check=True)", "starts a program"),
        (
            "import os, tempfile; os.symlink(os.getcwd(), tempfile.mkdtemp() + '/link')",
            "links or moves a folder",
        ),
    ],
)
def test_reads_of_other_processes_make_the_record_unsure(
    bench: ChildBench, statement: str, reason: str
) -> None:
    bench.write("same.txt", "")
    bench.write("folder/same.txt", "")
    bench.write("file", "#!/bin/sh\n").chmod(0o755)
    bench.write("script.py", f"{statement}\nif __name__ == '__main__': pass\n")

    inputs = recorded(bench, "script.py")

    assert reason in inputs.unsure
    assert bool(reason) == bool(inputs.unsure)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("a, b = socket.socketpair(); a.send(b'1'); a.sendmsg([b'1'])", False),
        ("socket.socket(socket.AF_UNIX).connect_ex(tempfile.gettempdir() + '/own')", False),
        ("socket.socket(socket.AF_UNIX).connect_ex('/run/passmuster-no-such-socket')", True),
        ("socket.getaddrinfo('127.0.0.1', 80)", True),
        ("socket.gethostbyname('127.0.0.1')", True),
    ],
)
def test_use_of_the_network_and_of_sockets_of_other_programs_is_recorded(
    bench: ChildBench, statement: str, expected: bool
) -> None:
    bench.write("it.py", f"import socket, tempfile\n{statement}\nif __name__ == '__main__': pass\n")

    assert recorded(bench, "it.py").has_network == expected


def test_a_read_in_an_exit_callback_counts_and_an_abrupt_end_leaves_no_record(bench: ChildBench) -> None:
    bench.write("late.txt", "")
    bench.write(
        "late.py",
        "import atexit\natexit.register(lambda: open('late.txt').close())\nif __name__ == '__main__': pass\n",
    )
    bench.write("abrupt.py", "import os\nif __name__ == '__main__': os._exit(0)\n")

    assert "late.txt" in recorded(bench, "late.py").read
    assert bench.run("abrupt.py").report.inputs.inputs() is None


def test_conftests_and_configuration_of_pytest_are_recorded(tmp_path: Path) -> None:
    bench = make_bench(tmp_path, sys.executable)  # The only one that surely has pytest.
    bench.write("pytest.ini", "[pytest]\n")
    bench.write("tests/conftest.py", "")
    bench.write("tests/test_it.py", "def test_it(): pass\n")
    bench.write("tests/test_other.py", "def test_it(): pass\n")

    inputs = recorded(bench, "tests/test_it.py")

    assert set(inputs.read) == {"pytest.ini", "tests/conftest.py", "tests/test_it.py"}
    assert set(inputs.listed) == {
        *(Listing(".", "*-info"), Listing("tests", "*-info"), Listing(".", "test*/conftest.py")),
    }


FORKS = """
import os, sys
sys.path[0] = sys.argv[1]
import passmuster_child_inputs, passmuster_child_report
sys.path[0] = os.getcwd()
passmuster_child_inputs.install(os.getcwd(), "")
import package.inner
open("before.txt").close()
try:
    import package.missing
except ImportError:
    pass
if sys.argv[2]:
    passmuster_child_inputs.settle()
if os.fork() == 0:
    recorder = passmuster_child_inputs.start_file()
    import package.later
    open("after.txt").close()
    open("before.txt", "w").close()
    open("written.txt", "w").close()
    open("written.txt").close()
    recorder.report(passmuster_child_report.ReportWriter(os.dup(1)))
    os._exit(0)
os.wait()
"""


def test_a_forked_process_adds_to_what_its_server_has_prepared(bench: ChildBench) -> None:
    for name in ("package/__init__.py", "package/inner.py", "package/later.py", "before.txt", "after.txt"):
        bench.write(name, "")

    def inputs_of(settles: str) -> FileInputs:
        status, output = bench.run_plainly("-c", FORKS, str(CHILD_DIR), settles)
        assert status == 0, output
        report = ChildReport()
        report.feed(output.encode())
        inputs = report.inputs.inputs()
        assert inputs is not None, output
        return inputs

    plain, settled = inputs_of(""), inputs_of("yes")

    assert {"package/inner.py", "package/later.py", "before.txt", "after.txt"} <= set(settled.read)
    assert "written.txt" not in settled.read
    assert {"package/missing", "package/later"} <= set(settled.modules)
    for kind in ("read", "absent", "listed", "modules", "path", "names"):
        assert sorted(getattr(settled, kind)) == sorted(getattr(plain, kind))
    assert (settled.unsure, settled.has_network) == (plain.unsure, plain.has_network)
