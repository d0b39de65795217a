"""What a forked file sees of its process is what `python FILE` sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.support.facts import Facts
from tests.e2e.support.project import Project

MODULES = (
    "asyncio",
    "concurrent.futures",
    "ctypes",
    "decimal",
    "logging",
    "multiprocessing",
    "random",
    "resource",
    "shutil",
    "socket",
    "subprocess",
    "tempfile",
    "test.support.os_helper",
    "uuid",
    "wsgiref.handlers",
)
"""What is imported beforehand, for the strictest way of forking."""

PROGRAMS = {
    "identity": """
        import os, sys
        print(__name__, __file__, sys.argv, sys.path[0], sys.path, os.getcwd(), __spec__, __package__)
        print(sys.orig_argv[-1:], sys.executable, sys.prefix, sys.base_prefix, sys.exec_prefix)
        print(sys.modules["__main__"].__dict__ is globals(), sorted(globals()))
    """,
    "flags": """
        import sys
        print(sys.flags, sys.warnoptions, sys._xoptions, sys.dont_write_bytecode, sys.pycache_prefix)
        print(sys.getrecursionlimit(), sys.getswitchinterval(), sys.getdlopenflags(), sys.is_finalizing())
        print(sys.gettrace(), sys.getprofile(), sys.get_asyncgen_hooks())
        print([name for name in vars(sys) if name.startswith(("last_", "ps", "trace"))])
        print(sys.breakpointhook is sys.__breakpointhook__, sys.unraisablehook is sys.__unraisablehook__)
        print(sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__, sys.stdin is sys.__stdin__)
    """,
    "order of the environment": """
        import os, subprocess
        ours = ("TMPDIR=", "PASSMUSTER_", "PYTEST_XDIST_", "TEST", "PYTHONFAULT", "_=")
        mine = [f"{name}={value}" for name, value in os.environ.items()]
        print([line for line in mine if not line.startswith(ours)])
        theirs = subprocess.run(["/usr/bin/env"], capture_output=True, text=True).stdout.splitlines()
        print(sorted(line for line in theirs if line not in mine))
        print([line for line in theirs if not line.startswith(ours)])
        print(len(mine) - len(set(mine)), len(theirs) - len(mine))
    """,
    "environment of C code": """
        import ctypes, os
        getenv = ctypes.CDLL(None).getenv
        getenv.restype = ctypes.c_char_p
        print([name for name, value in os.environb.items() if getenv(name) != value])
        os.environ["FACT"] = "1"
        del os.environ["HOME"]
        print(getenv(b"FACT"), getenv(b"HOME"))
    """,
    "rights and limits": """
        import os, resource
        names = sorted(name for name in dir(resource) if name.startswith("RLIMIT_"))
        print([resource.getrlimit(getattr(resource, name)) for name in names])
        print(os.getresuid(), os.getresgid(), os.getgroups(), os.getpriority(os.PRIO_PROCESS, 0))
        print(os.sched_getscheduler(0), sorted(os.sched_getaffinity(0)), os.umask(0o77))
        os.close(os.open(os.environ["TMPDIR"] + "/file", os.O_CREAT))
        print(oct(os.stat(os.environ["TMPDIR"] + "/file").st_mode))
        keys = ("NoNew", "Seccomp:", "Cap", "Groups", "SigBlk", "SigIgn", "SigPnd", "ShdPnd", "Name")
        print([line for line in open("/proc/self/status") if line.startswith(keys)])
    """,
    "kernel's view of the thread": """
        import ctypes
        prctl = ctypes.CDLL(None).prctl
        for option in (2, 37):  # PR_GET_PDEATHSIG, PR_GET_CHILD_SUBREAPER
            value = ctypes.c_int(-1)
            print(prctl(option, ctypes.byref(value)), value.value)
        print(prctl(3), prctl(7), prctl(30))  # Dumpable, keep capabilities, timer slack.
    """,
    "signals": """
        import signal
        print({n: str(signal.getsignal(n)) for n in sorted(signal.valid_signals()) if n != 60})
        print(signal.pthread_sigmask(signal.SIG_BLOCK, []), signal.sigpending())
        print(signal.getitimer(signal.ITIMER_REAL), signal.set_wakeup_fd(-1), signal.alarm(0))
    """,
    "signals of subprocesses": """
        import subprocess
        look = ["grep", "^Sig[IB]", "/proc/self/status"]
        for restore in (True, False):
            print(subprocess.run(look, capture_output=True, text=True, restore_signals=restore).stdout)
        print(subprocess.run("yes | head -1; echo ${PIPESTATUS[0]}", shell=True, executable="/bin/bash",
                             capture_output=True))
    """,
    "standard input": """
        import os, sys
        print(repr(sys.stdin.read()), os.read(0, 1), sys.stdin.isatty(), sys.stdin.name, sys.stdin.mode)
        print(os.readlink("/proc/self/fd/0"), sys.stdin.fileno(), sys.stdin.encoding, sys.stdin.errors)
        try:
            input("say: ")
        except EOFError as error:
            print(error)
    """,
    "descriptors": """
        import fcntl, os
        print(sorted(int(n) for n in os.listdir("/proc/self/fd") if n != "198"), os.dup(0))
        print([(fcntl.fcntl(n, fcntl.F_GETFD), fcntl.fcntl(n, fcntl.F_GETFL) & 0o3) for n in (1, 2)])
        print([(os.get_inheritable(n), os.get_blocking(n), os.isatty(n)) for n in (0, 1, 2)])
        print(os.path.samestat(os.fstat(1), os.fstat(2)), open("/dev/null").fileno())
    """,
    "descriptors of subprocesses": """
        import os, subprocess
        for close in (True, False):
            print(subprocess.run(["ls", "/proc/self/fd"], capture_output=True, close_fds=close).stdout)
    """,
    "session": """
        import os
        print(os.getpid() == os.getpgrp() == os.getsid(0), os.getppid() > 1)
        for act in (lambda: os.tcgetpgrp(1), lambda: os.open("/dev/tty", os.O_RDWR), os.getlogin):
            try:
                print(act())
            except OSError as error:
                print(error)
    """,
    "threads": """
        import os, threading
        main = threading.main_thread()
        print(main.name, main.daemon, main.ident == threading.get_ident(), main.native_id == os.getpid())
        print(threading.enumerate() == [main], threading.stack_size(), len(os.listdir("/proc/self/task")))
        thread = threading.Thread(target=lambda: print(threading.current_thread().name))
        thread.start()
        thread.join()
    """,
    "processor time": """
        import os, resource, time
        print(time.process_time() < 2, time.thread_time() < 2, os.times()[2:4])
        print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime, time.get_clock_info("process_time"))
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError as error:
            print(error)
    """,
    "collector": """
        import gc
        print(gc.isenabled(), gc.get_threshold(), gc.get_debug(), gc.callbacks, gc.garbage)
    """,
    "what the collector knows": """
        import argparse, gc, logging
        wanted = gc, argparse.ArgumentParser, logging.root
        print([any(each is one for each in gc.get_objects()) for one in wanted])
        kept = [logging.lastResort]
        print([sorted(type(each).__name__ for each in gc.get_referrers(one)) for one in (kept, kept[0])])
        for one in (logging.root, kept[0]):
            print(any(each is vars(logging) for each in gc.get_referrers(one)))
        print(gc.get_objects.__name__, gc.get_referrers.__module__, gc.get_objects(generation=0) is not None)
    """,
    "what a file freezes itself": """
        import gc
        mine = [[]]
        gc.get_referrers(mine[0])
        gc.collect()
        gc.freeze()
        print(gc.get_referrers(mine[0]), any(each is mine for each in gc.get_objects()))
        gc.unfreeze()
        print(len(gc.get_referrers(mine[0])))
    """,
    "user": """
        import getpass, os, platform, pwd, time
        print(getpass.getuser(), pwd.getpwuid(os.getuid()), os.path.expanduser("~"), platform.node())
        print(time.tzname, time.localtime(0), os.cpu_count())
    """,
    "locale": """
        import locale, sys
        print(locale.setlocale(locale.LC_ALL), locale.getpreferredencoding(False))
        print(locale.localeconv()["decimal_point"], sys.getfilesystemencoding())
    """,
    "warning filters": """
        import warnings
        print(warnings.filters, warnings.onceregistry if hasattr(warnings, "onceregistry") else None)
        print(warnings.showwarning.__name__, "__warningregistry__" in globals())
    """,
    "module state": """
        import contextvars, decimal, logging, random, socket
        print(decimal.getcontext(), list(contextvars.copy_context()), socket.getdefaulttimeout())
        print(logging.root, logging.root.handlers, logging.Logger.manager.loggerDict.get("test"))
        random.seed(5)
        print(random.random(), random.gauss(0, 1), random.getstate()[0])
    """,
    "time of the log": """
        import logging, os, time
        ticks = int(open("/proc/self/stat").read().rpartition(")")[2].split()[19])
        boot_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        record = logging.makeLogRecord({})
        print(record.relativeCreated / 1000 <= boot_s - ticks / os.sysconf("SC_CLK_TCK") + 0.1)
        print(record.process == os.getpid(), record.processName, record.threadName)
    """,
    "temporary files": """
        import os, tempfile
        print(tempfile.gettempdir() == os.environ["TMPDIR"], tempfile.tempdir == os.environ["TMPDIR"])
        with tempfile.TemporaryDirectory() as folder, tempfile.NamedTemporaryFile(dir=folder) as file:
            print(os.path.dirname(folder) == os.environ["TMPDIR"], os.path.dirname(file.name) == folder)
    """,
    "name of the process": "print(open('/proc/self/comm').read())\n",
    "crash handler": "import faulthandler\nprint(faulthandler.is_enabled())\n",
    "garbage of the import system": """
        import sys
        print([path for path in sys.path if "worker" in path], [hook.__name__ for hook in sys.path_hooks])
    """,
    "environment at the end": """
        import os, subprocess, sys
        os.environ["LATER"] = "x"
        os.putenv("HIDDEN", "y")
        code = "from os import environ as e; print(e['LATER'], e['HIDDEN'], 'PASSMUSTER_ATTEMPT' in e)"
        subprocess.run([sys.executable, "-c", code])
    """,
    "unset and own tmp": """
        import os
        print(os.environ["TESTING"], os.environ["TEST_MODE"], os.path.isdir(os.environ["TMPDIR"]))
        print(os.listdir(os.environ["TMPDIR"]))
    """,
    "names of temporary files of CPython's tests": """
        import os
        try:
            from test.support import os_helper
        except ImportError:  # Some distributions leave it out.
            os_helper = None
        names = {name: getattr(os_helper, name) for name in dir(os_helper) if name.startswith("TESTFN")}
        print({name: str(os.getpid()) in str(value) for name, value in names.items()})
    """,
    "copy of the environment": """
        import os, wsgiref.handlers
        copied = wsgiref.handlers.BaseHandler.os_environ
        print([name for name in os.environ if copied.get(name) != os.environ[name]])
    """,
}


@pytest.fixture(scope="module")
def facts(shared_project: Project, bare_environment: Path) -> Facts:
    return Facts(shared_project, str(bare_environment / "bin" / "python"), PROGRAMS)


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("way", ["spawn", "fork", "preloaded"])
def test_a_file_sees_the_process_that_it_sees_without_us(facts: Facts, way: str, name: str) -> None:
    ours = facts.preloaded(MODULES) if way == "preloaded" else facts.ours(way)
    assert ours[name] == facts.plain()[name]
