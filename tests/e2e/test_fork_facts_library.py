"""What a forked file does with the standard library goes as with `python FILE`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.support.facts import Facts
from tests.e2e.support.project import Project

MODULES = (
    "asyncio",
    "concurrent.futures.process",
    "concurrent.futures.thread",
    "ctypes",
    "inspect",
    "logging",
    "multiprocessing.managers",
    "multiprocessing.pool",
    "multiprocessing.popen_forkserver",
    "multiprocessing.popen_spawn_posix",
    "multiprocessing.resource_tracker",
    "multiprocessing.shared_memory",
    "pickle",
    "runpy",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
    "tracemalloc",
    "typing",
)
"""What is imported beforehand, for the strictest way of forking."""

PROCESSES = """
import multiprocessing, sys


def square(number):
    return number * number


def put(queue, name):
    queue.put((name, __name__, sys.argv[0].rpartition("/")[2], multiprocessing.current_process().name))


def fail():
    raise ValueError("in a process")


if __name__ == "__main__":
    context = multiprocessing.get_context(METHOD)
    with context.Pool(2) as pool:
        print(pool.map(square, range(5)))
    queue = context.Queue()
    process = context.Process(target=put, args=(queue, "q"))
    process.start()
    print(queue.get())
    process.join()
    print(process.exitcode, process.name, multiprocessing.active_children())
    broken = context.Process(target=sys.exit, args=(3,))
    broken.start()
    broken.join()
    print(broken.exitcode, multiprocessing.parent_process(), multiprocessing.current_process())
    print(multiprocessing.get_start_method(), len(multiprocessing.current_process().authkey))
"""

EXECUTOR = """
import concurrent.futures, multiprocessing


def cube(number):
    return number**3


if __name__ == "__main__":
    context = multiprocessing.get_context(METHOD)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        print(list(pool.map(cube, range(4))))
    with context.Manager() as manager:
        shared = manager.dict(a=1)
        print(shared["a"])
"""

MEMORY = """
from multiprocessing import shared_memory, Process, Lock


def fill(name, lock):
    memory = shared_memory.SharedMemory(name)
    with lock:
        memory.buf[0] = 7
    memory.close()


if __name__ == "__main__":
    memory = shared_memory.SharedMemory(create=True, size=16)
    process = Process(target=fill, args=(memory.name, Lock()))
    process.start()
    process.join()
    print(memory.buf[0], process.exitcode)
    memory.close()
    memory.unlink()
"""

PROGRAMS = {
    **{
        f"processes by {method}": PROCESSES.replace("METHOD", repr(method))
        for method in ("fork", "spawn", "forkserver")
    },
    **{f"executor by {method}": EXECUTOR.replace("METHOD", repr(method)) for method in ("fork", "spawn")},
    "shared memory": MEMORY,
    "shared memory is leaked": """
        from multiprocessing import resource_tracker, shared_memory
        if __name__ == "__main__":
            memory = shared_memory.SharedMemory(create=True, size=16)
            print(resource_tracker._resource_tracker._pid is not None)
    """,
    "a process that is left running": """
        import multiprocessing
        def work(event):
            print("ended", event.wait(), flush=True)
        if __name__ == "__main__":
            context = multiprocessing.get_context("fork")
            event = context.Event()
            context.Process(target=work, args=(event,)).start()
            print("end", flush=True)
            event.set()
    """,
    "a daemon process is ended": """
        import multiprocessing, time
        if __name__ == "__main__":
            context = multiprocessing.get_context("fork")
            process = context.Process(target=time.sleep, args=(600,), daemon=True)
            process.start()
            print(process.daemon, flush=True)
    """,
    "subprocess of python": """
        import subprocess, sys
        code = "import sys, os; print(sys.flags, sys.path[1:], sys.argv, 'unittest' in sys.modules)"
        print(subprocess.run([sys.executable, "-c", code, "x"], capture_output=True, text=True))
        print(subprocess.run([sys.executable, "-X", "importtime", "-c", ""], capture_output=True).returncode)
        print(subprocess.run([sys.executable, "-"], input=b"print(1)", capture_output=True))
    """,
    "pickle": """
        import copy, pickle
        class Thing:
            def __init__(self):
                self.value = 1
            def __eq__(self, other):
                return self.value == other.value
        def act():
            return 5
        print(pickle.loads(pickle.dumps(Thing())) == Thing(), pickle.loads(pickle.dumps(act))())
        print(pickle.dumps(Thing(), 0), copy.deepcopy(Thing()) == Thing(), Thing, Thing.__module__)
    """,
    "inspection": """
        import inspect, linecache, sys, traceback
        def shown():
            return inspect.stack()[0].code_context, traceback.extract_stack()[-1].line
        print(inspect.getsource(shown), shown(), inspect.getmodule(shown), inspect.getsourcefile(shown))
        print(inspect.currentframe().f_code.co_name, sys._getframe().f_globals is globals())
    """,
    "doctest": '''
        """A docstring.

        >>> 1 + 1
        3
        """
        import doctest
        print(doctest.testmod())
    ''',
    "typing of its own": """
        from __future__ import annotations
        import dataclasses, enum, typing
        @dataclasses.dataclass
        class Point:
            x: int
            other: Point | None = None
        class Color(enum.Enum):
            RED = 1
        print(typing.get_type_hints(Point), Point(1), Color.RED)
        print(typing.NamedTuple("N", [("a", int)]).__module__)
    """,
    "import of itself": """
        import importlib, os, sys
        name = os.path.basename(__file__)[:-3]
        if __name__ == "__main__":
            other = importlib.import_module(name)
            print(other.__name__, other is sys.modules["__main__"], other.__file__ == __file__)
            import __main__
            print(__main__.name == name)
    """,
    "run path": "import runpy\nprint(runpy.run_path(__file__.rpartition('/')[0] + '/helper.py')['VALUE'])\n",
    "helper beside": "import helper, sys\nprint(helper.VALUE, helper.__file__, helper.__spec__.name)\n",
    "reload": "import importlib, helper\nhelper.VALUE = 3\nprint(importlib.reload(helper).VALUE)\n",
    "warnings are shown once": """
        import warnings
        import helper
        for _ in range(3):
            warnings.warn("mine")
            warnings.warn("old", DeprecationWarning)
            helper.old()
        print(sorted(globals()["__warningregistry__"], key=str))
    """,
    "warnings are errors": "import warnings\nwarnings.simplefilter('error')\nwarnings.warn('x')\n",
    "logging": """
        import logging
        logging.warning("to stderr %s", 1)
        logging.getLogger("a.b").error("no stack")
        try:
            1 / 0
        except ZeroDivisionError:
            logging.exception("with a stack")
        print(logging.getLogger("a").handlers, logging.root.handlers, logging.root.level)
    """,
    "asyncio": """
        import asyncio, sys
        async def main():
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", "print(5)", stdout=-1)
            print(await process.communicate(), await asyncio.to_thread(len, "abc"))
            async with asyncio.TaskGroup() as group:
                task = group.create_task(asyncio.sleep(0, "slept"))
            print(task.result(), asyncio.get_running_loop().get_debug())
        asyncio.run(main())
    """,
    "asyncio stops at a signal": """
        import asyncio, os, signal
        async def main():
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, print, "signal")
            os.kill(os.getpid(), signal.SIGUSR1)
            await asyncio.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(60)
        asyncio.run(main())
    """,
    "a loop is left open": """
        import asyncio
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        task = loop.create_task(asyncio.sleep(60))
        loop.run_until_complete(asyncio.sleep(0))
        print("end")
    """,
    "a coroutine is never awaited": "async def f():\n    pass\nf()\nkept = f()\n",
    "sqlite": """
        import sqlite3
        base = sqlite3.connect(":memory:", check_same_thread=True)
        base.execute("create table t(a)")
        base.executemany("insert into t values(?)", [(1,), (2,)])
        print(base.execute("select sum(a) from t").fetchall(), base.in_transaction)
    """,
    "ssl": """
        import ssl
        context = ssl.create_default_context()
        print(context.verify_mode, context.check_hostname, len(ssl.RAND_bytes(8)), ssl.OPENSSL_VERSION)
    """,
    "sockets": """
        import selectors, socket, threading
        server = socket.create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=lambda: server.accept()[0].sendall(b"hello"))
        thread.start()
        print(socket.create_connection(server.getsockname()).recv(5), type(selectors.DefaultSelector()))
        thread.join()
        a, b = socket.socketpair()
        print(a.fileno() > 2, socket.gethostname() != "")
    """,
    "http": """
        import http.server, threading, urllib.request
        class Quiet(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"page")
            log_message = lambda *found: None
        server = http.server.HTTPServer(("127.0.0.1", 0), Quiet)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        print(opener.open(f"http://127.0.0.1:{server.server_port}/").read())
        server.shutdown()
        server.server_close()
    """,
    "tracing": """
        import sys, tracemalloc
        tracemalloc.start()
        lines = []
        def trace(frame, event, arg):
            lines.append((event, frame.f_code.co_name))
            return trace
        def f():
            return 1
        sys.settrace(trace)
        f()
        sys.settrace(None)
        print(lines, tracemalloc.get_traced_memory()[0] > 0)
    """,
    "profile": """
        import cProfile, pstats, io
        profile = cProfile.Profile()
        profile.runcall(sorted, [2, 1])
        print(sorted(name for _, _, name in pstats.Stats(profile, stream=io.StringIO()).stats))
    """,
    "collector at work": """
        import gc, weakref
        class A:
            pass
        a = A()
        a.self = a
        ref = weakref.ref(a)
        del a
        print(gc.isenabled(), ref() is not None, gc.collect() > 0, ref())
        gc.set_threshold(50)
        b = A()
        b.self = b
        ref = weakref.ref(b)
        del b
        kept = [[] for _ in range(500)]
        print(ref(), gc.get_stats()[0]["collections"] > 0)
    """,
    "deep recursion": """
        import sys
        sys.setrecursionlimit(20_000)
        def f(depth):
            return 0 if depth == 0 else 1 + f(depth - 1)
        print(f(15_000))
    """,
    "time zone": """
        import os, time
        os.environ["TZ"] = "Asia/Tokyo"
        time.tzset()
        print(time.tzname, time.localtime(0).tm_hour)
    """,
}


@pytest.fixture(scope="module")
def facts(shared_project: Project, bare_environment: Path) -> Facts:
    helper = "import warnings\nVALUE = 7\ndef old():\n    warnings.warn('helper', DeprecationWarning)\n"
    interpreter = str(bare_environment / "bin" / "python")
    return Facts(shared_project, interpreter, PROGRAMS, others={"tests/helper.py": helper})


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("way", ["spawn", "fork", "preloaded"])
def test_a_file_uses_the_library_as_it_does_without_us(facts: Facts, way: str, name: str) -> None:
    ours = facts.preloaded(MODULES) if way == "preloaded" else facts.ours(way)
    assert ours[name] == facts.plain()[name]
