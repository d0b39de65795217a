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


def test_what_is_imported_outside_of_other_installed_modules_is_recorded(bench: ImportBench) -> None:
    bench.install("outer.py", "import inner, decimal")
    bench.install("inner.py")
    bench.install("shelf/__init__.py")
    bench.install("shelf/books.py")
    bench.write("shop/__init__.py", "import wave\nfrom shop import cart")
    bench.write("shop/cart.py", "import outer")
    bench.write("test_a.py", "import shop\nfrom shelf import books\nimport inner\n")

    assert bench.learn("test_a.py") == ["wave", "outer", "shelf", "shelf.books"]


def test_what_a_test_imports_is_not_recorded(here: ImportBench) -> None:
    here.install("early.py")
    here.install("late.py", "import later")
    here.install("later.py")
    finders = "[type(finder).__name__ for finder in sys.meta_path]"
    checked = f"assert 'ImportRecorder' not in {finders}"
    here.write("test_a.py", f"import early, sys\nbegin()\nimport late\n{checked}")

    assert here.learn("test_a.py") == ["early"]


def test_what_a_library_imports_when_it_is_used_is_recorded(here: ImportBench) -> None:
    here.install("lazy.py", "import inner\ndef use():\n    import late\nimport importlib")
    here.install("early.py", "import lazy; lazy.importlib.import_module('dynamic'); lazy.use()")
    for name in ("inner.py", "late.py", "dynamic.py", "later.py"):
        here.install(name)
    here.write("test_a.py", "import lazy\nlazy.use()\nlazy.importlib.import_module('later')\nimport early")

    assert here.learn("test_a.py") == ["lazy", "late", "later", "early"]


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

    assert bench.learn("test_a.py")[0] == "shelf"


def test_imports_of_other_threads_are_left_alone(here: ImportBench) -> None:
    here.install("shelf.py")
    here.write(
        "test_a.py",
        "import threading\nt = threading.Thread(target=__import__, args=('shelf',))\nt.start()\nt.join()",
    )

    assert "shelf" not in here.learn("test_a.py")
