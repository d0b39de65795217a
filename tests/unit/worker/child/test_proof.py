"""What the project's code does while it is imported, and processes must not share, is found in a probe."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.unit.worker.child.import_bench import ImportBench


@pytest.fixture
def here(tmp_path: Path) -> ImportBench:
    return ImportBench(tmp_path, sys.executable)


FINDINGS = {
    "open('x', 'w')": "writes x",
    "open('x', 'a+b')": "writes x",
    "from pathlib import Path; Path('x').write_text('')": "writes x",
    "import os; os.close(os.open('x', os.O_CREAT | os.O_WRONLY))": "writes x",
    "import os; os.makedirs('a/b')": "makes the directory a",
    "import os; os.rename(__file__, 'b')": "renames",
    "import os; os.remove(__file__)": "removes",
    "import os; os.mkdir('a'); os.rmdir('a')": "makes the directory a",
    "import os; os.symlink('a', 'b')": "makes a link to a",
    "import os; os.link(__file__, 'b')": "makes a link of",
    "import os; os.truncate(__file__, 0)": "truncates",
    "import os; os.chmod(__file__, 0o600)": "changes the mode of",
    "import os; os.utime(__file__)": "changes the times of",
    "import sqlite3; sqlite3.connect(':memory:').close()": "opens the database :memory:",
    "import subprocess; subprocess.run(['true'])": "runs a program",
    "import os; os.system('true')": "runs a program",
    "import os; os.posix_spawn('/bin/true', ['true'], {})": "runs a program",
    "import os; os.fork() or os._exit(0)": "forks",
    "import os; os.kill(os.getppid(), 0)": "sends a signal",
    "import socket; socket.socket().bind(('127.0.0.1', 0))": "binds a socket",
    "import socket; socket.socket(type=socket.SOCK_DGRAM).connect(('127.0.0.1', 9))": "connects a socket",
    "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'', ('127.0.0.1', 9))": "sends over a",
    "import tempfile; tempfile.gettempdir()": "reads where temporary files belong",
    "import tempfile; tempfile.mkdtemp()": "makes a temporary name",
    "import tempfile; tempfile.mkstemp(dir='.')": "makes a temporary name",
    "import tempfile; tempfile.mktemp(dir='.')": "makes a temporary name",
    "import time; START = time.time()": "reads the clock",
    "from time import perf_counter; START = perf_counter()": "reads the clock",
    "import datetime; NOW = datetime.datetime.now()": "reads the clock",
    "import datetime; NOW = datetime.datetime.utcnow()": "reads the clock",
    "from datetime import date; TODAY = date.today()": "reads the clock",
    "from datetime import datetime as d; NOW = d.today()": "reads the clock",
    "import stamps; NOW = stamps.stamp()": "reads the clock",
    "import os; PID = os.getpid()": "reads the process id",
    "import uuid; ID = uuid.uuid1()": "makes a UUID",
    "import atexit; atexit.register(len, '')": "registers a function with atexit",
    "import os; PLACE = os.environ.get('TMPDIR')": "reads TMPDIR, which differs from file to file,",
    "import sys; IS_QUIET = '-q' in sys.argv": "reads the arguments in sys.argv",
    "import sys; WORDS = [*sys.argv]": "reads the arguments in sys.argv",
    "import sys; WORDS = ' '.join(sys.argv)": "reads the arguments in sys.argv",
    "import sys; FILE = sys.argv[1:]": "reads the arguments in sys.argv",
    "import argparse; argparse.ArgumentParser().parse_known_args()": "reads the arguments in sys.argv",
    "import signal; OLD = signal.getsignal(signal.SIGINT)": "looks at the handler of a signal",
    "import os; RUN = os.environ.get('PYTEST_XDIST_TESTRUNUID')": "reads PYTEST_XDIST_TESTRUNUID",
    "import os; SIZE = os.getenv('PASSMUSTER_FILE_MEMORY')": "reads PASSMUSTER_FILE_MEMORY",
}


@pytest.mark.parametrize("code", FINDINGS)
def test_what_the_project_does_itself_is_found_with_its_place(here: ImportBench, code: str) -> None:
    here.install("stamps.py", "import time\ndef stamp(): return time.time()\n")
    here.write("shop.py", f"# A comment.\n{code}\n")

    found = here.prove("shop")

    assert found.startswith(FINDINGS[code]), found
    assert found.endswith(" in shop.py:2")


@pytest.mark.parametrize(
    "code",
    [
        "open(__file__).close()",
        "import os; open(os.devnull, 'w').close()",
        "import os; os.listdir('.'); HOME = os.environ.get('HOME')",
        "import logging; logging.getLogger('shop').warning('hello')",
        "import warnings; warnings.simplefilter('ignore'); warnings.warn('hello')",
        "import datetime; EPOCH = datetime.datetime(1970, 1, 1); DAY = datetime.timedelta(days=1)",
        "import threading; LOCK = threading.RLock(); LOCK.acquire(); LOCK.release()",
        "import busy",
        "import sys; PROGRAM = sys.argv[0]",
        "import os; HOME = [value for name, value in os.environ.items() if name == 'HOME']",
    ],
)
def test_what_every_process_may_share_is_no_finding(here: ImportBench, code: str) -> None:
    # A library that is imported by the project is not the project.
    here.install("busy.py", "import os, time\nSTART = time.time(), os.getpid()\nopen('x', 'w').close()\n")
    here.write("shop.py", code)

    assert here.prove("shop", PASSMUSTER_SLOT="0") == ""


def test_compiled_files_may_be_written(here: ImportBench) -> None:
    here.write("shop/__init__.py", "from . import part")
    here.write("shop/part.py", "import py_compile; py_compile.compile(__file__)")

    assert here.prove("shop", PYTHONDONTWRITEBYTECODE="") == ""
