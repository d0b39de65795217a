"""The initial conftests are loaded in a server only where that changes nothing for the files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.pytest_environment import PYTEST_PYTHON
from tests.unit.worker.child.session_bench import SessionBench

TRIVIAL = "def test_a(): pass\n"


@pytest.fixture
def bench(tmp_path: Path) -> SessionBench:
    (tmp_path / "project").mkdir()
    made = SessionBench(tmp_path / "project", str(PYTEST_PYTHON))
    made.ways = (True,)
    made.write("pytest.ini", "[pytest]\n")
    made.write("test_a.py", TRIVIAL)
    return made


SEEN_BY_BOTH = {
    "prints": "print('hello')",
    "prints\n": "def pytest_configure(): print('hello')",
    "changes the handler of signal 12": "import signal; signal.signal(signal.SIGUSR2, print)",
    "starts a thread": "import threading as t; t.Thread(target=t.Event().wait, daemon=True).start()",
    "leaves a descriptor open": "import os; FD = os.open('/dev/zero', 0)",
    "changes the working directory": "import os; os.chdir('/')",
    "changes the umask": "import os; os.umask(0)",
    "changes the locale": "import locale; locale.setlocale(locale.LC_ALL, 'C.UTF-8')",
    "TMPDIR": "import os; os.environ['TMPDIR'] = '/tmp'",
    "replaces sys.unraisablehook": "import sys; sys.unraisablehook = print",
    "replaces sys.excepthook": "import sys; sys.excepthook = print",
    "takes a finder out of sys.meta_path": "import sys; sys.meta_path.pop()",
    "reads PYTEST_XDIST_WORKER": "import os; os.environ.get('PYTEST_XDIST_WORKER')",
    "reads PASSMUSTER_SLOT": "import os; dict(os.environ)",
    "keeps standard output or error": "import logging; logging.basicConfig()",
    "RuntimeError: in vain": "raise RuntimeError('in vain')",
    "SystemExit": "import sys; sys.exit(3)",
    "conftest.py names pytest_plugins": "pytest_plugins = ['pytester']",
    "changes the option verbose": "def pytest_configure(config): config.option.verbose = 2",
}


@pytest.mark.parametrize("reason", SEEN_BY_BOTH)
def test_what_a_conftest_changes_is_a_reason_to_load_it_in_each_file(
    bench: SessionBench, reason: str
) -> None:
    bench.write("conftest.py", SEEN_BY_BOTH[reason])

    findings = bench.run_forked(PASSMUSTER_SLOT="0").findings

    assert all(reason.strip() in finding for finding in findings), findings


SEEN_BY_THE_PROBE = {
    "writes x": "open('x', 'w').close()",
    "reads the clock": "import time; START = time.time()",
    "reads the process id": "import os\ndef pytest_configure(config): config.pid = os.getpid()",
    "registers a function with atexit": "import atexit, helper; helper.register(len, '')",
}


@pytest.mark.parametrize("reason", SEEN_BY_THE_PROBE)
def test_a_probe_sees_what_leaves_no_trace(bench: SessionBench, reason: str) -> None:
    bench.write("helper.py", "from atexit import register")
    bench.write("conftest.py", SEEN_BY_THE_PROBE[reason])

    by_probe, by_server = bench.run_forked().findings

    assert by_probe.startswith(reason), by_probe
    assert "conftest.py:" in by_probe
    assert by_server == ""


def test_what_a_conftest_sets_up_for_its_process_is_inherited(bench: SessionBench) -> None:
    bench.write("library/helper.py", "from sys import stdout\nvalue = 1")
    bench.write(
        "conftest.py",
        """
        import logging, os, pytest, sys, warnings
        os.environ["WRITTEN"] = "early"
        os.environ.pop("GIVEN")
        sys.path.insert(0, os.path.join(os.path.dirname(__file__), "library"))
        import helper
        ODD = pytest.mark.odd  # No mark is checked before pytest is configured.
        logging.getLogger("shop").setLevel(logging.ERROR)
        warnings.warn("the conftest warns")
        def pytest_addoption(parser): parser.addoption("--mood", default="fine")
        def pytest_configure(config): config.addinivalue_line("markers", "odd: a marker")
        """,
    )
    bench.write(
        "test_a.py",
        """
        import helper, logging, os, pytest
        @pytest.mark.odd
        def test_a(request):
            assert (os.environ["WRITTEN"], os.environ.get("GIVEN")) == ("early", None)
            assert logging.getLogger("shop").level == logging.ERROR
            assert (helper.value, request.config.getoption("--mood")) == (1, "fine")
        def test_b():
            helper.stdout.write("written to a kept stream")
            assert 0
        """,
    )

    runs = bench.compare("test_a.py", GIVEN="yes", PYTEST_ADDOPTS="--strict-markers")

    assert "1 failed, 1 passed, 1 warning" in runs["test_a.py"].output
