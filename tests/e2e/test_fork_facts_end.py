"""A forked file ends as `python FILE` does: with its status, its output, its threads, and what it leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.support.facts import Facts
from tests.e2e.support.project import Project

MODULES = ("atexit", "concurrent.futures", "ctypes", "faulthandler", "logging", "tempfile", "threading")
"""What is imported beforehand, for the strictest way of forking."""

LOUD = """
class Loud:
    def __init__(self, name):
        self.name = name

    def __del__(self):
        print("gone:", self.name, [] is not None, sorted)


"""

PROGRAMS = {
    "exit object": "import sys\nclass A:\n    def __str__(self):\n        return 'as text'\nsys.exit(A())\n",
    "exit tuple": "import sys\nsys.exit((1, 'two'))\n",
    "exit false": "import sys\nsys.exit(False)\n",
    "exit negative": "import sys\nsys.exit(-2)\n",
    "exit no args": "raise SystemExit(1, 2)\n",
    "exit own class": "class Bye(SystemExit):\n    pass\nraise Bye(7)\n",
    "exit in a thread": """
        import sys, threading
        thread = threading.Thread(target=sys.exit, args=(3,))
        thread.start()
        thread.join()
        print("on")
    """,
    "exit in finally": "import sys\ntry:\n    1 / 0\nfinally:\n    sys.exit(5)\n",
    "base exception": "class Odd(BaseException):\n    pass\nraise Odd('odd')\n",
    "deep recursion": "def f():\n    f()\ntry:\n    f()\nexcept RecursionError as error:\n    print(error)\n",
    "generator exit": "raise GeneratorExit\n",
    "no memory": "try:\n    bytearray(1 << 62)\nexcept MemoryError:\n    print('no')\nraise MemoryError\n",
    "interrupted": "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nprint('not here')\n",
    "terminated": "import os\nprint('a', flush=True)\nprint('b')\nos.kill(os.getpid(), 15)\n",
    "own group terminated": "import os, signal\nos.killpg(0, signal.SIGTERM)\nsignal.pause()\n",
    "ended in its handler": """
        import atexit, os, signal, sys
        atexit.register(print, "at exit")
        signal.signal(signal.SIGTERM, lambda *found: sys.exit(9))
        os.kill(os.getpid(), signal.SIGTERM)
        print("not here")
    """,
    "alarm": "import signal\nsignal.setitimer(signal.ITIMER_REAL, 0.01)\nsignal.pause()\n",
    "user signal": "import os, signal\nos.kill(os.getpid(), signal.SIGUSR1)\n",
    "broken pipe": """
        import os, sys
        read, write = os.pipe()
        os.close(read)
        try:
            os.write(write, b"x")
        except BrokenPipeError as error:
            print(error)
    """,
    "stdout is a broken pipe": """
        import os
        read, write = os.pipe()
        os.close(read)
        os.dup2(write, 1)
        print("lost")
    """,
    "abort": "import os\nprint('a', flush=True)\nos.abort()\n",
    "segmentation fault": "import ctypes\ndef inner():\n    ctypes.string_at(0)\ninner()\n",
    "hard exit": "import atexit, os\natexit.register(print, 'no')\nprint('lost')\nos._exit(3)\n",
    "execution of another": """
        import os, sys
        print("before", flush=True)
        os.execv(sys.executable, [sys.executable, "-c", "import sys; print('after', sys.argv); sys.exit(4)"])
    """,
    "both sides of a fork reach the end": """
        import atexit, os, sys
        atexit.register(lambda: print("at exit", is_child, flush=True))
        print("before")
        sys.stdout.flush()
        pid = os.fork()
        is_child = pid == 0
        if not is_child:
            print("status", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        sys.exit(6 if is_child else 0)
    """,
    "a fork raises": """
        import os, sys
        pid = os.fork()
        if pid == 0:
            raise ValueError("in the child")
        print("status", os.waitpid(pid, 0)[1])
    """,
    "a thread prints after the end": """
        import threading, time
        def work():
            threading.main_thread().join()
            print("later")
        threading.Thread(target=work).start()
        print("end")
    """,
    "a daemon thread is not waited for": """
        import threading
        thread = threading.Thread(target=threading.Event().wait, daemon=True)
        thread.start()
        print("end", threading.active_count())
    """,
    "a thread fails": "import threading\nthreading.Thread(target=lambda: 1 / 0, name='T').start()\n",
    "hook of threads": """
        import threading
        threading.excepthook = lambda found: print(found.exc_type, found.thread.name)
        threading.Thread(target=lambda: 1 / 0, name="T").start()
    """,
    "a pool is left open": """
        import concurrent.futures, threading
        pool = concurrent.futures.ThreadPoolExecutor(1)
        started = threading.Event()
        def work():
            started.wait()
            threading.main_thread().join(0.01)
            print("done")
        pool.submit(work)
        started.set()
        print("end")
    """,
    "order of callbacks": """
        import atexit, threading
        for name in "abc":
            atexit.register(print, name)
        atexit.register(lambda: atexit.register(print, "late"))
        threading.Thread(target=lambda: atexit.register(print, "thread")).start()
    """,
    "a callback fails": "import atexit\natexit.register(lambda: 1 / 0)\natexit.register(print, 'first')\n",
    "a callback exits": """
        import atexit, sys
        atexit.register(print, "still")
        atexit.register(sys.exit, 3)
    """,
    "a callback starts a thread": """
        import atexit, threading
        def last():
            try:
                thread = threading.Thread(target=print, args=("thread",))
                thread.start()
                thread.join()
            except RuntimeError as error:
                print(error)
        atexit.register(last)
    """,
    "hook fails": "import sys\ndef hook(*found):\n    raise KeyError('hook')\nsys.excepthook = hook\n1 / 0\n",
    "hook is missing": "import sys\ndel sys.excepthook\n1 / 0\n",
    "hook is none": "import sys\nsys.excepthook = None\n1 / 0\n",
    "hook exits": "import sys\nsys.excepthook = lambda *found: sys.exit(8)\n1 / 0\n",
    "hook sees a traceback": """
        import sys, traceback
        def hook(kind, error, tb):
            print(len(traceback.extract_tb(tb)), tb is error.__traceback__, sys.exc_info())
        sys.excepthook = hook
        def f():
            1 / 0
        f()
    """,
    "last exception": """
        import atexit, sys
        def last():
            print(sys.last_type, sys.last_value, sys.last_traceback.tb_frame.f_code.co_name)
        atexit.register(last)
        1 / 0
    """,
    "unraisable": LOUD.replace("print(", "raise ValueError(") + "Loud('a')\n",
    "hook of unraisables": LOUD.replace("print(", "raise ValueError(")
    + "import sys\nsys.unraisablehook = lambda found: print(found.exc_value.args[1])\nLoud('b')\n",
    "own globals go": LOUD
    + "import sys\n_private = Loud('private')\npublic = Loud('public')\nprint('end')\n",
    "own globals go after an error": LOUD + "kept = Loud('kept')\n1 / 0\n",
    "own globals go after an exit": LOUD + "import sys\nkept = Loud('kept')\nsys.exit(2)\n",
    "a cycle goes": LOUD + "a, b = Loud('a'), Loud('b')\na.other, b.other = b, a\n",
    "a module that is kept": LOUD
    + "import sys\nsys.me = sys.modules[__name__]\n_a = Loud('a')\nb = Loud('b')\nc = Loud('c')\n",
    "a generator goes": """
        def f():
            try:
                yield
            finally:
                print("closed")
        g = f()
        next(g)
    """,
    "files are left open": """
        import os
        import helper
        names = [os.environ["TMPDIR"] + "/" + name for name in ("helper", "bytes", "own", "deep")]
        if os.fork():
            os.wait()
            print([open(name).read() for name in names], flush=True)
            os._exit(0)
        helper.kept = open(names[0], "w")
        helper.kept.write("text of the helper")
        helper.raw = open(names[1], "wb")
        helper.raw.write(b"bytes of the helper")
        own = open(names[2], "w")
        own.write("own text")
        os.deep = [open(names[3], "w")]
        os.deep[0].write("kept deep in another module")
    """,
    "finalizers": """
        import atexit, weakref
        class A:
            pass
        a = A()
        weakref.finalize(a, print, "finalized")
        atexit.register(print, "at exit")
    """,
    "c output": """
        import ctypes
        libc = ctypes.CDLL(None)
        print("python", flush=True)
        libc.printf(b"c without a newline")
    """,
    "stdout is closed": "import sys\nprint('a')\nsys.stdout.close()\n",
    "stdout is closed below": "import os\nprint('lost')\nos.close(1)\n",
    "stderr is closed below": "import os, sys\nos.close(2)\nprint('a')\n1 / 0\n",
    "stdout is none": "import sys\nsys.stdout = None\nprint('nowhere')\n",
    "stdout is replaced": "import io, sys\nsys.stdout = io.StringIO()\nprint('nowhere')\n1 / 0\n",
    "stdout is a bad object": "import sys\nsys.stdout = object()\n",
    "flush fails": """
        import sys
        class Bad:
            def write(self, text):
                pass
            def flush(self):
                raise OSError("no flush")
        sys.stdout = Bad()
    """,
    "stderr is none": "import sys\nsys.stderr = None\n1 / 0\n",
    "printing at exit after closing": "import atexit, sys\natexit.register(print, 'x')\nsys.stdout.close()\n",
    "all descriptors are closed": "import os\nos.closerange(0, 1000)\nopen('/dev/null')\n",
    "a last line without an end": "print('no newline', end='')\n",
    "the folder is deleted": """
        import os
        os.mkdir(os.environ["TMPDIR"] + "/x")
        os.chdir(os.environ["TMPDIR"] + "/x")
        os.rmdir(os.environ["TMPDIR"] + "/x")
        try:
            os.getcwd()
        except OSError as error:
            print(error)
        raise ValueError("with a traceback")
    """,
    "traceback with notes": """
        def f():
            try:
                {}["a"]
            except KeyError as error:
                error.add_note("a note")
                raise ValueError("value") from error
        f()
    """,
    "traceback of a helper": "import helper\nhelper.fail()\n",
    "traceback limit": "import sys\nsys.tracebacklimit = 1\ndef f():\n    1 / 0\nf()\n",
    "syntax error in eval": "eval('1 +')\n",
    "unicode": "raise ValueError('\\u00fc\\u4e2d\\ud800')\n",
}


@pytest.fixture(scope="module")
def facts(shared_project: Project, bare_environment: Path) -> Facts:
    helper = "def fail():\n    raise LookupError('helper')\n"
    interpreter = str(bare_environment / "bin" / "python")
    return Facts(shared_project, interpreter, PROGRAMS, others={"tests/helper.py": helper})


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("way", ["spawn", "fork", "preloaded"])
def test_a_file_ends_as_it_does_without_us(facts: Facts, way: str, name: str) -> None:
    ours = facts.preloaded(MODULES) if way == "preloaded" else facts.ours(way)
    assert ours[name] == facts.plain()[name]


def test_what_the_interpreter_has_registered_at_its_start_is_called_as_without_us(
    project: Project, bare_environment: Path
) -> None:
    names: tuple[str, ...] = (
        "exit tuple",
        "interrupted",
        "a thread prints after the end",
        "order of callbacks",
    )
    names += ("stdout is a broken pipe", "own globals go", "finalizers", "c output", "ended in its handler")
    customized = "import atexit\natexit.register(print, 'registered at the start')\n"
    facts = Facts(
        project,
        str(bare_environment / "bin" / "python"),
        {name: PROGRAMS[name] for name in names},
        others={"site/sitecustomize.py": customized},
        environment={"PYTHONPATH": str(project.root / "site")},
    )
    assert "registered at the start" in facts.plain()["finalizers"][0]
    assert facts.ours("spawn") == facts.plain()
    assert facts.ours("fork") == facts.plain()
