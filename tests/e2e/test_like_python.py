"""A file run by us prints what `python FILE` prints: what a test sees is what it sees without us.

The documented differences, each with its reason:

- `TMPDIR`, `PASSMUSTER_SLOT`, `PASSMUSTER_ATTEMPT`, `PASSMUSTER_FILE_MEMORY`, `PYTEST_XDIST_WORKER`,
  `PYTEST_XDIST_WORKER_COUNT`, `PYTEST_XDIST_TESTRUNUID`, `TESTING`, `TEST_MODE`, `PYTHONFAULTHANDLER` in the
  environment;
- standard output and error are a pipe, standard input is the null device;
- the file leads a session and a process group of its own;
- descriptor 198 exists and real-time signal 60 has a handler: stacks at a timeout come that way;
- faulthandler is on: a crash leaves its stack;
- one frame of ours lies below the file's own in `inspect.stack()`, but not in tracebacks; the recursion
  limit is reached one or two calls earlier.

A forked file sees more, each tested or named in docs/explanation/isolation.md: what the framework imports is
in `sys.modules`; `/proc/self/cmdline` and `/proc/self/environ` are the server's; the hash seed is that of all
files of the run.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.e2e.support.project import Project

LOOK = """\
from __future__ import annotations
import os, sys, signal

value: int = 1


def show(name, thing):
    print(f"{name}: {thing!r}", flush=True)


if __name__ == "__main__":
    show("argv", sys.argv)
    show("file", __file__)
    show("name", __name__)
    show("spec", __spec__)
    show("package", __package__)
    show("doc", __doc__)
    show("cached", globals().get("__cached__", "missing"))
    show("loader", (type(__loader__).__name__, __loader__.name, __loader__.path))
    show("builtins", (type(__builtins__).__name__, __builtins__.__name__))
    show("annotations", __annotations__)
    show("globals", sorted(globals()))
    show("main", sys.modules["__main__"].__dict__ is globals())
    show("main file", sys.modules["__main__"].__file__)
    show("path", sys.path)
    show("flags", tuple(sys.flags))
    show("executable", sys.executable)
    show("prefix", (sys.prefix, sys.base_prefix))
    show("orig_argv", sys.orig_argv[-1] if hasattr(sys, "orig_argv") else None)
    show("cwd", os.getcwd())
    show("warnings", sys.warnoptions)
    show("hooks", (sys.excepthook is sys.__excepthook__, sys.displayhook is sys.__displayhook__))
    show("trace", (sys.gettrace(), sys.getprofile()))
    show("recursion", sys.getrecursionlimit())
    show("encodings", (sys.stdout.encoding, sys.stdout.errors, sys.stderr.errors, sys.stdin.encoding))
    show("umask", os.umask(0))
    show("priority", os.getpriority(os.PRIO_PROCESS, 0))
    show("affinity", sorted(os.sched_getaffinity(0)))
    import resource
    names = sorted(name for name in dir(resource) if name.startswith("RLIMIT_"))
    show("limits", [resource.getrlimit(getattr(resource, name)) for name in names])
    show("descriptors", sorted(int(name) for name in os.listdir("/proc/self/fd")))
    show("signals", {number: str(signal.getsignal(number)) for number in sorted(signal.valid_signals())})
    show("blocked", signal.pthread_sigmask(signal.SIG_BLOCK, []))
    status = open("/proc/self/status").readlines()
    show("masks", [line for line in status if line[:3] in ("Sig", "Shd") and line[:4] != "SigQ"])
    show("group", (os.getpgid(0) == os.getpid(), os.getsid(0) == os.getpid()))
    show("threads", len(os.listdir("/proc/self/task")))
    import threading, inspect, atexit, gc
    show("thread", threading.current_thread() is threading.main_thread())
    show("stack", [frame.function for frame in inspect.stack()])
    show("gc", (gc.isenabled(), gc.get_threshold()))
    show("modules", sorted(sys.modules))
    show("meta path", [getattr(finder, "__name__", str(finder)) for finder in sys.meta_path])
    show("environment", dict(sorted(os.environ.items())))
    import __main__
    show("pickle", __import__("pickle").loads(__import__("pickle").dumps(show)) is show)
    atexit.register(show, "at exit", threading.active_count())
    show("source", inspect.getsource(show).splitlines()[0])
"""

OURS = (
    "TMPDIR",
    "PASSMUSTER_SLOT",
    "PASSMUSTER_ATTEMPT",
    "PASSMUSTER_FILE_MEMORY",
    "PYTEST_XDIST_WORKER",
    "PYTEST_XDIST_WORKER_COUNT",
    "PYTEST_XDIST_TESTRUNUID",
    "TESTING",
    "TEST_MODE",
    "PYTHONFAULTHANDLER",
)


def seen(text: str) -> dict[str, str]:
    """Return what each line `name: value` of a file's output says."""
    return dict(line.split(": ", 1) for line in text.splitlines())


@pytest.fixture
def interpreter(bare_environment: Path) -> str:
    return str(bare_environment / "bin" / "python")


def by_python(
    project: Project, interpreter: str, file: str, env: dict[str, str] | None = None
) -> tuple[str, int]:
    """Return what `python FILE` prints, and its exit status."""
    finished = subprocess.run(
        [interpreter, file],
        cwd=project.root,
        env=env or project.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        check=False,
    )
    return finished.stdout.decode(), finished.returncode


def modules_of(interpreter: str, statement: str) -> str:
    """Return the names of the modules that a statement leaves loaded, as text."""
    code = f"import sys\n{statement}\nprint(sorted(sys.modules))"
    return subprocess.run([interpreter, "-c", code], capture_output=True, text=True, check=True).stdout


def by_us(project: Project, file: str, isolation: str) -> tuple[str, int | None]:
    """Return what the file prints when we run it, and its exit status."""
    outcome = project.run("--runner", "script", "--isolation", isolation, file)
    (kept,) = project.root.glob(f".passmuster/runs/*/output/{file}.log")
    ended = outcome.final(file)
    code = ended.exit_code if ended.signal is None else -ended.signal
    return kept.read_text(), code


@pytest.mark.parametrize("isolation", ["spawn", "fork"])
def test_a_file_sees_what_it_sees_without_us_but_for_the_documented_differences(
    project: Project, interpreter: str, isolation: str
) -> None:
    project.write({"tests/test_look.py": LOOK})
    ours, code = by_us(project, "tests/test_look.py", isolation)
    # The same environment as far as values go: how variables are set is tested elsewhere.
    environ = eval(seen(ours)["environment"])
    added = {name: environ.pop(name) for name in OURS}
    assert environ == {name: value for name, value in project.environment().items() if name != "TMPDIR"}
    plain, plain_code = by_python(project, interpreter, "tests/test_look.py", {**environ, **added})
    assert (code, plain_code) == (0, 0), ours
    differences = {
        name: (seen(plain).get(name, ""), seen(ours).get(name, ""))
        for name in seen(plain).keys() | seen(ours).keys()
        if seen(plain).get(name) != seen(ours).get(name)
    }
    assert differences.keys() == {"descriptors", "masks", "stack", "modules", "meta path"}, differences
    assert [number for number in eval(differences["descriptors"][1]) if number != 198] == eval(
        differences["descriptors"][0]
    )
    before, after = (eval(text) for text in differences["masks"])
    assert [line for line in after if line not in before] == [_with_signal_60(before)]
    before, after = (eval(text) for text in differences["stack"])
    assert after == [*before, "<module>"]
    before, after = (set(eval(text)) for text in differences["modules"])
    prepared = "import argparse, random, unittest; argparse.ArgumentParser().parse_args([])"
    framework = set(eval(modules_of(interpreter, prepared))) if isolation == "fork" else set()
    assert after - before <= {
        "faulthandler",
        "_json",
        "atexit",
        "gc",
        *framework,
    }
    assert before <= after
    before, after = (eval(text) for text in differences["meta path"])
    # What a file imports is recorded when it is forked for the first time.
    recorder = [name for name in after if "passmuster_child_imports" in name]
    assert len(recorder) == (isolation == "fork")
    assert after == ["Watcher", *recorder, *before]


def _with_signal_60(lines: list[str]) -> str:
    """Return the mask of caught signals with our one more."""
    (caught,) = [line for line in lines if line.startswith("SigCgt")]
    return f"SigCgt:\t{int(caught.split()[1], 16) | 1 << 59:016x}\n"


ENDINGS = {
    "uncaught": "def deep():\n    raise ValueError('no')\n\n\nif __name__ == '__main__':\n    deep()\n",
    "chained": (
        "if __name__ == '__main__':\n    try:\n        1 / 0\n    except ZeroDivisionError as e:\n"
        "        raise RuntimeError('later') from e\n"
    ),
    "group": "if __name__ == '__main__':\n    raise ExceptionGroup('all', [ValueError(1), KeyError(2)])\n",
    "syntax error": "if __name__ == '__main__':\n    x = = 1\n",
    "indentation": "if __name__ == '__main__':\nx = 1\n",
    "imported syntax error": "import broken\nif __name__ == '__main__':\n    pass\n",
    "import error": "import not_there\nif __name__ == '__main__':\n    pass\n",
    "exit text": "import sys\nif __name__ == '__main__':\n    sys.exit('text')\n",
    "exit number": "import sys\nif __name__ == '__main__':\n    sys.exit(300)\n",
    "exit none": "import sys\nif __name__ == '__main__':\n    sys.exit()\n",
    "keyboard interrupt": "if __name__ == '__main__':\n    raise KeyboardInterrupt\n",
    "own hook": (
        "import sys\nsys.excepthook = lambda *rest: print('mine', len(rest), rest[0].__name__)\n"
        "if __name__ == '__main__':\n    raise ValueError\n"
    ),
    "at exit": (
        "import atexit, sys\natexit.register(print, 'bye')\nif __name__ == '__main__':\n    sys.exit(4)\n"
    ),
    "in a thread": (
        "import threading\ndef f():\n    raise ValueError('thread')\nif __name__ == '__main__':\n"
        "    t = threading.Thread(target=f, name='T')\n    t.start()\n    t.join()\n"
    ),
    "unraisable": (
        "class A:\n    def __del__(self):\n        raise ValueError('del')\n"
        "if __name__ == '__main__':\n    A()\n"
    ),
    "warning": "import warnings\nif __name__ == '__main__':\n    warnings.warn('careful')\n",
    "unittest": (
        "import unittest\nclass T(unittest.TestCase):\n"
        "    def test_a(self):\n        self.assertEqual([1], [2])\n"
        "    def test_b(self):\n        raise OSError('x')\nif __name__ == '__main__':\n    unittest.main()\n"
    ),
    "multiprocessing": (
        "import multiprocessing\ndef square(n):\n    return n * n\nif __name__ == '__main__':\n"
        "    context = multiprocessing.get_context('spawn')\n"
        "    with context.Pool(2) as pool:\n        print(pool.map(square, [1, 2, 3]))\n"
    ),
    "main thread stack": (
        "import traceback\ndef f():\n    try:\n        raise ValueError\n    except ValueError:\n"
        "        traceback.print_exc()\nif __name__ == '__main__':\n    f()\n"
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("isolation", ["spawn", "fork"])
def test_a_file_ends_and_prints_as_without_us(
    project: Project, interpreter: str, ending: str, isolation: str
) -> None:
    project.write({"tests/test_it.py": ENDINGS[ending], "tests/broken.py": "def broken(:\n"})
    ours, code = by_us(project, "tests/test_it.py", isolation)
    plain, plain_code = by_python(project, interpreter, "tests/test_it.py")
    assert (_normalised(ours), code) == (_normalised(plain), plain_code)


@pytest.mark.parametrize("isolation", ["spawn", "fork"])
def test_the_recursion_limit_is_reached_one_or_two_calls_earlier(
    project: Project, interpreter: str, isolation: str
) -> None:
    source = (
        "calls = 0\ndef call():\n    global calls\n    calls += 1\n    call()\n"
        "if __name__ == '__main__':\n    try:\n        call()\n"
        "    except RecursionError:\n        print(calls)\n"
    )
    project.write({"tests/test_deep.py": source})
    ours, _ = by_us(project, "tests/test_deep.py", isolation)
    plain, _ = by_python(project, interpreter, "tests/test_deep.py")
    assert 1 <= int(plain) - int(ours) <= 2


def _normalised(text: str) -> str:
    text = re.sub(r"in [0-9.]+s", "in TIME", text)
    return re.sub(r"0x[0-9a-f]+", "ADDRESS", text)


def test_the_documented_variables_are_all_that_is_added() -> None:
    assert all(f"`{name}`" in (__doc__ or "") for name in OURS)
