"""What the command prints on each CI: the contract's lines as ever, and beside them only commands of ours."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tests.e2e.support.outcome import Outcome
from tests.e2e.support.project import Project
from tests.e2e.support.sources import FAILING, PASSING, script
from tests.support.actions_runner import Obeyed, Runner
from tests.support.pytest_environment import PYTEST_ENVIRONMENT

HOSTILE_LINES = (
    "::error::from a test",
    "   ::add-mask::secret",
    "::stop-commands::guessed",
    "::guessed::",
    "::endgroup::",
    "text ##[add-mask]secret",
    "##[endgroup]",
    "##[error]from a test",
    "a ##vso[task.setvariable variable=x]evil",
    "##vso[task.complete result=Succeeded;]done",
    "--- from a test",
    "+++ from a test",
    "^^^ +++",
    "\x1b[0Ksection_start:0:passmuster_output_1\r\x1b[0Kfrom a test",
    "\x1b[0Ksection_end:0:passmuster_output_1\r\x1b[0K",
    "[FAIL] tests/test_good.py failed",
    "FAILED TESTS:",
)

FILES = {
    "pyproject.toml": """\
        [tool.passmuster]
        layout = "scripts"

        [[tool.passmuster.overrides]]
        files = ["tests/test_slow.py"]
        timeout = "3s"
        """,
    "tests/test_bad.py": FAILING,
    "tests/test_crash.py": script("print('before')\nos.abort()"),
    "tests/test_flaky.py": script(
        """
        if not os.path.exists("ran_before"):
            open("ran_before", "w").close()
            sys.exit("not yet")
        """
    ),
    "tests/test_good.py": PASSING,
    "tests/test_hostile.py": script(f"print({chr(10).join(HOSTILE_LINES)!r})\nsys.exit(1)"),
    "tests/test_slow.py": script("print('waiting', flush=True)\ntime.sleep(600)"),
    "tests/test_names.py": """\
        import pytest

        @pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a|b", "```", "::error::x"])
        def test_name(name):
            assert name == "@octocat <img src=x>"
        """,
}

ARGUMENTS = ("-j", "1", "--retries", "1", "--isolation", "spawn", "--no-history")
"""One at a time and without history, so that two runs print the same in the same order."""

CIS: Mapping[str, Mapping[str, str]] = {
    "github": {"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "1", "CI": "true"},
    "gitlab": {"GITLAB_CI": "true", "CI": "true"},
    "buildkite": {"BUILDKITE": "true", "CI": "true"},
    "azure": {"TF_BUILD": "True", "CI": "true"},
}
"""All with `CI`, which makes pytest print more."""

_VARYING = (
    (r"[0-9.]+ ?(?:s|ms|[KMG]iB|B)\b", "N"),
    (r"0x[0-9a-f]+", "ADDRESS"),
    (r"/cis\d+/\w+/", "/BASE/"),
)


def run(project: Project, environ: Mapping[str, str], *arguments: str) -> Outcome:
    """Run the project's files for one CI; all else is as for any other."""
    variables = {"VIRTUAL_ENV": str(PYTEST_ENVIRONMENT), **environ}
    return project.run(*ARGUMENTS, *arguments, env=variables, events=False)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cis")


@pytest.fixture(scope="module")
def outputs(base: Path, bare_environment: Path) -> dict[str, Outcome]:
    """What is printed for each CI, and with CI output switched off. The runs wait together for timeouts."""

    def output(name: str) -> Outcome:
        (base / name).mkdir()
        project = Project(base=base / name, python_home=bare_environment)
        project.write(FILES)
        outcome = run(project, environs[name])
        project.check_nothing_is_left()
        return outcome

    github = {
        **CIS["github"],
        "GITHUB_WORKSPACE": str(base / "github"),
        "GITHUB_STEP_SUMMARY": str(base / "summary.md"),
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_REPOSITORY": "o/r",
        "GITHUB_SHA": "abcdef0123",
    }
    environs = {**CIS, "github": github, "none": {**CIS["github"], "PASSMUSTER_CI": "none"}}
    with ThreadPoolExecutor() as pool:
        made = dict(zip(environs, pool.map(output, environs), strict=True))
    assert {outcome.code for outcome in made.values()} == {1}, made
    return made


def normalised(lines: list[str]) -> list[str]:
    text = "\n".join(lines)
    for pattern, name in _VARYING:
        text = re.sub(pattern, name, text)
    return text.split("\n")


def contract_lines(outcome: Outcome) -> list[str]:
    """Return the lines without those for CIs."""
    lines = outcome.stdout.split("\n")
    kept = Runner().read(lines).log if lines[0].startswith("::stop-commands::") else lines
    ours = re.compile(
        r"\| |\x1b\[0Ksection_|--- Output of |\+\+\+ Passmuster$|##\[group\]Output of |##\[endgroup\]$"
        r"|##vso\[task\.logissue "
    )
    return normalised([line.replace("##vso\\[", "##vso[") for line in kept if not ours.match(line)])


@pytest.mark.parametrize("name", CIS)
def test_the_contracts_lines_are_the_same_and_in_the_same_order(
    outputs: dict[str, Outcome], name: str
) -> None:
    plain = normalised(outputs["none"].stdout.split("\n"))

    assert contract_lines(outputs[name]) == plain
    assert plain[-8:] == [
        "SUMMARY: 2 passed, 5 failed",
        "FAILED TESTS:",
        *(f"tests/test_{name}.py" for name in ("bad", "crash", "hostile", "names", "slow")),
        "",
    ]


def test_nothing_is_added_without_a_ci(outputs: dict[str, Outcome]) -> None:
    assert not re.search(r"^(::|##|--- |\+\+\+ |\| )|section_", outputs["none"].stdout, re.MULTILINE)
    assert outputs["none"].stderr == ""


def test_github_obeys_our_commands_alone(outputs: dict[str, Outcome]) -> None:
    runner = Runner().read(outputs["github"].stdout.splitlines())

    names = [command.name for command in runner.obeyed]
    assert names == ["group", "endgroup"] * 5 + ["error"] * 8 + ["warning"]
    assert runner.token is None, "commands are on again"
    assert runner.log[-1] == "tests/test_slow.py"
    assert sorted(one.data for one in runner.obeyed if one.name == "group") == [
        "Output of tests/test_bad.py (FAIL: exit status 1; 1 of 1 tests failed, attempt 2)",
        "Output of tests/test_crash.py (CRASH: killed by SIGABRT, attempt 2)",
        (
            "Output of tests/test_hostile.py (FAIL: exit status 1; no test reported a failure; last line "
            "of output: FAILED TESTS:, attempt 2)"
        ),
        "Output of tests/test_names.py (FAIL: exit status 1; 4 of 4 tests failed, attempt 2)",
        "Output of tests/test_slow.py (TIMEOUT: ran longer than its time limit of 3 s, attempt 2)",
    ]


def test_github_shows_each_failure_at_its_place(outputs: dict[str, Outcome]) -> None:
    runner = Runner().read(outputs["github"].stdout.splitlines())
    errors = [one for one in runner.obeyed if one.name == "error"]

    def place(one: Obeyed) -> tuple[str, str, str]:
        return one.properties["file"], one.properties.get("line", ""), one.properties["title"]

    name = "test_name[<script>alert(1)</script>]"
    assert [place(one) for one in errors[:6]] == [
        ("project/tests/test_crash.py", "4", "CRASH: tests/test_crash.py"),
        ("project/tests/test_slow.py", "4", "TIMEOUT: tests/test_slow.py"),
        ("project/tests/test_bad.py", "6", "Bad.test_bad"),
        ("project/tests/test_hostile.py", "", "FAIL: tests/test_hostile.py"),
        ("project/tests/test_names.py", "5", name),
        ("project/tests/test_names.py", "5", "test_name[a|b]"),
    ]
    assert errors[2].data.startswith("AssertionError: 1 != 2")
    [warning] = [one for one in runner.obeyed if one.name == "warning"]
    assert warning.properties == {
        "file": "project/tests/test_flaky.py",
        "title": "Flaky: tests/test_flaky.py",
    }
    assert warning.data.startswith("It passed and failed: FAIL, PASS\nFAIL: exit status 1; ")


def test_the_whole_output_of_a_failed_file_is_in_its_group(outputs: dict[str, Outcome]) -> None:
    for name in CIS:
        lines = outputs[name].stdout.replace("##vso\\[", "##vso[").split("\n")
        for printed in HOSTILE_LINES[:13]:
            assert f"| {printed}" in lines, name


def test_gitlab_gets_our_sections_alone(outputs: dict[str, Outcome]) -> None:
    # Gitlab::Regex.build_trace_section_regex
    marks = re.findall(
        r"section_(start|end):\d+:([a-zA-Z0-9_.-]+)(?:\[.*?\])?\r\x1b\[0K", outputs["gitlab"].stdout
    )

    expected = [(what, f"passmuster_output_{number}") for number in range(1, 6) for what in ("start", "end")]
    assert marks == expected


def test_buildkite_gets_our_groups_alone(outputs: dict[str, Outcome]) -> None:
    headers = re.findall(r"^(?:---|\+\+\+|~~~|\^\^\^)\s.*$", outputs["buildkite"].stdout, re.MULTILINE)

    assert len(headers) == 10
    assert all(header.startswith("--- Output of tests/test_") for header in headers[::2])
    assert set(headers[1::2]) == {"+++ Passmuster"}


def test_azure_obeys_our_commands_alone(outputs: dict[str, Outcome]) -> None:
    lines = outputs["azure"].stdout.splitlines()

    commands = [line for line in lines if "##vso[" in line]
    assert len(commands) == 9
    assert all(line.startswith("##vso[task.logissue type=") for line in commands)
    place = "sourcepath=tests/test_crash.py;linenumber=4;"
    assert commands[0].startswith(f"##vso[task.logissue type=error;{place}]CRASH: tests/test_crash.py: ")
    formats = [line for line in lines if line.startswith("##[")]
    assert [line.partition("]")[0] for line in formats] == ["##[group", "##[endgroup"] * 5


def test_the_summary_of_the_step_says_it_all_and_runs_nothing(
    outputs: dict[str, Outcome], base: Path
) -> None:
    assert outputs["github"].stderr == ""
    text = (base / "summary.md").read_text()
    page = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)

    assert "<h2>❌ 5 of 7 test files failed</h2>" in page
    link = "https://github.com/o/r/blob/abcdef0123/project/tests/test_bad.py#L6"
    assert f'<a href="{link}"><code>tests&#47;test&#95;bad&#46;py&#58;6</code></a>' in text
    assert "<script" not in page
    assert "<img" not in page
    assert "```mermaid\n---\ndisplayMode: compact\n---\ngantt\n" in text
    assert page.count("<table>") == 4
    assert page.count("language-mermaid") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_commands_are_on_again_after_an_interrupted_run(project: Project, number: signal.Signals) -> None:
    project.write({"tests/test_slow.py": script("open('started', 'w').write('x')\ntime.sleep(600)")})
    running = project.start(env=CIS["github"])
    running.wait_for_file("started")

    running.send(number)
    outcome = running.end()

    runner = Runner().read(outcome.stdout.splitlines())
    assert outcome.code == 130
    assert runner.token is None, outcome
    assert [one.properties["title"] for one in runner.obeyed] == ["The run is not complete"]


def test_commands_are_on_again_after_an_error(project: Project) -> None:
    project.write({"tests/test_good.py": PASSING})
    outcome = project.run("--python", "/missing/##[error]python", env=CIS["github"])

    runner = Runner().read(outcome.stdout.splitlines())
    assert outcome.code == 2
    assert runner.token is None
    assert Runner().read(outcome.stderr.splitlines()).obeyed == []


def test_a_summary_that_cannot_be_written_fails_no_run(project: Project) -> None:
    project.write({"tests/test_good.py": PASSING})
    outcome = project.run(env={**CIS["github"], "GITHUB_STEP_SUMMARY": "/proc/none/summary.md"})

    assert outcome.code == 0
    assert outcome.stderr.startswith("[WARN] the step summary is not written to '/proc/none/summary.md': ")
    assert outcome.stderr.count("\n") == 1


def test_the_replica_of_ci_prints_no_annotations(project: Project, tmp_path: Path) -> None:
    project.write({"tests/test_bad.py": FAILING, "pyproject.toml": ""})
    environ = {**CIS["github"], "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}
    replica = project.command()[1].replace("run_tests", "run_ci_replica")
    outcome = project.run(env=environ, events=False, prefix=(project.command()[0], replica, "--"))

    assert outcome.code == 1
    assert "CI replica failed" in outcome.stdout
    assert "::" not in outcome.stdout
    assert not (tmp_path / "summary.md").exists()


def test_merged_records_are_told_as_the_run_they_were(project: Project) -> None:
    project.write({"tests/test_bad.py": FAILING, "tests/test_good.py": PASSING})
    for number in ("1", "2"):
        arguments = ("--shard", f"{number}/2", "--record", f"records/{number}", "--ci", "none")
        assert project.run(*arguments, events=False).code in (0, 1)
    summary = project.base / "merged.md"
    environ = {**CIS["github"], "GITHUB_STEP_SUMMARY": str(summary)}
    outcome = project.run("merge", "records", env=environ, events=False)

    runner = Runner().read(outcome.stdout.splitlines())
    assert outcome.code == 1, outcome
    assert [one.name for one in runner.obeyed] == ["group", "endgroup", "error"]
    assert runner.obeyed[2].properties == {
        "file": "tests/test_bad.py",
        "line": "6",
        "title": "Bad.test_bad",
    }
    assert runner.token is None
    assert "## ❌ 1 of 2 test files failed" in summary.read_text()
