"""A script sees, prints and returns under the runner what it does as `python FILE`, on each Python."""

from __future__ import annotations

import ast
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.unit.worker.child.child_bench import INTERPRETERS, REPORT_FD, ChildBench

DIFFERENT_MODULES = {
    "_json",
    "atexit",
    "faulthandler",
    "gc",
}
"""The modules that the bootstrap documents, and no others."""

PROGRAMS: dict[str, str | bytes] = {
    "nothing": "",
    "what it is": """
        '''A docstring.'''
        import sys
        print(__name__, __file__, __doc__, __package__, __spec__, type(__loader__), __builtins__)
        print(sorted(globals()), sys.argv, getattr(sys, "orig_argv", None), sys.path, sys.flags)
        print(sys.modules["__main__"], sys.modules["__main__"].__dict__ is globals(), sys.excepthook)
    """,
    "builtins are a module": "print(__builtins__.len('abc'))",
    "signal handlers": """
        import signal
        print([signal.getsignal(n) for n in range(1, 60) if n not in (32, 33)])
    """,
    "an exception": "def f():\n    raise ValueError('no')\nf()\n",
    "a chained exception": "try:\n    1 / 0\nexcept Exception as e:\n    raise KeyError('k') from e\n",
    "an exception with a note of its own": "class Odd(BaseException):\n    pass\nraise Odd('x')\n",
    "an exit status": "import sys\nsys.exit(3)\n",
    "an exit text": "import sys\nsys.exit('for this reason')\n",
    "an exit without anything": "raise SystemExit\n",
    "a large exit status": "raise SystemExit(1000)\n",
    "an interrupt": "raise KeyboardInterrupt\n",
    "an interrupt by signal": "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nprint('later')\n",
    "a hard exit": "import os\nprint('x', flush=True)\nos._exit(7)\n",
    "an abort": "import os\nos.abort()\n",
    "an own excepthook": "import sys\nsys.excepthook = lambda *found: print('mine', found[0])\n1 / 0\n",
    "an error in a thread": """
        import threading
        thread = threading.Thread(target=lambda: 1 / 0, name="worker")
        thread.start()
        thread.join()
    """,
    "atexit after the end": "import atexit\natexit.register(print, 'bye')\nprint('hello')\n",
    "a warning": "import warnings\nwarnings.warn('careful')\n",
    "a syntax error": "x = 1\nif x\n    pass\n",
    "wrong indentation": "def f():\n    pass\n  x = 1\n",
    "a latin source": b"# coding: latin-1\nprint(ascii('\xe4'))\n",
    "a byte order mark": b"\xef\xbb\xbfprint('bom')\n",
    "windows line ends": b"print('a')\r\nprint('b')\r\n",
    "a star import of itself": "import importlib\nm = importlib.import_module('prog')\nprint(m.__name__)\n",
    "future annotations": "from __future__ import annotations\nx: Missing = 1\nprint(__annotations__)\n",
    "annotations": "x: int = 1\nprint(__annotations__)\n",
    "a pickle of its own class": """
        import pickle
        class Thing:
            pass
        print(type(pickle.loads(pickle.dumps(Thing()))))
    """,
    "a traceback of where it is": "import traceback\nprint(traceback.format_stack()[-1])\n",
    "unittest by main": """
        import unittest
        class T(unittest.TestCase):
            def test_b(self):
                self.assertEqual(1, 2)
            def test_a(self):
                self.assertIn("run", dir(self))
        unittest.main(verbosity=0)
    """,
    "inspection of the run method": """
        import inspect, unittest
        run = unittest.TestCase.run
        print(inspect.signature(run), run.__doc__, run.__name__, run.__qualname__, run.__module__)
    """,
}


def steady(text: str) -> list[str]:
    """Return the lines without those that are different in each run: the time of a test run."""
    return [line for line in text.splitlines() if not line.startswith("Ran ")]


@pytest.fixture(params=INTERPRETERS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> ChildBench:
    (tmp_path / "project").mkdir()
    return ChildBench(tmp_path / "project", INTERPRETERS[request.param])


def test_a_script_behaves_as_without_us(bench: ChildBench) -> None:
    def differences(number: int, name: str) -> list[object]:
        own = ChildBench(bench.root / str(number) / "project", bench.python)
        own.write("prog.py", PROGRAMS[name])
        ran = own.run("prog.py", "script")
        status, output = own.run_plainly("prog.py")
        is_same = (ran.status, steady(ran.output)) == (status, steady(output))
        return [] if is_same else [name, (status, output), (ran.status, ran.output)]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(differences, range(len(PROGRAMS)), PROGRAMS))

    assert [difference for difference in found if difference] == []


def test_a_source_that_cannot_be_decoded_is_a_syntax_error_in_other_words(bench: ChildBench) -> None:
    bench.write("prog.py", b"x = '\xff'\n")

    ran = bench.run("prog.py", "script")

    assert ran.status == bench.run_plainly("prog.py")[0] == 1
    assert ran.output.splitlines()[-1].startswith("SyntaxError: ")
    assert ran.report.collect_error.startswith("SyntaxError: ")


def test_only_the_documented_modules_are_there_already(bench: ChildBench) -> None:
    bench.write("prog.py", "import sys\nprint(sorted(sys.modules))\n")

    ours: set[str] = set(ast.literal_eval(bench.run("prog.py", "script").output))
    plain: set[str] = set(ast.literal_eval(bench.run_plainly("prog.py")[1]))

    assert ours - plain == DIFFERENT_MODULES - plain
    assert plain - ours == set()


def test_one_descriptor_more_is_open_and_no_child_inherits_it(bench: ChildBench) -> None:
    listing = "import os\nprint(sorted(int(name) for name in os.listdir('/proc/self/fd'))[:-1])\n"
    again = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', SOURCE], close_fds=False)\n"
    bench.write("prog.py", f"{listing}import sys\nsys.stdout.flush()\nSOURCE = {listing!r}\n{again}")

    own, inherited = bench.run("prog.py", "script").output.splitlines()

    # The listing's own descriptor is 3, and the last of the list is ours.
    assert own == "[0, 1, 2, 3]"
    assert inherited == "[0, 1, 2]"
    bench.write("prog.py", f"import os\nprint(os.path.exists('/proc/self/fd/{REPORT_FD}'))\n")
    assert bench.run("prog.py", "script").output == "True\n"


def test_a_file_that_cannot_be_read_is_told_as_python_tells_it(bench: ChildBench) -> None:
    ran = bench.run("missing.py", "script")
    status, output = bench.run_plainly("missing.py")

    assert ran.status == status == 2
    assert ran.output.rstrip() == output.rstrip()
    assert ran.report.start_error == "cannot read the file: No such file or directory"


def test_safe_path_is_respected(bench: ChildBench) -> None:
    bench.write("prog.py", "import sys\nprint(sys.path)\n")

    ran = bench.run("prog.py", "script", PYTHONSAFEPATH="1")

    assert (ran.status, ran.output) == bench.run_plainly("prog.py", PYTHONSAFEPATH="1")


def test_a_module_of_the_project_shadows_none_of_ours_and_none_of_ours_its(bench: ChildBench) -> None:
    for name in ("json", "faulthandler", "os", "unittest", "report", "passmuster_child_pytest"):
        bench.write(f"{name}.py", "raise RuntimeError('must not be imported')\n")
    bench.write("worker.py", "print('the worker of the project')\n")
    bench.write("prog.py", "import worker\n")

    ran = bench.run("prog.py", "script")

    assert (ran.status, ran.output) == (0, "the worker of the project\n")


def test_the_watcher_of_imports_is_the_only_change_to_the_import_system(bench: ChildBench) -> None:
    source = """
        import sys
        def finders():
            return [getattr(finder, "__name__", type(finder).__name__) for finder in sys.meta_path]
        before = finders()
        import unittest, unittest.case, importlib.util
        assert finders() == before
        loader = unittest.case.__spec__.loader
        assert "exec_module" not in vars(loader), vars(loader)
        assert loader.name == "unittest.case" and unittest.case.__loader__ is loader
        assert importlib.util.find_spec("no_such_module") is None
        try:
            import no_such_module
        except ModuleNotFoundError as error:
            print(error, error.name)
        print(before)
    """
    bench.write("prog.py", source)
    ran = bench.run("prog.py", "script")
    plain_status, plain = bench.run_plainly("prog.py")

    assert (ran.status, plain_status) == (0, 0), ran.output
    ours, theirs = (ast.literal_eval(output.splitlines()[1]) for output in (ran.output, plain))
    assert ours == ["Watcher", *theirs]
