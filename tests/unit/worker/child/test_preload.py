"""What may be imported ahead of a fork, and what each kind of module that does more is told of."""

from __future__ import annotations

import _ctypes
import shutil
import sys
from pathlib import Path

import pytest

from tests.unit.worker.child.child_bench import INTERPRETERS
from tests.unit.worker.child.import_bench import ImportBench

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="nothing counts as clean elsewhere")

CLEAN_UP = """
import os
for pid in open("/proc/self/task/%d/children" % os.getpid()).read().split():
    os.kill(int(pid), 9)
sys.stdout = sys.__stdout__
"""


@pytest.fixture(params=INTERPRETERS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> ImportBench:
    return ImportBench(tmp_path, INTERPRETERS[request.param])


@pytest.fixture
def here(tmp_path: Path) -> ImportBench:
    return ImportBench(tmp_path, sys.executable)


@pytest.mark.parametrize(
    "text",
    [
        "import os\nNAME = 'base_' + os.environ.get('PYTEST_XDIST_WORKER', 'master')\n",
        "from os import getenv\nPORT = 8000 + int(getenv('PASSMUSTER_SLOT') or 0)\n",
        "import os\nCOPY = dict(os.environ)\n",
        "import os\nCOPY = list(os.environ.items())\n",
        "import os\nCOPY = {k: v for k, v in os.environ.items() if k.startswith('P')}\n",
        "import os\nCOPY = set(os.environ.values())\n",
    ],
)
def test_a_module_that_reads_the_slots_number_is_left_to_each_file(here: ImportBench, text: str) -> None:
    here.install("asks.py", text)
    here.install("other.py", "import os\nHOME = os.environ.get('HOME')\n")

    verdicts, is_clean = here.preload("other", "asks", PYTEST_XDIST_WORKER="gw0", PASSMUSTER_SLOT="0")

    assert verdicts["other"] == "ok"
    assert verdicts["asks"].startswith("reads P")
    assert verdicts["asks"].endswith("which differs from file to file")
    assert not is_clean


@pytest.mark.parametrize(
    "text",
    [
        "COPY = {key: value for key, value in os.environ.items() if key.startswith('HO')}",
        "for value in os.environ.values(): value.upper()",
        "LENGTH = len(os.environ.items())",
        "NAMES = list(os.environ)",
    ],
)
def test_who_looks_for_other_variables_among_all_may_be_preloaded(bench: ImportBench, text: str) -> None:
    bench.install("other.py", f"import os\nos.environ['LAST'] = '1'\n{text}\ndel os.environ['LAST']\n")

    verdicts, is_clean = bench.preload("other", PYTEST_XDIST_WORKER="gw0", PASSMUSTER_SLOT="0", HOME="/")

    assert (verdicts["other"], is_clean) == ("ok", True)


def test_a_module_whose_copy_of_the_environment_is_renewed_may_be_preloaded(here: ImportBench) -> None:
    verdicts, is_clean = here.preload("wsgiref.simple_server", PYTEST_XDIST_WORKER="gw0", PASSMUSTER_SLOT="0")

    assert (verdicts["wsgiref.simple_server"], is_clean) == ("ok", True)


def test_modules_of_python_leave_the_process_clean(bench: ImportBench) -> None:
    names = ("unittest", "unittest:mock", "json", "asyncio", "xml.dom.minidom", "sqlite3", "decimal", "ssl")

    verdicts, is_clean = bench.preload(*names, "multiprocessing", "concurrent.futures", "ctypes", "logging")

    assert set(verdicts.values()) == {"ok"}
    assert is_clean


def test_installed_modules_are_imported_with_their_parents(bench: ImportBench) -> None:
    bench.install("shelf/__init__.py", "import json")
    bench.install("shelf/books.py", "TITLE = 1")
    bench.install("shelf/lamps.py")

    verdicts, is_clean = bench.preload(
        "shelf.books", "shelf:lamps", "shelf.books:TITLE", then="assert 'shelf.lamps' in sys.modules"
    )

    assert verdicts == {
        "shelf": "ok",
        "shelf.books": "ok",
        "shelf:lamps": "ok",
        "shelf.books:TITLE": "attribute",
    }
    assert is_clean


def test_what_cannot_be_found_stays_missing(here: ImportBench) -> None:
    here.install("shelf.py")

    verdicts, is_clean = here.preload("nowhere.at.all", "shelf.part", "shelf:part", "shelf")

    assert verdicts == {
        "nowhere": "missing",
        "shelf": "ok",
        "shelf.part": "missing",
        "shelf:part": "missing",
    }
    assert is_clean


def test_modules_of_the_project_are_imported_only_when_they_are_named(here: ImportBench) -> None:
    here.write("shop/__init__.py", "import json")
    here.write("other.py")
    here.write("moved.py")  # The file itself would find another one.
    then = f"assert 'other' not in sys.modules\nsys.path.append({str(here.root)!r})"

    own = {"shop": "shop/__init__.py", "moved": "elsewhere/moved.py"}
    verdicts, is_clean = here.preload("shop", "other", "moved", own=own, then=then)

    assert verdicts == {"shop": "ok", "other": "outside", "moved": "outside"}
    assert is_clean


@pytest.mark.parametrize(("name", "verdict"), [("SHOP", "ok"), ("TMPDIR", "sets the environment: TMPDIR")])
def test_a_module_of_the_project_may_set_only_what_is_alike_for_all_files(
    here: ImportBench, name: str, verdict: str
) -> None:
    here.write("shop.py", f"import os\nos.environ[{name!r}] = 'yes'")

    assert here.preload("shop", own={"shop": "shop.py"})[0] == {"shop": verdict}


def test_a_module_of_the_project_must_not_keep_the_streams_of_a_server(here: ImportBench) -> None:
    here.write("shop.py", "import logging\nlogging.basicConfig()")

    assert here.preload("shop", own={"shop": "shop.py"})[0] == {"shop": "keeps sys.stdout or sys.stderr"}


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("import threading as t\nt.Thread(target=t.Event().wait, daemon=True).start()", "starts a thread"),
        ("import subprocess\nP = subprocess.Popen(['sleep', '60'])", "leaves a process running"),
        ("import os\nFD = os.open('/dev/zero', 0)", "leaves a descriptor open: /dev/zero"),
        ("import os\nos.dup2(os.open('/dev/zero', 0), 0)", "leaves a descriptor open: /dev/zero"),
        ("import os\nos.close(0)", "closes a descriptor that is not its own"),
        ("import locale\nlocale.setlocale(locale.LC_ALL, 'C.UTF-8')", "changes the locale"),
        ("import mmap\nM = mmap.mmap(-1, 4096)\nM[0] = 1", "maps memory that processes share"),
        ("import signal\nsignal.signal(signal.SIGTERM, lambda *a: None)", "changes the handler of signal 15"),
        ("import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [10])", "changes how signals are handled"),
        ("import faulthandler\nfaulthandler.register(12)", "changes how signals are handled"),
        ("import sys\nsys.excepthook = print", "replaces sys.excepthook"),
        ("import sys\nsys.displayhook = print", "replaces sys.displayhook"),
        ("import time\ntime.sleep = print", "replaces time.sleep"),
        ("import _thread\n_thread.start_new_thread = print", "replaces _thread.start_new_thread"),
        ("import sys\nsys.unraisablehook = print", "replaces sys.unraisablehook"),
        ("import sys\nsys.stdout = sys.stderr", "replaces sys.stdout"),
        ("import sys\nsys.settrace(lambda *a: None)", "replaces sys.settrace"),
        ("import sys\nsys.setprofile(lambda *a: None)", "replaces sys.setprofile"),
        (
            "import builtins\nbuiltins.__import__ = lambda *a, f=__import__: f(*a)",
            "replaces builtins.__import__",
        ),
        ("import sys\nsys.meta_path[:] = sys.meta_path[1:]", "takes a finder out of sys.meta_path"),
        ("import sys\nsys.path.insert(0, '/nowhere')", "changes sys.path"),
        (
            "import os\nos.environ['SHELF_A'] = os.environ['SHELF_B'] = '1'",
            "sets the environment: SHELF_A, SHELF_B",
        ),
        ("import os\nos.environ['KMP_A'] = os.environ['SHELF'] = '1'", "sets the environment: SHELF"),
        ("import os\nos.environ['HOME'] = '/'", "sets the environment: HOME"),
        ("import os\nos.chdir('/')", "changes the working directory"),
        ("import os\nos.umask(0o123)", "changes the umask"),
        ("print('hello')", "prints"),
        ("import os\nos.write(2, b'hello')", "prints"),
        ("import warnings\nwarnings.warn('beware\\nof it')", "warns: UserWarning: beware"),
        ("import warnings\nwarnings.showwarning = print", "replaces warnings.showwarning"),
        ("import uuid\nSESSION = uuid.uuid4()", "draws random numbers, in hostile"),
        ("import secrets\nclass A:\n    token = secrets.token_hex(4)", "draws random numbers, in hostile"),
        ("from os import urandom\nKEY = urandom(8)", "draws random numbers, in hostile"),
        ("import random\nPORT = random.randint(1024, 65535)", "draws random numbers"),
        ("import nowhere_at_all", "raises ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("raise SystemExit(3)", "raises SystemExit: 3"),
        ("import sys\nsys.exit(", "raises SyntaxError: "),
    ],
)
def test_a_module_that_does_more_than_define_things_ends_the_list(
    here: ImportBench, code: str, verdict: str
) -> None:
    here.install("hostile.py", code)

    verdicts, is_clean = here.preload("json", "hostile", "decimal", then=CLEAN_UP)

    assert list(verdicts) == ["json", "hostile"]
    assert verdicts["json"] == "ok"
    assert verdicts["hostile"].startswith(verdict)
    assert "\n" not in verdicts["hostile"]
    assert not is_clean


@pytest.mark.parametrize(
    "code",
    [
        "import os\nos.environ.get('HOME')",
        "import subprocess\nsubprocess.run(['true'])",
        "import os\nos.environ['KMP_INIT_AT_FORK'] = 'FALSE'",
        "import threading\nT = threading.Thread(target=int)\nT.start()\nT.join()",
        "import tempfile\nwith tempfile.TemporaryFile() as file: file.write(b'1')",
        "import sys, types\nsys.meta_path.append(types.SimpleNamespace(find_spec=lambda *a: None))",
        "import warnings\nwarnings.filterwarnings('ignore', message='shelf')",
        "import atexit, random\natexit.register(int)\nrandom.seed(1)",
        "import random\nONE, OTHER = random.Random(), random.Random(42)\nOTHER.random()\nrandom.seed()",
        "import random\nrandom.seed(1)\nPORT = random.randint(1024, 65535)",
        "import multiprocessing.process, secrets, tempfile, uuid",
        "import warnings\nwarnings.warn('old', DeprecationWarning)",
    ],
)
def test_a_module_that_leaves_nothing_behind_is_clean(here: ImportBench, code: str) -> None:
    here.install("harmless.py", code)

    assert here.preload("harmless") == ({"harmless": "ok"}, True)


NATIVE_THREAD = """
import ctypes
libc = ctypes.CDLL(None)
def start(name):
    libc.prctl(15, name)  # PR_SET_NAME, which the new thread inherits
    libc.pthread_create(ctypes.byref(ctypes.c_ulong()), None, libc.pause, None)
    libc.prctl(15, b"python")
"""


def test_threads_that_survive_a_fork_are_clean(here: ImportBench) -> None:
    library = here.site / "libopenblas-1.so"
    here.install("blas.py", f"{NATIVE_THREAD}\nstart(b'blas')\nctypes.CDLL({str(library)!r})")
    here.install("arrow.py", f"{NATIVE_THREAD}\nstart(b'jemalloc_bg_thd')")
    shutil.copy(_ctypes.__file__, library)

    assert here.preload("blas", "arrow") == ({"blas": "ok", "arrow": "ok"}, True)


def test_other_native_threads_are_not(here: ImportBench) -> None:
    here.install("polar.py", f"{NATIVE_THREAD}\nstart(b'jemalloc_bg_thd')\nstart(b'cleaner')")

    assert here.preload("polar") == ({"polar": "starts 1 native thread"}, False)


def test_a_hidden_warning_counts_where_pytest_would_show_it(bench: ImportBench) -> None:
    bench.install("old.py", "import warnings\nwarnings.warn('old', DeprecationWarning)")

    verdicts, is_clean = bench.preload("old", every_warning=True)

    assert verdicts == {"old": "warns: DeprecationWarning: old"}
    assert not is_clean


def test_the_filters_are_afterwards_what_they_would_be_without_the_watching(bench: ImportBench) -> None:
    bench.install("filters.py", "import warnings\nwarnings.filterwarnings('ignore', message='shelf')")
    then = """
        import warnings
        added = [entry for entry in warnings.filters if entry not in before]
        assert len(added) == 1 and len(warnings.filters) == len(before) + 1, warnings.filters
        assert warnings.showwarning.__module__ == "warnings"
    """

    assert bench.preload("filters", every_warning=True, then=then) == ({"filters": "ok"}, True)


def test_nothing_stays_open_and_nothing_printed_reaches_the_caller(here: ImportBench) -> None:
    here.install("loud.py", "print('nobody is to see this')")
    then = """
        import os
        assert len(os.listdir("/proc/self/fd")) == 4, os.listdir("/proc/self/fd")
        assert os.readlink("/proc/self/fd/1").startswith("pipe:")
    """

    verdicts, _ = here.preload("loud", then=then)

    assert verdicts == {"loud": "prints"}


def test_a_package_that_makes_its_parts_on_demand_is_watched_meanwhile(here: ImportBench) -> None:
    lazy = "def __getattr__(name):\n    import importlib\n    return importlib.import_module('lazy.' + name)"
    here.install("lazy/__init__.py", lazy)
    here.install("lazy/part.py", "print('loud')")

    verdicts, is_clean = here.preload("lazy:part")

    assert verdicts == {"lazy": "ok", "lazy:part": "prints"}
    assert not is_clean


def test_a_module_imported_already_costs_nothing_and_is_not_judged(here: ImportBench) -> None:
    assert here.preload("sys", "os", "os:path") == ({"sys": "ok", "os": "ok", "os:path": "ok"}, True)


def test_nothing_is_clean_where_nobody_can_tell(here: ImportBench) -> None:
    then = """
        preload.CAN_TELL = False
        results = preload.preload(["decimal"], [])
        assert "decimal" not in sys.modules
    """

    assert here.preload(then=then) == ({"decimal": "cannot be watched on this system"}, False)
