"""One file is collected without a visit to what lies beside it, and as it is otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.worker.child.session_bench import SessionBench, find_pythons

VISITS = """
import pytest
def pytest_collect_file(file_path):
    with open("visits", "a") as file: print(file_path.name, file=file)
def pytest_ignore_collect(collection_path):
    with open("visits", "a") as file: print("?" + collection_path.name, file=file)
"""


@pytest.fixture(params=find_pythons())
def bench(tmp_path: Path, request: pytest.FixtureRequest) -> SessionBench:
    (tmp_path / "project").mkdir()
    made = SessionBench(tmp_path / "project", str(request.param))
    made.write("pytest.ini", "[pytest]\n")
    return made


def test_no_sibling_is_visited_in_folders_and_packages(bench: SessionBench) -> None:
    bench.write("conftest.py", VISITS)
    for folder in (".", "plain", "plain/package", "plain/package/inner"):
        for number in range(3):
            bench.write(f"{folder}/test_{number}.py", "def test_it(): pass\n")
    bench.write("plain/package/__init__.py", "")
    bench.write("plain/package/inner/__init__.py", "")

    ran = bench.run_spawned("plain/package/inner/test_1.py")

    visits = (bench.root / "visits").read_text(encoding="utf-8").split()
    assert ran.status == 0, ran.output
    assert set(visits) - {"?__init__.py", "__init__.py"} == {"test_1.py"}


def test_packages_are_set_up_and_nodes_are_named_as_ever(bench: SessionBench) -> None:
    bench.write("package/__init__.py", "import os\nos.environ['SET_UP'] = '1'\n")
    bench.write("package/inner/test_beside.py", "raise RuntimeError('never imported')\n")
    bench.write(
        "package/inner/test_it.py",
        """
        import os
        def test_chain(request):
            print([(type(node).__name__, node.name, node.nodeid) for node in request.node.listchain()])
            print(os.environ.get("SET_UP"), __name__)
        """,
    )
    options = "-s -p no:cacheprovider"

    ran = bench.run_spawned("package/inner/test_it.py", PYTEST_ADDOPTS=options)
    status, plain = bench.run_plainly("-m", "pytest", "package/inner/test_it.py", PYTEST_ADDOPTS=options)

    def chain(output: str) -> list[str]:
        return [line for line in output.splitlines() if "Session" in line or line.startswith("1 ")]

    assert (ran.status, status) == (0, 0)
    assert chain(ran.output)[:2] == chain(plain)[:2] != []


def test_a_session_that_a_test_runs_sees_everything(bench: SessionBench) -> None:
    bench.write("inner/test_1.py", "def test_it(): pass\n")
    bench.write("inner/test_2.py", "def test_it(): pass\n")
    bench.write(
        "inner/test_outer.py",
        """
        import pytest
        class Count:
            def pytest_collection_modifyitems(self, items): self.count = len(items)
        def test_outer():
            counter = Count()
            pytest.main(["-q", "-p", "no:cacheprovider", "--co", "inner"], plugins=[counter])
            assert counter.count == 3
        """,
    )

    runs = bench.compare("inner/test_outer.py")

    assert runs["inner/test_outer.py"].status == 0, runs["inner/test_outer.py"].output


def test_files_that_are_found_by_other_ways_are_collected(bench: SessionBench) -> None:
    bench.write("real/test_real.py", "def test_it(): pass\n")
    (bench.root / "linked").symlink_to("real")
    (bench.root / "test_link.py").symlink_to("real/test_real.py")
    bench.write("package/__init__.py", "def test_in_init(): pass\n")
    names = ["linked/test_real.py", "test_link.py", "package/__init__.py", "./real/../real/test_real.py"]

    plain = {name: bench.run_plainly("-m", "pytest", "-p", "no:cacheprovider", name)[0] for name in names}

    assert {name: bench.run_spawned(name).status for name in names} == plain
    assert list(plain.values())[0:2] == [0, 0]


def test_a_file_that_is_not_there_is_an_error_of_usage(bench: SessionBench) -> None:
    bench.write("folder/test_it.py", "def test_it(): pass\n")
    (bench.root / "folder" / "gone.py").symlink_to("nowhere")

    assert bench.run_plainly("-m", "pytest", "folder/gone.py")[0] == 4
    assert bench.run_forked("folder/test_it.py", "folder/gone.py").runs["folder/gone.py"].status == 4
