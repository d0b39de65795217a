"""Time: a file that takes too long is ended, with all its processes, and says where it was."""

from __future__ import annotations

import signal

import pytest

from tests.e2e.support.project import Project
from tests.e2e.support.sources import PASSING, script
from tests.support.pytest_environment import PYTEST_ENVIRONMENT

STUBBORN = """
import signal
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
"""

FAMILY = """\
import os, subprocess, sys, threading, time


def wait_in_a_thread():
    time.sleep(600)


def wait_for_the_child(child):
    child.communicate()
    time.sleep(600)


if __name__ == "__main__":
    import signal

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.fork() == 0:
        def the_forked_child_waits():
            time.sleep(600)
        the_forked_child_waits()
    threading.Thread(target=wait_in_a_thread, daemon=True).start()
    source = "import time\\ndef the_silent_child_waits():\\n    time.sleep(600)\\nthe_silent_child_waits()\\n"
    wait_for_the_child(
        subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    )
"""


def test_a_file_that_hangs_and_ignores_sigterm_is_killed_and_shows_where_every_process_was(
    project: Project,
) -> None:
    project.write({"tests/test_family.py": FAMILY, "tests/test_good.py": PASSING})
    outcome = project.run("--timeout", "1s", "--grace-period", "300ms")
    assert outcome.code == 1
    assert outcome.statuses() == {"tests/test_family.py": "TIMEOUT", "tests/test_good.py": "PASS"}
    ended = outcome.final("tests/test_family.py")
    assert ended.error == "ran longer than its time limit of 1 s"
    assert (ended.exit_code, ended.signal) == (None, signal.SIGKILL)
    (stacks,) = project.root.glob(".passmuster/runs/*/output/tests/test_family.py.stacks")
    text = stacks.read_text()
    for function in (
        "wait_in_a_thread",
        "wait_for_the_child",
        "the_forked_child_waits",
        "the_silent_child_waits",
    ):
        assert f" in {function}" in text, text
    details = outcome.lines_after("    Stacks at the timeout:")
    assert any("wait_for_the_child" in line for line in details)
    assert "    Status: TIMEOUT: ran longer than its time limit of 1 s" in outcome.lines
    assert "  Of the failed: TIMEOUT 1" in outcome.lines


def test_a_file_may_clean_up_after_sigterm(project: Project) -> None:
    project.write(
        {
            "tests/test_tidy.py": script(
                """
                import signal
                signal.signal(signal.SIGTERM, lambda *rest: sys.exit(0))
                try:
                    time.sleep(600)
                finally:
                    print('tidied up')
                """
            )
        }
    )
    outcome = project.run("--timeout", "500ms", "--grace-period", "30s")
    ended = outcome.final("tests/test_tidy.py")
    assert (ended.status, ended.output, ended.exit_code) == ("TIMEOUT", "tidied up\n", 0)
    assert outcome.duration_s < 20


@pytest.mark.parametrize("variable", ["TEST_TIMEOUT", "PASSMUSTER_TIMEOUT"])
def test_the_time_limit_may_come_from_the_environment(project: Project, variable: str) -> None:
    project.write({"tests/test_hangs.py": script("time.sleep(600)")})
    outcome = project.run(env={variable: "0.3"})
    assert outcome.statuses() == {"tests/test_hangs.py": "TIMEOUT"}


@pytest.mark.parametrize(
    ("arguments", "env"), [(("--run-timeout", "700ms"), {}), ((), {"TEST_SUITE_TIMEOUT": "0.7"})], ids=str
)
def test_the_time_of_the_whole_run_is_limited(
    project: Project, arguments: tuple[str, ...], env: dict[str, str | None]
) -> None:
    project.write(
        {
            "tests/test_a_hangs.py": script(f"{STUBBORN}\n# the longest text starts first\ntime.sleep(600)"),
            "tests/test_b_waits.py": PASSING,
        }
    )
    outcome = project.run("--jobs", "1", "--grace-period", "200ms", *arguments, env=env)
    assert outcome.code == 1
    assert outcome.statuses() == {"tests/test_a_hangs.py": "CANCELLED", "tests/test_b_waits.py": "NOT_RUN"}
    assert "  Not run: 2" in outcome.lines
    after = outcome.lines_after("[WARN] 2 file(s) did not run to their end:")
    assert after[0].startswith("  - tests/test_a_hangs.py (stopped after ")
    assert after[1] == "  - tests/test_b_waits.py (never started)"
    assert "All tests passed" not in outcome.stdout


def test_a_slow_file_is_mentioned_once(project: Project) -> None:
    project.write({"tests/test_slow.py": script("time.sleep(1.5)")})
    outcome = project.run("--slow-timeout", "300ms")
    assert outcome.statuses() == {"tests/test_slow.py": "PASS"}
    assert len(outcome.of_kind("file-slow")) == 1
    assert len([line for line in outcome.lines if "tests/test_slow.py: still running after" in line]) == 1


def test_a_pytest_file_that_hangs_is_ended_too(project: Project) -> None:
    project.write(
        {"tests/test_hangs.py": "import time\ndef test_quick(): pass\ndef test_slow(): time.sleep(600)\n"}
    )
    outcome = project.run("--timeout", "3s", env={"VIRTUAL_ENV": str(PYTEST_ENVIRONMENT)})
    ended = outcome.final("tests/test_hangs.py")
    assert (ended.status, ended.runner) == ("TIMEOUT", "pytest")
    assert [case.case_id for case in ended.cases] == ["tests/test_hangs.py::test_quick"]
    assert " in test_slow" in ended.stacks
