"""What a run says of its CPU time, and what the system says of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.support.project import REPOSITORY, Project

BURNS = """
import subprocess, sys, time, unittest
class Case(unittest.TestCase):
    def test_here(self):
        until_s = time.process_time() + 0.4
        while time.process_time() < until_s:
            sum(range(10_000))
    def test_below(self):
        code = "import time\\nwhile time.process_time() < 0.4: sum(range(10_000))"
        subprocess.run([sys.executable, "-c", code])
if __name__ == "__main__":
    unittest.main()
"""
TIMED = """
import json, resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps(used.ru_utime + used.ru_stime))
"""
"""What `time` of a shell does."""


@pytest.mark.parametrize("isolation", ["spawn", "fork"])
def test_time_of_a_shell_and_the_run_itself_count_the_processes_of_tests(
    project: Project, isolation: str, tmp_path: Path
) -> None:
    project.write({f"tests/test_{name}.py": BURNS for name in "ab"})
    events = tmp_path / "events.jsonl"
    options = ["--isolation", isolation, "--no-history", "--events", str(events)]
    command = [sys.executable, "-c", TIMED, sys.executable, str(REPOSITORY / "run_tests.py"), *options]

    done = subprocess.run(command, cwd=project.root, env=dict(os.environ), stdout=subprocess.PIPE, check=True)

    shell_s = float(done.stdout)
    end = json.loads(events.read_text().splitlines()[-1])
    assert end["tests_cpu_s"] >= 1.5
    assert end["own_cpu_s"] > 0
    # What the run takes after its last event, and rounding of the system to ticks, is all that differs.
    assert shell_s >= end["tests_cpu_s"] + 0.5 * end["own_cpu_s"]
