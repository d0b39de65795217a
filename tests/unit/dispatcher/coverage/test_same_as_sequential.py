"""Files measured in processes of their own and combined give what `coverage run`, one by one, gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import coverage
import pytest

from dispatcher.coverage.combine import CollectedData, merge_coverage
from dispatcher.coverage.request import CoveragePlan

CHILD_DIRECTORY = Path(__file__).parents[4] / "worker" / "child"

BOOTSTRAP = f"""
import json, os, sys, types
sys.path.insert(0, {str(CHILD_DIRECTORY)!r})
import passmuster_child_coverage as measure
del sys.path[0]
measure.load()
path = sys.argv[1]
settings = json.loads(os.environ.pop("SETTINGS"))
del sys.argv[0]
sys.path[0] = os.path.dirname(os.path.abspath(path))
measurement = measure.start(settings)
try:
    main = types.ModuleType("__main__")
    main.__file__ = path
    sys.modules["__main__"] = main
    with open(path) as stream:
        code = compile(stream.read(), path, "exec")
    exec(code, main.__dict__)
finally:
    measure.stop(measurement)
"""

SHOP = """
import atexit

def price(count):
    if count > 10:
        total = count * 9
    else:
        total = count * 10
    for _ in range(count):
        total += 0
    return total

def in_thread(found):
    found.append(price(1))

def in_process():
    value = 3
    return value

def in_subprocess():
    value = 4
    return value

def before_exit():
    value = 5
    return value

def at_exit():
    value = 6
    return value

def until_terminated(ready):
    while True:
        value = 7
        ready.send(value)

def after_failure():
    value = 8
    return value
"""

TESTS = {
    "test_plain.py": """
        import unittest
        from shop import goods
        class Plain(unittest.TestCase):
            def test_many(self):
                self.assertEqual(goods.price(20), 180)
        if __name__ == "__main__":
            unittest.main()
        """,
    "test_thread.py": """
        import threading
        from shop import goods
        found = []
        thread = threading.Thread(target=goods.in_thread, args=(found,))
        thread.start()
        thread.join()
        assert found == [10]
        """,
    "test_subprocess.py": """
        import subprocess, sys
        subprocess.run([sys.executable, "-c", "from shop import goods; goods.in_subprocess()"], check=True)
        """,
    "test_multiprocessing.py": """
        import multiprocessing
        from shop import goods
        if __name__ == "__main__":
            context = multiprocessing.get_context("fork")
            process = context.Process(target=goods.in_process)
            process.start()
            process.join()
            ours, theirs = context.Pipe()
            process = context.Process(target=goods.until_terminated, args=(theirs,))
            process.start()
            assert ours.recv() + ours.recv() == 14
            process.terminate()
            process.join()
        """,
    "test_os_exit.py": """
        import os
        from shop import goods
        goods.before_exit()
        os._exit(0)
        """,
    "test_atexit.py": """
        import atexit
        from shop import goods
        atexit.register(goods.at_exit)
        """,
    "test_failing.py": """
        from shop import goods
        goods.after_failure()
        raise RuntimeError("on purpose")
        """,
    "test_changing_directory.py": """
        import os, tempfile
        os.chdir(tempfile.gettempdir())
        from shop import goods
        goods.price(2)
        """,
}

SETTINGS = {
    "lines": "[run]\n",
    "own source, relative names": "[run]\nsource = shop\nrelative_files = true\n[report]\nprecision = 2\n",
    "source package, branches": "[run]\nsource_pkgs = shop\nbranch = true\nomit = */never.py\n",
    "multiprocessing": "[run]\nconcurrency = multiprocessing\nbranch = true\n",
    "subprocesses and exits": "[run]\npatch = subprocess, _exit\n",
    "sigterm": "[run]\nsigterm = true\n",
}
# With `sigterm`, a forked child that is terminated overwrites what `--append` had gathered.
NEED_PARALLEL_DATA = ("multiprocessing", "subprocesses and exits", "sigterm")
NAME_A_SOURCE = ("own source, relative names", "source package, branches")

Covered = dict[str, tuple[list[int], list[tuple[int, int]]]]


def make_project(directory: Path, settings: str) -> Path:
    root = directory / "project"
    files = {
        ".coveragerc": settings,
        "shop/__init__.py": "",
        "shop/goods.py": SHOP,
        "shop/never.py": "def never():\n    return 1\n",
        **{f"tests/{name}": text.replace("\n        ", "\n") for name, text in TESTS.items()},
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def environment(root: Path, **extra: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    return {**kept, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", **extra}


def covered(data_file: Path, root: Path) -> Covered:
    data = coverage.CoverageData(str(data_file))
    data.read()
    found: Covered = {}
    for name in data.measured_files():
        arcs = data.arcs(name) if data.has_arcs() else []
        found[os.path.relpath(root / name, root)] = (sorted(data.lines(name) or []), sorted(arcs or []))
    return found


def run_sequentially(root: Path, data_file: Path, *, in_parallel_mode: bool, source: list[str]) -> str:
    mode = "--parallel-mode" if in_parallel_mode else "--append"
    variables = environment(root, COVERAGE_FILE=str(data_file))
    command = [sys.executable, "-m", "coverage"]
    for name in sorted(TESTS):
        subprocess.run(
            [*command, "run", mode, *source, f"tests/{name}"], cwd=root, env=variables, capture_output=True
        )
    if in_parallel_mode:
        subprocess.run([*command, "combine"], cwd=root, env=variables, capture_output=True, check=True)
    total = subprocess.run(
        [*command, "report", "--format=total"], cwd=root, env=variables, capture_output=True, check=True
    )
    return total.stdout.decode().strip()


def run_as_we_do(root: Path, directory: Path) -> list[str]:
    bootstrap = directory / "bootstrap.py"
    bootstrap.write_text(BOOTSTRAP, encoding="utf-8")

    def run(name: str) -> list[str]:
        own = directory / "data" / name
        own.mkdir(parents=True)
        data_file = str(own / ".coverage")
        variables = environment(
            root, COVERAGE_FILE=data_file, SETTINGS=json.dumps({"data_file": data_file, "source": []})
        )
        subprocess.run(
            [sys.executable, str(bootstrap), f"tests/{name}"], cwd=root, env=variables, capture_output=True
        )
        return [str(path) for path in own.iterdir()]

    with ThreadPoolExecutor(2) as pool:
        return [path for paths in pool.map(run, sorted(TESTS)) for path in paths]


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_lines_branches_and_total_are_those_of_a_sequential_run(name: str, tmp_path: Path) -> None:
    root = make_project(tmp_path, SETTINGS[name])
    before = sorted(path.relative_to(root) for path in root.rglob("*"))
    data_files = run_as_we_do(root, tmp_path)
    reports = tmp_path / "reports"
    reports.mkdir()
    plan = CoveragePlan(
        root=root,
        interpreter=sys.executable,
        workdir=root,
        data_directory=tmp_path / "merged",
        report_directory=reports,
    )
    report = merge_coverage(plan, CollectedData(data_files=tuple(data_files), files_without_data=()))
    after = sorted(path.relative_to(root) for path in root.rglob("*"))

    total = run_sequentially(
        root,
        tmp_path / "sequential",
        in_parallel_mode=name in NEED_PARALLEL_DATA,
        source=[] if name in NAME_A_SOURCE else ["--source=."],
    )
    expected = covered(tmp_path / "sequential", root)
    assert len(expected["shop/goods.py"][0]) > 10
    assert covered(tmp_path / "merged" / "combined", root) == expected
    assert report.percent_text == total
    assert after == before, "the run left something in the project"
