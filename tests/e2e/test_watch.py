"""`watch` runs what a save affects, obeys keys, and leaves nothing behind, however it ends."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
from pathlib import Path

from tests.e2e.support.processes import wait_until
from tests.e2e.support.project import Project
from tests.support.pytest_environment import PYTEST_PYTHON

DEADLINE_S = 40.0
READY = "Waiting for changes"


class Terminal:
    """A watch in a terminal of its own."""

    def __init__(self, project: Project, *arguments: str) -> None:
        self._outer, self.inner = pty.openpty()
        self.before = termios.tcgetattr(self.inner)
        self.process = subprocess.Popen(
            project.command("watch", "--output", "contract", "--python", str(PYTEST_PYTHON), *arguments),
            cwd=project.root,
            env=project.environment({"TERM": "xterm"}),
            stdin=self.inner,
            stdout=self.inner,
            stderr=self.inner,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )

    def press(self, keys: str) -> None:
        os.write(self._outer, keys.encode())

    def round(self) -> list[str]:
        """Wait for the end of a round; return the lines about its files, and how many may be affected."""
        shown, deadline_s = "", time.monotonic() + DEADLINE_S
        while READY not in shown:
            assert time.monotonic() < deadline_s, shown
            if select.select([self._outer], [], [], 0.05)[0]:
                shown += os.read(self._outer, 65536).decode(errors="replace")
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
        return [line for line in re.split(r"[\r\n]+", plain) if "test_" in line or "affected" in line]

    def close(self) -> None:
        os.close(self._outer)
        os.close(self.inner)


def verdicts(lines: list[str]) -> set[str]:
    found = (re.match(r"\[(PASS|FAIL)\] tests/test_(\w+)\.py", line) for line in lines)
    return {f"{match[2]} {match[1]}" for match in found if match}


def test_a_save_runs_what_it_affects_and_keys_run_the_rest(project: Project) -> None:
    project.write(
        {
            "pytest.ini": "[pytest]\npythonpath = .\n",
            "prices.py": "CENT = 1\n",
            "tests/test_prices.py": "import prices\ndef test_a():\n    assert prices.CENT == 1\n",
            "tests/test_data.py": "def test_a():\n    assert open('data.txt').read() == '1'\n",
            "data.txt": "1",
        }
    )
    watch = Terminal(project)
    try:
        assert verdicts(watch.round()) == {"prices PASS", "data PASS"}
        project.write({"prices.py": "CENT = 2\n"})
        failed = watch.round()
        assert verdicts(failed) == {"prices FAIL"}
        assert any("prices.py changed: 1 of 2 files may be affected" in line for line in failed)
        status = project.run("status", events=False)
        assert "Runs on this machine: 0" in status.stdout  # It reserves nothing while it waits.
        watch.press("a")
        assert verdicts(watch.round()) == {"prices FAIL", "data PASS"}
        watch.press("f")
        assert verdicts(watch.round()) == {"prices FAIL"}
        project.write({"prices.py": "CENT = 1\n"})  # As long as before, and within the same second.
        assert verdicts(watch.round()) == {"prices PASS"}
        watch.press("\r")
        assert verdicts(watch.round()) == {"prices PASS"}
        project.write({"data.txt": "2"})
        assert verdicts(watch.round()) == {"data FAIL"}
        project.write({"data.txt": "1", "tests/test_new.py": "def test_a():\n    pass\n"})
        assert verdicts(watch.round()) == {"data PASS", "new PASS"}
        project.write({"conftest.py": "import prices\nprices.CENT = 3\n"})
        assert "prices FAIL" in verdicts(watch.round())
        project.write({"conftest.py": "1 / 0\n"})
        watch.round()
        (project.root / "conftest.py").unlink()
        assert "prices PASS" in verdicts(watch.round())
        watch.press("q")
        assert watch.process.wait(timeout=DEADLINE_S) == 0
        assert termios.tcgetattr(watch.inner) == watch.before
    finally:
        watch.process.kill()
        watch.process.wait()
        watch.close()
    project.check_nothing_is_left()


def test_ctrl_c_ends_a_round_then_the_watch_and_a_killed_watch_ends_its_servers(project: Project) -> None:
    project.may_leave_tmp = True
    project.write({"tests/test_slow.py": "import time\nopen('started', 'w').write('1')\ntime.sleep(600)\n"})
    running = project.start("watch", events=False)
    running.wait_for_file("started")
    running.send(signal.SIGINT)
    project.write({"tests/test_slow.py": "print(1)\nopen('done', 'a').write('1')\n"})
    running.wait_for_file("done")
    running.send(signal.SIGTERM)
    assert running.end().code == 0
    assert project.processes() == []

    (project.root / "done").unlink()
    project.write({"tests/test_slow.py": "open('done', 'a').write('1')\n"})
    running = project.start("watch", events=False)
    running.wait_for_file("done")
    Path(f"/proc/{running.pid}/stat").read_text()  # It is still there.
    running.send(signal.SIGKILL)
    running.end()
    wait_until(lambda: project.processes() == [], "servers of a killed watch are left")
