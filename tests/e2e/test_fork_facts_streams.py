"""A forked file has the streams, warnings and settings that the environment asks the interpreter for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.support.facts import Facts
from tests.e2e.support.project import Project

LOOK = """
import io, locale, os, sys
for stream in (sys.stdin, sys.stdout, sys.stderr):
    print(type(stream), stream.name, stream.mode, stream.encoding, stream.errors, stream.newlines)
    print(stream.line_buffering, stream.isatty(), stream.writable(), stream.seekable(), stream.closed)
    print(getattr(stream, "write_through", None), type(stream.buffer), stream.buffer.name)
    print(type(stream.buffer.raw) if hasattr(stream.buffer, "raw") else None, os.isatty(stream.fileno()))
print(sys.getfilesystemencoding(), sys.getfilesystemencodeerrors(), locale.getpreferredencoding(False))
print(sys.flags, sys.warnoptions, sys._xoptions, sys.getdefaultencoding(), sys.path)
print(sys.dont_write_bytecode, sys.pycache_prefix, locale.setlocale(locale.LC_CTYPE))
print(open(os.devnull, "w").encoding, io.text_encoding(None))
"""

TEXT = """
import sys
print("\\u00fc")
print(ascii(sys.argv), ascii(__file__))
sys.stderr.write("to stderr \\u00fc\\n")
sys.stdout.buffer.write(b"bytes\\n")
sys.stdout.write("no newline")
"""

ORDER = """
import os, subprocess, sys
print("first")
os.write(1, b"second, without buffer\\n")
sys.stderr.write("third\\n")
print("fourth")
sys.stdout.flush()
subprocess.run(["echo", "fifth"])
sys.stdout.reconfigure(line_buffering=True)
print("sixth")
os.write(2, b"seventh\\n")
"""

LEAKS = """
import socket, sys, warnings
kept = open("/dev/null")
def f():
    open("/dev/null")
    socket.socket()
f()
warnings.warn("a", DeprecationWarning)
warnings.warn("b", PendingDeprecationWarning)
print(sys.flags.dev_mode, warnings.filters)
"""

ASYNC = """
import asyncio
async def f():
    await asyncio.sleep(0)
loop = asyncio.new_event_loop()
print(loop.get_debug())
loop.run_until_complete(f())
loop.close()
"""

CRASH = "import faulthandler, os\nprint(faulthandler.is_enabled(), flush=True)\nos.abort()\n"

PROGRAMS = {"look": LOOK, "text": TEXT, "order": ORDER, "leaks": LEAKS, "loop": ASYNC, "crash": CRASH}

ENVIRONMENTS: dict[str, dict[str, str | None]] = {
    "plain C": {"LC_ALL": None, "LANG": "C", "PYTHONCOERCECLOCALE": "0"},
    # A Python in the C locale hands this on, so the runner does.
    "coerced C": {"LC_ALL": None, "LANG": "C", "LC_CTYPE": "C.UTF-8"},
    "utf-8 mode": {"PYTHONUTF8": "1", "LC_ALL": "C"},
    "no utf-8 mode": {"PYTHONUTF8": "0", "LC_ALL": "POSIX"},
    "every warning, no crash handler": {
        "PYTHONWARNINGS": "default",
        "PYTHONTRACEMALLOC": "0",
        "PYTHONFAULTHANDLER": "",
    },
    "warnings are errors": {"PYTHONWARNINGS": "error::DeprecationWarning"},
    "development": {"PYTHONDEVMODE": "1"},
    "optimised, unbuffered": {
        "PYTHONOPTIMIZE": "2",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    },
    "safe, latin": {
        "PYTHONSAFEPATH": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONINTMAXSTRDIGITS": "5000",
        "PYTHONIOENCODING": "latin-1:backslashreplace",
    },
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_settings_of_the_environment_hold_as_without_us(
    project: Project, bare_environment: Path, name: str
) -> None:
    interpreter = str(bare_environment / "bin" / "python")
    facts = Facts(project, interpreter, PROGRAMS, environment=ENVIRONMENTS[name])
    plain = facts.plain()
    ways = {way: facts.ours(way) for way in ("spawn", "fork")}
    ways["preloaded"] = facts.preloaded(("asyncio", "socket"))
    different = {
        (way, program): (plain[program], seen[program])
        for way, seen in ways.items()
        for program in plain
        if seen[program] != plain[program]
    }
    assert different == {}
