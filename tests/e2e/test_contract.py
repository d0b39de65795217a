"""The contract of the shell scripts, whole: what is printed, letter by letter, and the exit status."""

from __future__ import annotations

import re

import pytest

from tests.e2e.support.outcome import Outcome
from tests.e2e.support.project import Project
from tests.e2e.support.sources import FAILING, PASSING, script

RULE = "-" * 40


def normalised(text: str) -> str:
    """Return output without what differs from machine to machine and run to run: times, sizes, places."""
    text = re.sub(r"\(\d+ CPUs \([^)]*\), [^)]*\)\)", "(MACHINE)", text)
    text = re.sub(r"memory budget [^()]* \([^)]*\)", "memory budget BUDGET", text)
    text = re.sub(
        r"in [0-9.ms ]+s, peak memory [0-9.]+ [KMG]iB of [0-9.]+ [KMG]iB", "in TIME, peak MEMORY", text
    )
    text = re.sub(
        r"(\[INFO\] CPU time: )[0-9.ms ]+s in tests, [0-9.ms ]+s in", r"\1TIME in tests, TIME in", text
    )
    # Whether forked passes were confirmed already depends on how long the run takes.
    text = re.sub(r"\[INFO\] \d+ file\(s\) passed (when|in a) forked.*\n", "", text)
    text = re.sub(r"Run it again: \S*/run_tests\.py", "Run it again: run_tests.py", text)
    text = re.sub(r'File "/[^"]*/(project/[^"]*)"', r'File "\1"', text)
    return re.sub(r"Ran (\d+) tests? in [0-9.]+s", r"Ran \1 in TIME", text)


def in_any_order(text: str) -> list[str]:
    """Return the lines of the running part sorted (files run side by side), all others in their order."""
    lines = text.splitlines()
    end = next(number for number, line in enumerate(lines) if "Test Summary" in line)
    start = next(number for number, line in enumerate(lines) if "Workers:" in line) + 1
    return [*lines[:start], *sorted(lines[start:end]), *lines[end:]]


def test_a_run_in_which_all_pass(project: Project) -> None:
    project.write({"tests/test_b.py": PASSING, "tests/sub/test_a.py": PASSING})
    outcome = project.run("--jobs", "1")
    assert (outcome.code, outcome.stderr) == (0, "")
    assert normalised(outcome.stdout) == (
        "[INFO] Found 2 test file(s):\n"
        "  - tests/sub/test_a.py\n"
        "  - tests/test_b.py\n"
        "[INFO] Workers: 1 at once (asked for), memory budget BUDGET\n"
        "[INFO] Running: tests/sub/test_a.py\n"
        "[PASS] tests/sub/test_a.py completed successfully\n"
        f"{RULE}\n"
        "[INFO] Running: tests/test_b.py\n"
        "[PASS] tests/test_b.py completed successfully\n"
        f"{RULE}\n"
        "[INFO] 🧪 Test Summary:\n"
        "  Total tests: 2\n"
        "  Passed: 2\n"
        "  Failed: 0\n"
        "  Test cases: passed 2\n"
        "[INFO] 2/2 files passed, success rate 100.0%, in TIME, peak MEMORY\n"
        "[INFO] CPU time: TIME in tests, TIME in Passmuster\n"
        "[PASS] All tests passed! 🎉\n"
    )


def test_a_run_in_which_some_fail(project: Project) -> None:
    long = script("for number in range(1, 13):\n    print(f'line {number}')\nsys.exit(1)")
    project.write({"tests/test_good.py": PASSING, "tests/test_long.py": long, "tests/test_bad.py": FAILING})
    outcome = project.run()
    assert (outcome.code, outcome.stderr) == (1, "")
    assert in_any_order(normalised(outcome.stdout)) == [
        "[INFO] Found 3 test file(s):",
        "  - tests/test_bad.py",
        "  - tests/test_good.py",
        "  - tests/test_long.py",
        in_any_order(normalised(outcome.stdout))[4],
        *[RULE] * 3,
        "[FAIL] tests/test_bad.py failed",
        "[FAIL] tests/test_long.py failed",
        "[INFO] Running: tests/test_bad.py",
        "[INFO] Running: tests/test_good.py",
        "[INFO] Running: tests/test_long.py",
        "[PASS] tests/test_good.py completed successfully",
        (
            "[WARN] tests/test_bad.py: FAIL: exit status 1; 1 of 1 tests failed; it was forked "
            "and will rerun spawned"
        ),
        (
            "[WARN] tests/test_long.py: FAIL: exit status 1; no test reported a failure; last line of "
            "output: line 12; it was forked and will rerun spawned"
        ),
        "[INFO] 🧪 Test Summary:",
        "  Total tests: 3",
        "  Passed: 1",
        "  Failed: 2",
        "  Test cases: passed 1, failed 1",
        "[INFO] 1/3 files passed, success rate 33.3%, in TIME, peak MEMORY",
        "[INFO] CPU time: TIME in tests, TIME in Passmuster",
        "[WARN] Failed test details:",
        "  - tests/test_bad.py",
        "    Last few lines of output:",
        f"      {'-' * 70}",
        "      Traceback (most recent call last):",
        '        File "project/tests/test_bad.py", line 6, in test_bad',
        "          self.assertEqual(1, 2)",
        "      AssertionError: 1 != 2",
        "      ",
        f"      {'-' * 70}",
        "      Ran 1 in TIME",
        "      ",
        "      FAILED (failures=1)",
        "    Failing tests:",
        "      __main__.Bad.test_bad (tests/test_bad.py:6): AssertionError: 1 != 2",
        "    Run it again: run_tests.py tests/test_bad.py",
        "  - tests/test_long.py",
        "    Last few lines of output:",
        *[f"      line {number}" for number in range(3, 13)],
        "    Status: FAIL: exit status 1; no test reported a failure; last line of output: line 12",
        "    Run it again: run_tests.py tests/test_long.py",
        "[FAIL] 2 test(s) failed",
        "",
        "SUMMARY: 1 passed, 2 failed",
        "FAILED TESTS:",
        "tests/test_bad.py",
        "tests/test_long.py",
    ]


def test_colours_cover_the_tag_alone(project: Project) -> None:
    project.write({"tests/test_good.py": PASSING, "tests/test_bad.py": FAILING})
    plain = project.run("--no-history", "--jobs", "1")
    outcome = project.run("--color", "always", "--strange", "--no-history", "--jobs", "1")
    tags = set(re.findall(r"\x1b\[[0-9;]*m\[[A-Z]+\]\x1b\[0m", outcome.stdout))
    assert tags == {
        "\x1b[34m[INFO]\x1b[0m",
        "\x1b[32m[PASS]\x1b[0m",
        "\x1b[31m[FAIL]\x1b[0m",
        "\x1b[1;33m[WARN]\x1b[0m",
    }
    without = re.sub(r"\x1b\[[0-9;]*m", "", outcome.stdout)
    words = "run_tests.py --color always --no-history --jobs 1 "
    assert normalised(without).replace(words, "run_tests.py --no-history --jobs 1 ") == normalised(
        plain.stdout
    )
    assert outcome.stderr == "\x1b[1;33m[WARN]\x1b[0m Unknown argument: --strange\n"


@pytest.mark.parametrize("variable", ["", "1", "always"])
def test_a_pipe_is_not_coloured_whatever_no_color_says(project: Project, variable: str) -> None:
    project.write({"tests/test_good.py": PASSING})
    outcome = project.run(env={"NO_COLOR": variable, "TERM": "xterm-256color"})
    assert "\x1b" not in outcome.stdout


@pytest.mark.parametrize(
    ("arguments", "line"),
    [((), "[WARN] No unit test files found\n"), (("--integration",), "[WARN] No test files found\n")],
)
def test_nothing_found_is_a_warning_and_no_failure(
    project: Project, arguments: tuple[str, ...], line: str
) -> None:
    project.write({"mvp_site/main.py": "", "tests/test_elsewhere.txt": ""})
    outcome = project.run(*arguments)
    assert (outcome.code, outcome.stdout, outcome.stderr) == (0, line, "")
    assert not (project.root / ".passmuster").exists()


def test_unknown_arguments_are_warned_of_and_ignored(project: Project) -> None:
    project.write({"tests/test_good.py": PASSING})
    outcome = project.run("--frobnicate", "tests/test_good.py", "--with=value", "-Z")
    assert outcome.code == 0
    assert outcome.statuses() == {"tests/test_good.py": "PASS"}
    assert outcome.stderr == (
        "[WARN] Unknown argument: --frobnicate\n"
        "[WARN] Unknown argument: --with=value\n"
        "[WARN] Unknown argument: -Z\n"
    )


def test_unknown_arguments_are_errors_when_the_user_wants_that(project: Project) -> None:
    project.write({"tests/test_good.py": PASSING})
    outcome = project.run("--frobnicate", "--strict-args")
    assert (outcome.code, outcome.stdout) == (2, "")
    assert outcome.stderr == ("[FAIL] unknown argument: --frobnicate (--strict-args is on); see --help\n")


def test_words_of_later_scripts_are_accepted_silently(project: Project) -> None:
    project.write({"tests/test_good.py": PASSING})
    outcome = project.run("--unit", "--parallel", "--full")
    assert (outcome.code, outcome.stderr) == (0, "")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "true mock"),
        ({"TEST_MODE": "real"}, "true real"),
        ({"TESTING": "no"}, "true mock"),
        ({"TEST_MODE": ""}, "true "),
    ],
    ids=str,
)
def test_files_see_the_environment_of_the_scripts(
    project: Project, given: dict[str, str | None], expected: str
) -> None:
    project.write(
        {
            "tests/test_a.py": script(
                "print(os.environ['TESTING'], os.environ['TEST_MODE'], os.environ['MINE'])"
            )
        }
    )
    outcome = project.run(env={"MINE": "mine", **given})
    assert outcome.final("tests/test_a.py").output == f"{expected} mine\n"


def test_stdout_and_stderr_are_one_stream_in_order(project: Project) -> None:
    project.write(
        {
            "tests/test_a.py": script(
                "for n in range(4):\n    os.write(1 + n % 2, f'{n}\\n'.encode())\nsys.exit(1)"
            )
        }
    )
    outcome = project.run()
    assert outcome.final("tests/test_a.py").output == "0\n1\n2\n3\n"


def tags_of(outcome: Outcome) -> list[str]:
    return [line for line in outcome.lines if line.startswith("[")]


def test_quiet_prints_failures_and_the_summary_only(project: Project) -> None:
    project.write({"tests/test_good.py": PASSING, "tests/test_bad.py": FAILING})
    outcome = project.run("-q")
    assert outcome.lines[:5] == [
        "[FAIL] tests/test_bad.py failed",
        "[INFO] 🧪 Test Summary:",
        "  Total tests: 2",
        "  Passed: 1",
        "  Failed: 1",
    ]
    assert outcome.lines[-3:] == ["SUMMARY: 1 passed, 1 failed", "FAILED TESTS:", "tests/test_bad.py"]


def test_verbose_adds_outputs_tests_and_the_slowest_files(project: Project) -> None:
    project.write({"tests/test_good.py": PASSING, "tests/test_noise.py": script("print('noise')")})
    outcome = project.run("-v")
    assert outcome.lines_after("[INFO] Output of tests/test_noise.py:")[0] == "      noise"
    (case,) = [line for line in outcome.lines_after("[INFO] Tests in tests/test_good.py:") if "Good" in line]
    assert re.fullmatch(r"      passed 0\.\d+s __main__\.Good\.test_good", case)
    tags = tags_of(outcome)
    assert "[INFO] Slowest files:" in tags
    assert "[INFO] Files with the highest peak memory:" in tags


def test_help_and_version_need_no_project(project: Project) -> None:
    version = project.run("--version", events=False)
    assert (version.code, version.stderr) == (0, "")
    assert re.fullmatch(r"\S*run_tests\.py \d+\.\d+\.\d+\n", version.stdout)
    text = project.run("-xh", "--root", "/nowhere", events=False)
    assert (text.code, text.stderr) == (0, "")
    assert "usage: " in text.stdout
    assert "--memory-budget" in text.stdout
