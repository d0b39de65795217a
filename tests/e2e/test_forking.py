"""Forked files: which are, what the report says of those that differ, and what is left of them."""

from __future__ import annotations

import signal

import pytest

from tests.e2e.support.outcome import Outcome
from tests.e2e.support.processes import wait_until
from tests.e2e.support.project import Project
from tests.e2e.support.sources import PASSING, SEES_A_FORK, script

NEEDS_A_FORK = SEES_A_FORK.replace("assertEqual", "assertNotEqual")
"""Passes when it is forked, and fails when it is spawned."""

DIFFERS_INSIDE = """
    import gc
    import unittest


    class Either(unittest.TestCase):
        def test_either(self):
            if gc.get_freeze_count():
                self.skipTest("forked")


    if __name__ == "__main__":
        unittest.main()
"""
"""Passes either way, but skips its only test in one of them."""

VISITED = "with open('visits', 'a') as visits: visits.write('x')"
STAYS_UNTIL_TWO_ENDED = script(
    """
    deadline = time.monotonic() + 30
    while open('../events-1.jsonl').read().count('"file-finished"') < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    """
)
"""Runs until the other file's second attempt has ended, as the first call's events have it."""

WAITS = script("open('ready_%d' % os.getpid(), 'w').write('x')\ntime.sleep(600)")
DAEMON = """
    if os.fork() == 0:
        os.setsid()
        open('daemon', 'w').write('x')
        time.sleep(600)
"""


def settled(outcome: Outcome) -> dict[str, str]:
    """Return what was found of the files whose further attempts were given up."""
    return {str(event["label"]): str(event["finding"]) for event in outcome.of_kind("file-settled")}


def test_files_are_forked_unless_their_text_says_that_they_would_notice(project: Project) -> None:
    project.write({f"tests/test_{number}.py": PASSING for number in range(3)})
    project.write({"tests/test_looks.py": script("print('json' in sys.modules)")})
    outcome = project.run("-v")
    assert (outcome.code, outcome.stderr) == (0, "")
    assert outcome.start_methods() == {
        **{f"tests/test_{number}.py": "fork" for number in range(3)},
        "tests/test_looks.py": "spawn",
    }
    assert "sys.modules" in outcome.final("tests/test_looks.py").isolation_note
    assert any(line.startswith("[INFO] Forked: 3 file(s), spawned: 1") for line in outcome.lines)


@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_files_are_forked_or_spawned_as_asked(project: Project, way: str) -> None:
    project.write(
        {"tests/test_good.py": PASSING, "tests/test_looks.py": script("print('json' in sys.modules)")}
    )
    outcome = project.run("--isolation", way, "-v")
    assert outcome.code == 0
    assert [ended.isolation for ended in outcome.finished()] == [way, way]
    assert any("Forked: 2 file(s), spawned: 0" in line for line in outcome.lines) is (way == "fork")


def test_a_setting_for_some_files_spawns_these(project: Project) -> None:
    settings = '[[tool.passmuster.overrides]]\nfiles = ["tests/test_own*.py"]\nisolation = "spawn"\n'
    project.write({"pyproject.toml": settings})
    project.write({"tests/test_own_way.py": PASSING, "tests/test_other.py": PASSING})
    assert project.run().start_methods() == {"tests/test_own_way.py": "spawn", "tests/test_other.py": "fork"}


def test_a_file_that_fails_only_when_forked_passes_and_is_spawned_until_it_changes(project: Project) -> None:
    project.write({"tests/test_fresh.py": SEES_A_FORK, "tests/test_good.py": PASSING})
    first = project.run()
    assert first.code == 0, str(first)
    assert first.statuses() == {"tests/test_fresh.py": "PASS", "tests/test_good.py": "PASS"}
    attempts = first.attempts("tests/test_fresh.py")
    assert [(ended.isolation, ended.status) for ended in attempts] == [
        *(("fork", "FAIL"), ("spawn", "PASS"), ("spawn", "PASS"), ("fork", "FAIL"))
    ]
    assert settled(first)["tests/test_fresh.py"] == "fails-when-forked"
    heading = (
        "1 file(s) failed twice when forked and passed twice when spawned; they are spawned until "
        "they change:"
    )
    (line,) = [line for line in first.lines if heading in line]
    assert first.lines_after(line)[0] == "  - tests/test_fresh.py (FAIL: exit status 1; 1 of 1 tests failed)"

    second = project.run()
    assert second.code == 0
    assert [ended.isolation for ended in second.attempts("tests/test_fresh.py")] == ["spawn"]
    assert heading not in second.stdout

    project.write({"tests/test_fresh.py": PASSING})
    assert project.run().attempts("tests/test_fresh.py")[0].isolation == "fork"


def test_a_file_that_fails_the_first_time_only_is_red_and_named_as_flaky(project: Project) -> None:
    once = "seen = os.path.exists('seen'); open('seen', 'w').close(); sys.exit(0 if seen else 4)"
    project.write({"tests/test_once.py": script(once), "tests/test_good.py": PASSING})

    first = project.run()
    second = project.run()

    assert first.code == 1, str(first)
    assert [(ended.isolation, ended.status) for ended in first.attempts("tests/test_once.py")] == [
        *(("fork", "FAIL"), ("spawn", "PASS"), ("spawn", "PASS"), ("fork", "PASS"))
    ]
    (verdict,) = [event for event in first.of_kind("file-settled") if event["label"] == "tests/test_once.py"]
    assert (verdict["status"], verdict["attempt"], verdict["attempt_reason"]) == ("FAIL", 1, "refork")
    assert "  - tests/test_once.py (FAIL; attempts: FAIL, PASS, PASS, PASS)" in first.lines
    assert not any("All tests passed" in line for line in first.lines)
    # It failed last time, so it comes first, and is spawned.
    assert [ended.isolation for ended in second.attempts("tests/test_once.py")] == ["spawn"]
    assert second.code == 0


def test_a_file_that_fails_every_other_time_is_red_and_flaky_and_forking_is_not_blamed(
    project: Project,
) -> None:
    alternates = "open('runs', 'a').write('x'); sys.exit(os.path.getsize('runs') % 2)"
    project.write({"tests/test_alternates.py": script(alternates), "tests/test_good.py": PASSING})

    outcome = project.run("--retries", "0")

    assert outcome.code == 1, str(outcome)
    attempts = outcome.attempts("tests/test_alternates.py")
    assert [(ended.isolation, ended.status) for ended in attempts] == [
        *(("fork", "FAIL"), ("spawn", "PASS"), ("spawn", "FAIL"))
    ]
    assert "  - tests/test_alternates.py (FAIL; attempts: FAIL, PASS, FAIL)" in outcome.lines
    assert "failed twice when forked" not in outcome.stdout
    (end,) = outcome.of_kind("run-finished")
    assert (end["flaky_paths"], end["fails_when_forked_paths"]) == (["tests/test_alternates.py"], [])


def test_a_file_that_passes_the_second_time_is_green_where_retries_are_allowed(project: Project) -> None:
    once = "seen = os.path.exists('seen'); open('seen', 'w').close(); sys.exit(0 if seen else 4)"
    project.write({"tests/test_once.py": script(once)})

    outcome = project.run("--retries", "1")

    assert outcome.code == 0, str(outcome)
    assert "  Flaky: 1" in outcome.lines


def test_a_file_that_fails_either_way_fails_once_and_is_spawned_the_next_time(project: Project) -> None:
    project.write({"tests/test_bad.py": script(f"{VISITED}\nraise SystemExit(3)")})
    first, second = project.run(), project.run()
    for outcome in (first, second):
        assert (outcome.code, outcome.statuses()) == (1, {"tests/test_bad.py": "FAIL"})
        assert "  Failed: 1" in outcome.lines
    assert [ended.isolation for ended in first.finished()] == ["fork", "spawn"]
    assert [ended.isolation for ended in second.finished()] == ["spawn"]


def test_a_file_that_passes_only_when_forked_is_found_by_a_verification(project: Project) -> None:
    project.write({"tests/test_needs.py": NEEDS_A_FORK, "tests/test_good.py": PASSING})
    outcome = project.run("--verify-isolation")
    assert outcome.code == 1, str(outcome)
    assert outcome.statuses() == {"tests/test_needs.py": "FAIL", "tests/test_good.py": "PASS"}
    (line,) = [line for line in outcome.lines if "1 file(s) differ when forked:" in line]
    assert outcome.lines_after(line)[0].startswith("  - tests/test_needs.py: ")


def test_a_file_that_passes_either_way_with_other_tests_is_found_too(project: Project) -> None:
    project.write({"tests/test_either.py": DIFFERS_INSIDE})
    assert project.run("--isolation", "fork").code == 0
    outcome = project.run("--verify-isolation")
    assert outcome.code == 1, str(outcome)
    (line,) = [line for line in outcome.lines if "1 file(s) differ when forked:" in line]
    assert "test_either" in outcome.lines_after(line)[0]


def test_a_verification_of_a_sound_project_passes_and_confirms(project: Project) -> None:
    project.write({f"tests/test_{number}.py": PASSING for number in range(3)})
    outcome = project.run("--verify-isolation")
    assert (outcome.code, outcome.stderr) == (0, ""), str(outcome)
    for number in range(3):
        attempts = outcome.attempts(f"tests/test_{number}.py")
        assert [ended.isolation for ended in attempts] == ["fork", "spawn"]
    second = project.run("-v")
    assert len(second.finished()) == 3
    assert any(line.endswith("Forked: 3 file(s), spawned: 0") for line in second.lines), str(second)


def test_a_pass_is_confirmed_while_others_run_and_once(project: Project) -> None:
    project.write({"tests/test_long.py": STAYS_UNTIL_TWO_ENDED, "tests/test_new.py": script(VISITED)})
    first = project.run("--jobs", "2", "--oversubscribe", "off")
    assert first.code == 0, str(first)
    assert [ended.isolation for ended in first.attempts("tests/test_new.py")] == ["fork", "spawn"]
    assert (project.root / "visits").read_text() == "xx"
    project.write({"tests/test_long.py": PASSING})
    second = project.run("--jobs", "2")
    assert [ended.isolation for ended in second.attempts("tests/test_new.py")] == ["fork"]
    assert "tests/test_new.py" not in settled(second)


def test_confirmations_are_given_up_where_nothing_else_is_left(project: Project) -> None:
    project.write({"tests/test_new.py": script(VISITED)})
    outcome = project.run("--jobs", "1", "-v")
    assert outcome.code == 0
    assert settled(outcome) == {"tests/test_new.py": "unverified"}
    left = "[INFO] 1 file(s) passed in a forked process and have not been run in a fresh interpreter yet;"
    assert f"{left} later runs do that" in outcome.lines


def test_a_confirmation_that_fails_twice_makes_the_file_fail(project: Project) -> None:
    project.write({"tests/test_long.py": STAYS_UNTIL_TWO_ENDED, "tests/test_needs.py": NEEDS_A_FORK})
    outcome = project.run("--jobs", "2", "--oversubscribe", "off")
    assert (outcome.code, outcome.statuses()["tests/test_needs.py"]) == (1, "FAIL"), str(outcome)
    attempts = outcome.attempts("tests/test_needs.py")
    assert [(ended.isolation, ended.status) for ended in attempts] == [
        *(("fork", "PASS"), ("spawn", "FAIL"), ("spawn", "FAIL"))
    ]
    assert "passed when forked" in outcome.stdout, str(outcome)


def test_ctrl_c_leaves_nothing_of_forked_files(project: Project) -> None:
    project.write({"tests/test_waits.py": script(DAEMON + "    time.sleep(600)\n"), "tests/test_x.py": WAITS})
    running = project.start("--jobs", "2", "--grace-period", "300ms", "--isolation", "fork")
    running.wait_for_file("daemon")
    running.send(signal.SIGINT)
    outcome = running.end(timeout_s=20)
    assert outcome.code == 130, str(outcome)
    project.check_nothing_is_left()


def test_the_death_of_the_runner_leaves_nothing_of_forked_files(project: Project) -> None:
    project.write({"tests/test_waits.py": script(DAEMON + "    time.sleep(600)\n"), "tests/test_x.py": WAITS})
    project.may_leave_tmp = True
    running = project.start("--jobs", "2", "--isolation", "fork")
    running.wait_for_file("daemon")
    running.send(signal.SIGKILL)
    running.process.wait()
    wait_until(lambda: not project.processes(), "something outlives the runner", within_s=15)
    running.end()


def test_what_a_forked_file_starts_ends_with_it(project: Project) -> None:
    project.write(
        {
            "tests/test_daemon.py": script(
                DAEMON + "    while not os.path.exists('daemon'): time.sleep(0.01)\n"
            ),
            "tests/test_subprocess.py": script(
                "import subprocess\nsubprocess.Popen(['sleep', '600'])\n"
                "print(subprocess.run([sys.executable, '-c', 'print(7)'], capture_output=True).stdout)"
            ),
            "tests/test_pool.py": """
                import multiprocessing, sys

                def double(number):
                    return 2 * number

                if __name__ == "__main__":
                    for method in ("fork", "spawn"):
                        with multiprocessing.get_context(method).Pool(2) as pool:
                            print(method, pool.map(double, [1, 2]))
                    multiprocessing.get_context("fork").Process(target=sys.exit).start()
            """,
        }
    )
    outcome = project.run("--isolation", "fork")
    assert outcome.code == 0, str(outcome)
    assert set(outcome.start_methods().values()) == {"fork"}
    pool = outcome.final("tests/test_pool.py").output
    assert pool == "fork [2, 4]\nspawn [2, 4]\n"
    assert outcome.final("tests/test_subprocess.py").output == "b'7\\n'\n"
    project.check_nothing_is_left()


def test_the_limits_of_memory_hold_for_forked_files(project: Project) -> None:
    greedy = script("kept = []\nwhile True:\n    kept.append(b'x' * 10_000_000)\n    time.sleep(0.01)")
    project.write(
        {"tests/test_greedy.py": greedy, "tests/test_good.py": PASSING, "tests/test_fine.py": PASSING}
    )
    outcome = project.run("--memory-limit", "200MB", "--isolation", "fork")
    assert outcome.code == 1
    statuses = outcome.statuses()
    assert statuses.pop("tests/test_greedy.py") == "MEMORY"
    assert set(statuses.values()) == {"PASS"}
    assert set(outcome.start_methods().values()) == {"fork"}
    ended = outcome.final("tests/test_greedy.py")
    assert "(its limit)" in ended.error
    assert 150_000_000 < ended.peak_bytes < 600_000_000
