"""Real workers and runs that bring their tree, or are of another one."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dispatcher.queue.embedded_server import EmbeddedServer
from dispatcher.queue.tree_upload import upload_tree
from passmuster.model.status import Status
from passmuster.source.identity import tree_identity
from passmuster.source.store import TreeStore
from passmuster.wire.run_store import connect
from tests.support.git_project import GitProject
from tests.support.pytest_environment import PYTEST_PYTHON
from tests.support.queue_worker import DEADLINE_S, Run, WorkerProcess, until
from tests.unit.worker.workbench import is_alive

Start = Callable[..., WorkerProcess]
Begin = Callable[[], Run]

LEAVES_TRACES = (
    "import os, sys\n"
    "sys.stdout.write(open('data.txt').read() + ' ' + str(sorted(os.listdir('.'))))\n"
    "open('data.txt', 'w').write('spoilt')\n"
    "open('left.txt', 'w').write('left')\n"
)


@pytest.fixture
def project(tmp_path: Path) -> GitProject:
    project = GitProject(tmp_path / "project")
    project.write("data.txt", "first")
    project.write("test_data.py", LEAVES_TRACES)
    project.write(
        "test_waits.py", "import pathlib, time\nwhile not pathlib.Path('go').exists(): time.sleep(0.02)\n"
    )
    project.commit()
    return project


@pytest.fixture
def begin(server: EmbeddedServer) -> Iterator[Begin]:
    runs: list[Run] = []

    def new() -> Run:
        runs.append(Run(server.url))
        return runs[-1]

    yield new
    for run in runs:
        run.close()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


@pytest.fixture
def start(server: EmbeddedServer, begin: Begin, cache: Path) -> Iterator[Start]:
    workers: list[WorkerProcess] = []

    def new(root: Path | None, *words: str) -> WorkerProcess:
        worker = WorkerProcess(server.url, root, "--python", str(PYTEST_PYTHON), *words, cache=cache)
        workers.append(worker)
        looks = begin()
        until(lambda: worker.name in looks.workers() or worker.process.poll() is not None, "it is ready")
        return worker

    yield new
    # In order: the card of a killed one stays for a while.
    for worker in workers:
        worker.signal(signal.SIGTERM)
    for worker in workers:
        worker.process.wait(DEADLINE_S)
        worker.close()


@pytest.fixture
def ship(server: EmbeddedServer) -> Callable[[Path], str]:
    store = TreeStore(connect(server.url, timeout_s=30))
    return lambda root: upload_tree(store, root).digest


Ship = Callable[[Path], str]


def refusal(run: Run) -> str:
    """Wait for a refusal, and return what it says."""

    def is_there() -> bool:
        run.look()
        return bool(run.refused)

    until(is_there, "a worker refuses the run")
    [reason] = run.opened_refusals()
    return reason


def test_a_worker_without_a_tree_runs_what_lies_on_the_laptop(
    start: Start, begin: Begin, ship: Ship, project: GitProject
) -> None:
    start(None)
    project.write("data.txt", "not committed")
    run = begin()
    run.submit(run.task("test_data.py"), tree=ship(project.root))

    result = run.wait(1)["test_data.py"]

    assert (result.status, result.error) == (Status.PASS, "")
    assert result.output == "not committed ['data.txt', 'test_data.py', 'test_waits.py']"


def test_a_run_starts_in_a_clean_tree_and_a_changed_one_is_new(
    start: Start, begin: Begin, ship: Ship, project: GitProject
) -> None:
    start(None)
    outputs = []
    for text in ("first", "first", "second"):
        project.write("data.txt", text)
        run = begin()
        run.submit(run.task("test_data.py"), tree=ship(project.root))
        outputs.append(run.wait(1)["test_data.py"].output)
        run.close()

    names = "['data.txt', 'test_data.py', 'test_waits.py']"
    assert outputs == [f"first {names}", f"first {names}", f"second {names}"]


def test_a_run_of_another_tree_waits_until_the_first_has_ended(
    start: Start, begin: Begin, ship: Ship, project: GitProject, cache: Path
) -> None:
    start(None)
    first = begin()
    first.submit(first.task("test_waits.py"), tree=ship(project.root))
    first.wait_for_start()
    [tree] = cache.glob("passmuster/trees/*/tree")
    project.write("data.txt", "second")
    second = begin()
    second.submit(second.task("test_data.py"), tree=ship(project.root))
    for _ in range(20):
        second.look()
    assert (second.started, second.refused) == ([], [])

    (tree / "go").write_text("")
    assert first.wait(1)["test_waits.py"].status is Status.PASS
    assert second.started == []
    first.close()

    assert second.wait(1)["test_data.py"].output.startswith("second ")


def test_a_worker_with_a_tree_serves_both(
    start: Start, begin: Begin, ship: Ship, project: GitProject
) -> None:
    start(project.root)
    own = begin()
    own.submit(own.task("test_data.py"), source_identity=tree_identity(project.root))
    assert own.wait(1)["test_data.py"].output.startswith("first ")
    own.close()
    assert (project.root / "left.txt").exists(), "its own tree is nobody else's business"

    shipped = begin()
    shipped.submit(shipped.task("test_data.py"), tree=ship(project.root))
    assert shipped.wait(1)["test_data.py"].output.startswith("spoilt ['data.txt', 'left.txt'")
    shipped.close()

    again = begin()
    again.submit(again.task("test_data.py"))
    assert again.wait(1)["test_data.py"].status is Status.PASS


def test_a_worker_of_another_tree_refuses_and_names_both(
    start: Start, begin: Begin, project: GitProject, tmp_path: Path
) -> None:
    clone = project.clone(tmp_path / "clone")
    clone.write("data.txt", "changed")
    start(clone.root)
    run = begin()
    run.submit(run.task("test_data.py"), source_identity=tree_identity(project.root))

    reason = refusal(run)

    commit = project.git("rev-parse", "HEAD")[:12]
    assert f"its tree is at commit {commit} with 1 changed file(s) (" in reason
    assert f", the run is of commit {commit}: check out the same commit there" in reason
    assert "--ship" in reason


def test_a_worker_without_a_tree_refuses_a_run_that_brings_none(start: Start, begin: Begin) -> None:
    start(None)
    run = begin()
    run.submit(run.task("test_data.py"))

    assert "it has no tree of its own (--root), and the run uploads none: use --ship" in refusal(run)


def test_a_tree_is_set_up_once_by_the_workers_own_command(
    start: Start, begin: Begin, ship: Ship, project: GitProject, tmp_path: Path
) -> None:
    count = tmp_path / "count"
    start(None, "--setup", f"echo made > made.txt && echo once >> {count} && python -c 'import sys'")
    digest = ship(project.root)
    for _ in range(2):
        run = begin()
        run.submit(run.task("test_data.py"), tree=digest)
        assert "'made.txt'" in run.wait(1)["test_data.py"].output
        run.close()

    assert count.read_text() == "once\n"


def test_a_setup_that_fails_is_shown(start: Start, begin: Begin, ship: Ship, project: GitProject) -> None:
    start(None, "--setup", "echo looking; echo 'no such package' >&2; exit 7")
    run = begin()
    run.submit(run.task("test_data.py"), tree=ship(project.root))

    reason = refusal(run)

    assert "ended with status 7; its last lines: looking | no such package" in reason


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_setup_ends_with_its_worker(
    start: Start, begin: Begin, ship: Ship, project: GitProject, tmp_path: Path, number: signal.Signals
) -> None:
    pid_file = tmp_path / "pid"
    worker = start(
        None, "--setup", f"sleep 600 & echo $! > {pid_file}.part; mv {pid_file}.part {pid_file}; wait"
    )
    run = begin()
    run.submit(run.task("test_data.py"), tree=ship(project.root))
    until(pid_file.exists, "the setup runs")

    worker.signal(number)
    worker.end()

    until(lambda: not is_alive(int(pid_file.read_text())), "the setup has ended")


def test_packages_that_are_missing_are_named(
    start: Start, begin: Begin, ship: Ship, project: GitProject
) -> None:
    start(None)
    project.write("requirements.txt", "pytest>=1\nno-such-package-here==1.0  # a comment\npluggy==0.0.1\n")
    run = begin()
    run.submit(run.task("test_data.py"), tree=ship(project.root))

    reason = refusal(run)

    assert "lacks packages of requirements.txt: no-such-package-here==1.0, pluggy==0.0.1 (it has " in reason
    assert 'with --setup "pip install -r requirements.txt"' in reason


def test_a_tree_that_the_broker_does_not_have_is_refused(start: Start, begin: Begin) -> None:
    start(None)
    run = begin()
    run.submit(run.task("test_data.py"), tree="0" * 64)

    assert "the broker does not have content 000000000000" in refusal(run)


def test_tests_run_in_the_folder_that_the_run_names(
    start: Start, begin: Begin, ship: Ship, project: GitProject
) -> None:
    start(None)
    project.write("sub/test_where.py", "import os\nprint(os.path.basename(os.getcwd()))\n")
    run = begin()
    run.submit(run.task("sub/test_where.py"), tree=ship(project.root), workdir="sub")
    assert run.wait(1)["sub/test_where.py"].output == "sub\n"
    run.close()

    hostile = begin()
    hostile.submit(hostile.task("sub/test_where.py"), tree=ship(project.root), workdir="../../..")
    assert "is not a directory of its tree" in refusal(hostile)
