"""Which of the imports that happen while a test file runs are recorded as its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.unit.worker.child.child_bench import INTERPRETERS
from tests.unit.worker.child.import_bench import ImportBench


@pytest.fixture(params=INTERPRETERS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> ImportBench:
    return ImportBench(tmp_path, INTERPRETERS[request.param])


@pytest.fixture
def here(tmp_path: Path) -> ImportBench:
    return ImportBench(tmp_path, sys.executable)


def names(roots: list[tuple[str, float, bool]]) -> list[tuple[str, bool]]:
    assert all(seconds >= 0 for _, seconds, _ in roots)
    return [(name, is_own) for name, _, is_own in roots]


def test_only_what_the_project_imports_itself_is_recorded(bench: ImportBench) -> None:
    bench.install("outer.py", "import inner, decimal")
    bench.install("inner.py")
    bench.install("shelf/__init__.py")
    bench.install("shelf/books.py")
    bench.write("shop/__init__.py", "import wave\nfrom shop import cart")
    bench.write("shop/cart.py", "import outer")
    bench.write("test_a.py", "import shop\nfrom shelf import books\nimport inner\n")

    roots = bench.learn("test_a.py")

    assert sorted(names(roots)) == [
        ("outer", False),
        ("shelf", False),
        ("shelf.books", False),
        ("shop", True),
        ("wave", False),
    ]


def test_what_a_test_imports_is_not_recorded(here: ImportBench) -> None:
    here.install("early.py")
    here.install("late.py", "import later")
    here.install("later.py")
    finders = "[type(finder).__name__ for finder in sys.meta_path]"
    checked = f"assert 'ImportRecorder' not in {finders}"
    here.write("test_a.py", f"import early, sys\nbegin()\nimport late\n{checked}")

    roots = here.learn("test_a.py")

    assert names(roots) == [("early", False)]


def test_import_module_counts_for_its_caller(here: ImportBench) -> None:
    here.install("shelf.py", "import importlib; importlib.import_module('inner')")
    here.install("inner.py")
    here.write("test_a.py", "import importlib\nimportlib.import_module('shelf')")

    roots = here.learn("test_a.py")

    assert ("shelf", False) in names(roots)
    assert ("inner", False) not in names(roots)


def test_the_time_of_the_projects_own_code_does_not_hold_that_of_installed_modules(here: ImportBench) -> None:
    work = "import time\nend = time.process_time() + {}\nwhile time.process_time() < end: pass"
    here.install("slow.py", work.format(0.2))
    here.write("shop.py", "import slow")
    here.write("test_a.py", "import shop")

    roots = here.learn("test_a.py")

    seconds = {name: spent for name, spent, _ in roots}
    assert seconds["shop"] < seconds["slow"]
    assert seconds["slow"] >= 0.2


def test_imports_work_and_look_as_without_it(bench: ImportBench) -> None:
    bench.install("shelf.py")
    bench.install("broken.py", "import shelf\n1 / 0")
    bench.write("shop.py", "import broken")
    bench.write(
        "test_a.py",
        """
        import shelf, importlib.util, sys, traceback
        assert "exec_module" not in vars(shelf.__loader__)
        assert shelf.__spec__.loader is shelf.__loader__
        for name in ("shop", "nowhere"):
            try:
                __import__(name)
            except (ZeroDivisionError, ImportError) as error:
                text = traceback.format_exc()
                assert "learn" not in text and "exec_module" not in text, text
                assert text.count("File ") == (3 if name == "shop" else 1), text
            assert name not in sys.modules
        spec = importlib.util.find_spec("wave")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        assert module.open
        """,
    )

    roots = bench.learn("test_a.py")

    assert names(roots)[0] == ("shelf", False)


def test_imports_of_other_threads_are_left_alone(here: ImportBench) -> None:
    here.install("shelf.py")
    here.write(
        "test_a.py",
        "import threading\nt = threading.Thread(target=__import__, args=('shelf',))\nt.start()\nt.join()",
    )

    roots = here.learn("test_a.py")

    assert ("shelf", False) not in names(roots)
