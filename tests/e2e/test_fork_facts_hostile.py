"""A file that replaces what the interpreter offers, and never puts it back, ends as `python FILE` does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.support.facts import Facts, file_of
from tests.e2e.support.project import Project
from tests.support.pytest_environment import PYTEST_ENVIRONMENT

MODULES = ("asyncio", "ctypes", "logging", "random", "tempfile", "threading", "unittest.mock")
"""What is imported beforehand, for the strictest way of forking."""

LEFT_OPEN = """
class Loud:
    def __del__(self):
        print("gone")


refuse = eval("lambda *args, **named: 1 / 0", {})  # It keeps nothing of this file alive.
loud = Loud()
held = open(__file__ + ".held", "w")
held.write("held back")
"""
"""What the end of a file has to see to: a destructor, and a file that is not flushed."""

LAZY = """
code = '''
class Lazy:
    @property
    def __class__(self):
        raise RuntimeError("settings are not configured yet")

    def __getattr__(self, name):
        raise RuntimeError("settings are not configured yet")
'''
names = {}
exec(code, names)
lazy = [names["Lazy"]()]
"""
"""As settings objects that find out what they stand for when they are first touched."""

PROGRAMS = {
    "functions of os": f"""{LEFT_OPEN}
import os
print("before", flush=True)
for name in ("write", "getpid", "kill", "_exit", "fstat", "set_inheritable", "close", "dup2", "urandom"):
    setattr(os, name, refuse)
for name in ("exists", "join", "abspath", "realpath", "dirname", "basename"):
    setattr(os.path, name, refuse)
os.environ = {{}}
raise SystemExit(3)
""",
    "clocks": f"""{LEFT_OPEN}
import time
for name in ("time", "monotonic", "perf_counter", "sleep", "time_ns", "process_time"):
    setattr(time, name, refuse)
raise SystemExit(3)
""",
    "collector": f"""{LEFT_OPEN}
import gc
gc.disable()
for name in ("collect", "get_objects", "get_referrers", "enable", "freeze"):
    setattr(gc, name, refuse)
raise SystemExit(3)
""",
    "import": f"""{LEFT_OPEN}
import builtins, sys
builtins.__import__ = refuse
sys.meta_path.clear()
sys.path_hooks.clear()
sys.path.clear()
raise SystemExit(3)
""",
    "modules of the interpreter popped": f"""{LEFT_OPEN}
import sys
for name in ("_thread", "_signal", "_io", "_weakref", "gc", "time", "atexit", "posix", "os"):
    sys.modules.pop(name, None)
import _thread, atexit, json, time, os
atexit.register(print, "called back")
print(json.dumps([_thread.get_ident() > 0]), os.sep)
raise SystemExit(3)
""",
    "builtins": """
import builtins, sys
write = sys.stdout.write
del builtins.print, builtins.open, builtins.exit
write("without\\n")
raise SystemExit(3)
""",
    "sys": f"""{LEFT_OPEN}
import sys
sys.exit = sys._getframe = sys.settrace = sys.getrecursionlimit = refuse
sys.argv = sys.executable = sys.flags = None
raise SystemExit(3)
""",
    "lazy object": f"""{LEFT_OPEN}{LAZY}
import sys
sys.modules["lazy"] = lazy[0]
raise SystemExit(3)
""",
    "file whose flush fails": """
import io

class Odd(io.BufferedWriter):
    def flush(self):
        raise KeyboardInterrupt

    def close(self):
        pass

odd = [Odd(io.FileIO(__file__ + ".odd", "w"))]
odd.append(odd)
del Odd
""",
    "descriptors closed": f"""{LEFT_OPEN}
import os
held.close()
os.closerange(3, 256)
print(len(os.listdir("/proc/self/fd")))
raise SystemExit(3)
""",
    "environment emptied": """
import os, subprocess, sys
os.environ.clear()
print(subprocess.run([sys.executable, "-c", "print('other')"], capture_output=True).stdout)
raise SystemExit(3)
""",
    "signals blocked": f"""{LEFT_OPEN}
import signal
print(signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32)))
raise SystemExit(3)
""",
    "little recursion": f"""{LEFT_OPEN}
import sys
def deep(count):
    return deep(count - 1) if count else sys.setrecursionlimit(45)
deep(4)
raise SystemExit(3)
""",
    "tracer": f"""{LEFT_OPEN}
import sys
calls = []
def trace(frame, event, arg):
    calls.append(frame.f_code.co_name)
    return trace
def traced():
    return len(calls)
sys.settrace(trace)
print(traced(), traced())
raise SystemExit(3)
""",
    "handlers": f"""{LEFT_OPEN}
import faulthandler, gc, sys
faulthandler.disable()
gc.disable()
sys.excepthook = lambda kind, value, trace: print("hook", kind.__name__, value)
raise ValueError("hooked")
""",
    "callbacks emptied": f"""{LEFT_OPEN}
import atexit
atexit.register(print, "never")
atexit._clear()
print(atexit._ncallbacks())
atexit.register(print, "called back")
raise SystemExit(3)
""",
    "callbacks called early": f"""{LEFT_OPEN}
import atexit
atexit.register(print, "called back")
atexit._run_exitfuncs()
print("after", atexit._ncallbacks())
raise SystemExit(3)
""",
    "threads": f"""{LEFT_OPEN}
import threading
threading.Thread(target=print, args=("in a thread",)).start()
threading.Thread = threading.main_thread = threading.current_thread = threading.Lock = refuse
raise SystemExit(3)
""",
    "folder removed": f"""{LEFT_OPEN}
import os, tempfile
folder = tempfile.mkdtemp()
os.chdir(folder)
os.rmdir(folder)
try:
    import nothing_of_this_name
except ImportError as error:
    print(error)
raise SystemExit(3)
""",
}

CASES = {
    "modules emptied": """
        import sys
        def test_modules():
            kept = dict(vars(sys)["modules"])
            vars(sys)["modules"].clear()
            vars(sys)["modules"].update(kept)
    """,
    "write of a module": """
        import os, pytest
        def full(*_):
            raise OSError(28, "No space left on device")
        @pytest.fixture(scope="module", autouse=True)
        def replaced():
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(os, "write", full)
                patch.setattr(os, "getpid", lambda: 77)
                yield
        def test_write():
            assert os.getpid() == 77
    """,
    "write of a class": """
        import os, time, unittest
        from unittest import mock
        class Full(unittest.TestCase):
            @classmethod
            def setUpClass(cls):
                for name in ("os.write", "os.getpid", "os.fstat", "time.perf_counter", "json.dumps"):
                    patch = mock.patch(name, side_effect=OSError(28, "No space left on device"))
                    patch.start()
                    cls.addClassCleanup(patch.stop)
            def test_write(self):
                with self.assertRaises(OSError):
                    os.write(1, b"x")
    """,
    "thread module popped": """
        import sys, unittest
        class Again(unittest.TestCase):
            def test_again(self):
                modules = vars(sys)["modules"]
                before = modules.pop("_thread")
                try:
                    import _thread
                    self.assertTrue(_thread.get_ident())
                finally:
                    modules["_thread"] = before
    """,
    "lookups of files": """
        import os, unittest
        from unittest import mock
        class Links(unittest.TestCase):
            def test_import(self):
                with mock.patch("os.lstat", side_effect=PermissionError), mock.patch("os.path.realpath"):
                    import colorsys
                self.assertTrue(colorsys)
        with mock.patch("os.lstat", side_effect=PermissionError), mock.patch("os.readlink"):
            import cmd
    """,
}
"""Each holds one test, which passes and must be counted."""


@pytest.fixture(scope="module")
def facts(shared_project: Project, bare_environment: Path) -> Facts:
    return Facts(shared_project, str(bare_environment / "bin" / "python"), PROGRAMS)


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("way", ["spawn", "fork", "preloaded"])
def test_a_file_that_replaces_parts_of_the_interpreter_ends_as_without_us(
    facts: Facts, way: str, name: str
) -> None:
    ours = facts.preloaded(MODULES) if way == "preloaded" else facts.ours(way)
    assert ours[name] == facts.plain()[name]


@pytest.mark.parametrize("isolation", ["spawn", "fork"])
def test_what_a_test_replaces_hides_no_test_from_the_report(project: Project, isolation: str) -> None:
    guard = "\nif __name__ == '__main__':\n    unittest.main()\n"
    for name, source in CASES.items():
        project.write({file_of(name): source})
        if "unittest" in source:
            path = project.root / file_of(name)
            path.write_text(path.read_text() + guard)

    # pytest itself could not go on with some of what these files replace.
    words = ("--layout", "scripts", "--isolation", isolation)
    outcome = project.run(*words, env={"VIRTUAL_ENV": str(PYTEST_ENVIRONMENT)})

    assert outcome.code == 0, outcome
    counted = {name: [case.outcome for case in outcome.final(file_of(name)).cases] for name in CASES}
    assert counted == {name: ["passed"] for name in CASES}
