"""The broker's password and the secret appear nowhere: not in what is printed, written or started."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.support.outcome import Outcome
from tests.e2e.support.project import Project
from tests.e2e.support.queue_runs import Worker, private_file
from tests.e2e.support.sources import FAILING, script
from tests.e2e.support.unprivileged import UNPRIVILEGED
from tests.support.broker_server import BrokerServer, broker_server

PASSWORD = "word-of-the-server"
SECRET = "word-of-the-messages"
WORDS = ("word-of-the-", "PASSMUSTER_SECRET", "PASSMUSTER_BROKER")
PRINTS = script("print(sorted(os.environ.items()))")
SHOWS_PROCESSES = script(
    """
    for name in os.listdir('/proc'):
        try:
            print(open('/proc/%s/cmdline' % name, 'rb').read().replace(bytes(1), b' '))
        except OSError:
            pass
    """
)


READS_PROCESSES = script(
    """
    import pathlib, subprocess
    child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)
    readable = set()
    for folder in pathlib.Path('/proc').iterdir():
        try:
            found = (folder / 'environ').read_bytes()
        except OSError:
            continue
        readable.add(folder.name)
        print(found.replace(bytes(1), b' '))
    child.communicate(b'x')
    assert str(child.pid) in readable  # What is not hidden can be read: rights do not stand in the way.
    """
)


@pytest.fixture(scope="module")
def server() -> Iterator[BrokerServer]:
    with broker_server(f"user default on >{PASSWORD} ~* &* +@all") as server:
        yield server


def everything(project: Project, outcome: Outcome, log: str = "") -> str:
    """Return all that was printed, and all that was written into the project and beside it."""
    texts = [outcome.stdout, outcome.stderr, log]
    texts += [
        path.read_text(errors="replace")
        for path in project.base.rglob("*")
        if path.is_file() and "secret-files" not in path.parts
    ]
    return "\n".join(texts)


def test_a_run_shows_them_nowhere(project: Project, server: BrokerServer) -> None:
    env = {
        "PASSMUSTER_BROKER_URL": f"redis://:{PASSWORD}@127.0.0.1:{server.port}",
        "PASSMUSTER_SECRET": SECRET,
    }
    files = {"tests/test_a.py": PRINTS, "tests/test_b.py": SHOWS_PROCESSES, "tests/test_c.py": FAILING}
    project.write(files)

    with Worker(project, env=env) as worker:
        worker.wait_until_ready()
        outcome = project.run("-v", "--junit-xml", "report.xml", env=env)
        worker.end()

    assert outcome.statuses() == {
        "tests/test_a.py": "PASS",
        "tests/test_b.py": "PASS",
        "tests/test_c.py": "FAIL",
    }
    shown = everything(project, outcome, worker.log)
    assert "run_tests.py" in shown  # The processes were seen, and the command to run a file again is there.
    for word in WORDS:
        assert word not in shown


def test_a_test_cannot_read_them_from_the_processes_around_it(project: Project, server: BrokerServer) -> None:
    env = {
        "PASSMUSTER_BROKER_URL": f"redis://:{PASSWORD}@127.0.0.1:{server.port}",
        "PASSMUSTER_SECRET": SECRET,
    }
    project.write({"tests/test_a.py": READS_PROCESSES})

    with Worker(project, env=env, prefix=UNPRIVILEGED) as worker:
        worker.wait_until_ready()
        outcome = project.run("-v", env=env, prefix=UNPRIVILEGED)
        worker.end()

    assert outcome.statuses() == {"tests/test_a.py": "PASS"}, str(outcome)
    shown = everything(project, outcome, worker.log)
    assert "PATH=" in shown
    for word in WORDS:
        assert word not in shown


def test_files_hold_them_and_only_their_names_are_seen(project: Project, server: BrokerServer) -> None:
    folder = project.base / "secret-files"
    folder.mkdir()
    words = (
        *("--broker", f"redis://127.0.0.1:{server.port}"),
        *("--broker-password-file", private_file(folder / "password", f"{PASSWORD}\n")),
        *("--secret-file", private_file(folder / "secret", f"{SECRET}\n")),
    )
    project.write({"tests/test_a.py": PRINTS, "tests/test_b.py": SHOWS_PROCESSES})

    with Worker(project, *words, env={"PASSMUSTER_SECRET": None}) as worker:
        worker.wait_until_ready()
        outcome = project.run("-v", *words)
        worker.end()

    assert outcome.code == 0, f"{outcome}\n{worker.log}"
    assert "word-of-the-" not in everything(project, outcome, worker.log)
    assert outcome.stderr == ""


@pytest.mark.parametrize("words", [("--show-config",), ("--dry-run",)])
def test_looking_shows_no_password(project: Project, server: BrokerServer, words: tuple[str, ...]) -> None:
    env = {"PASSMUSTER_BROKER": f"redis://:{PASSWORD}x@127.0.0.1:{server.port}", "PASSMUSTER_SECRET": SECRET}
    project.write({"tests/test_a.py": PRINTS})

    outcome = project.run(*words, env=env)

    assert outcome.code == (3 if words == ("--dry-run",) else 0), str(outcome)
    assert "word-of-the-" not in everything(project, outcome)


def test_a_password_on_the_command_line_is_warned_of(project: Project, server: BrokerServer) -> None:
    words = ("--broker", f"redis://:{PASSWORD}@127.0.0.1:{server.port}")
    project.write({"tests/test_c.py": FAILING})

    with Worker(project, *words) as worker:
        worker.wait_until_ready()
        outcome = project.run(*words, env={"PASSMUSTER_SECRET": "the tests' secret"})
        worker.end()

    (line,) = [line for line in outcome.stderr.splitlines() if "password" in line]
    (other,) = [line for line in worker.log.splitlines() if "password" in line]
    for text in (line, other):
        assert "all users of this machine can read the password in --broker" in text
        assert "use PASSMUSTER_BROKER_URL or --broker-password-file" in text
    assert "word-of-the-" not in everything(project, outcome, worker.log)


def test_tests_on_this_machine_see_none_of_it_either(project: Project) -> None:
    env = {
        "PASSMUSTER_BROKER_URL": f"redis://:{PASSWORD}@127.0.0.1",
        "PASSMUSTER_SECRET": SECRET,
        "PASSMUSTER_BROKER_PASSWORD_FILE": "word-of-the-file",
    }
    project.write({"tests/test_a.py": PRINTS})

    for words in (("--broker", "none"), ("--broker", "none", "--cluster", "1")):
        outcome = project.run("-v", *words, env={**env, "PASSMUSTER_SECRET_FILE": "/word-of-the-file"})

        assert outcome.code == 0, str(outcome)
        assert "HOME" in outcome.finished()[-1].output
        for word in WORDS:
            assert word not in everything(project, outcome)
