"""From a workflow the replica takes the job that runs the tests, and names what it cannot replicate."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from dispatcher.replica.choose import choose_job
from dispatcher.replica.node import Node
from dispatcher.replica.reading import read_workflow
from dispatcher.replica.workflow_command import Certainty, Replica, WorkflowCommand
from passmuster.model.errors import ConfigurationError


def chosen(tmp_path: Path, text: str, *, job: str | None = None) -> Replica:
    path = tmp_path / "test.yml"
    path.write_text(text, encoding="utf-8")
    return choose_job(read_workflow(path), workspace="/project", wanted=job)


def of_steps(tmp_path: Path, steps: str, *, before: str = "") -> Replica:
    indented = "".join(f"      {line}\n" for line in steps.strip("\n").splitlines())
    return chosen(
        tmp_path, f"on: push\njobs:\n  test:\n    runs-on: ubuntu-latest\n{before}    steps:\n{indented}"
    )


FULL = """
name: tests
on: [push]
env: {LEVEL: workflow, OVER: workflow, TOKEN: "${{ secrets.TOKEN }}", GITHUB_SHA: mine, PATH: /x}
defaults:
  run:
    working-directory: backend
jobs:
  lint:
    runs-on: ubuntu-latest
    steps: [{run: ruff check run_tests.py}]
  reused:
    uses: ./.github/workflows/other.yml
  test:
    runs-on: ${{ matrix.os }}
    if: github.event_name == 'push'
    continue-on-error: true
    container: {image: "python:${{ matrix.python }}"}
    services:
      redis: {image: "redis:7"}
      other: postgres
    strategy:
      matrix:
        os: [windows-latest, ubuntu-latest]
        python: ["3.10", "3.12"]
    env:
      OVER: job ${{ matrix.python }}
      FROM: ${{ env.LEVEL }}
      PASSMUSTER_BROKER_URL: ${{ env.LEVEL }}
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with: {python-version: "${{ matrix.python }}"}
      - uses: actions/cache@v4
        name: Cache
      - name: Install
        run: pip install -r requirements.txt
      - name: Run the tests of ${{ matrix.python }}
        if: success()
        env: {STEP: "${{ env.OVER }}"}
        run: |
          FOO=bar timeout 900 ./run_tests.py \\
            --shard ${{ strategy.job-index }}/4 --record records --timeout 30s \\
            --jobs $(nproc) "tests/$LEVEL" -q | tee log
      - run: echo afterwards
"""


def test_everything_that_a_job_sets_reaches_the_call(tmp_path: Path) -> None:
    found = chosen(tmp_path, FULL)
    of_step = "of step 'Run the tests of 3.10'"

    assert [(one.step, one.script) for one in found.installation] == [
        ("step 'Install'", "pip install -r requirements.txt")
    ]
    assert structs.replace(found, installation=(), steps=()) == Replica(
        job="test",
        certainty=Certainty.OWN_COMMAND,
        python="3.10",
        matrix="os=ubuntu-latest, python=3.10 (number 3 of 4)",
        commands=(
            WorkflowCommand(
                step="step 'Run the tests of 3.10'",
                arguments=("--timeout", "30s", "tests/workflow", "-q"),
                variables=(
                    ("LEVEL", "workflow"),
                    ("OVER", "job 3.10"),
                    ("FROM", "workflow"),
                    ("STEP", "job 3.10"),
                    ("FOO", "bar"),
                ),
                folder="backend",
            ),
        ),
        differences=(
            "the container python:3.10",
            "the service redis (redis:7)",
            "the service other (postgres)",
            "continue-on-error of the job: here a failure fails the job",
            "the action actions/cache@v4 (Cache)",
            "the variable TOKEN, which is ${{ secrets.TOKEN }}",
            "the variable PATH, which describes CI's machine",
            "step 'Run the tests of 3.10': tee log",
            f"--shard 2/4 --record records {of_step}: here all files run on this machine",
            "--jobs $(nproc) of step 'Run the tests of 3.10', whose value is unknown here",
            "'timeout 900' around the command of step 'Run the tests of 3.10'",
            "'|' around the command of step 'Run the tests of 3.10'",
        ),
    )


def test_a_plain_job_has_nothing_that_is_not_replicated(tmp_path: Path) -> None:
    found = of_steps(tmp_path, "- uses: actions/checkout@v4\n- run: run-tests --integration")

    assert structs.replace(found, steps=()) == Replica(
        job="test",
        certainty=Certainty.OWN_COMMAND,
        commands=(WorkflowCommand(step="step 2", arguments=("--integration",)),),
    )


def test_several_commands_run_in_their_order(tmp_path: Path) -> None:
    found = of_steps(
        tmp_path,
        """
- run: |
    run-tests tests/a
    cd sub
    run-tests
- run: run-tests merge records
- working-directory: ${{ github.workspace }}/other
  run: python run_ci_replica.py --cpus 2
""",
    )

    assert [(call.step, call.arguments, call.folder) for call in found.commands] == [
        ("step 1", ("tests/a",), ""),
        ("step 1", (), "sub"),
        ("step 3", (), "/project/other"),
    ]
    assert found.differences == (
        "step 2: run-tests merge records",
        "--cpus 2 of step 3: pass it to this command",
    )


@pytest.mark.parametrize("version", ["3.12", "'3.12'", "|\n        3.9\n        3.12\n"])
def test_the_python_is_the_one_that_is_set_up_last(tmp_path: Path, version: str) -> None:
    steps = f"- uses: actions/setup-python@v5\n  with:\n    python-version: {version}\n- run: run-tests"

    assert of_steps(tmp_path, steps).python == "3.12"


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ("{python-version: 3.x}", "3.x"),
        ("{python-version: '>=3.9'}", ">=3.9"),
        ("{python-version: pypy3.10}", "pypy3.10"),
        ("{python-version: '${{ needs.a.outputs.python }}'}", "${{ needs.a.outputs.python }}"),
        ("{python-version: '${{ inputs.python }}'}", "none named"),
        ("{python-version-file: .python-version}", ".python-version"),
        ("{}", "none named"),
    ],
)
def test_a_python_that_cannot_be_told_is_named(tmp_path: Path, inputs: str, said: str) -> None:
    found = of_steps(tmp_path, f"- uses: actions/setup-python@v5\n  with: {inputs}\n- run: run-tests")

    assert found.python == ""
    assert found.differences == (f"the choice of Python by setup-python: {said}",)


def test_a_version_without_quotes_is_the_number_that_ci_reads(tmp_path: Path) -> None:
    steps = "- uses: actions/setup-python@v5\n  with: {python-version: 3.10}\n- run: run-tests"

    found = of_steps(tmp_path, steps)

    assert found.python == "3.1"
    assert "must be in quotes" in found.differences[0]


@pytest.mark.parametrize(
    ("runs_on", "is_named"),
    [
        ("ubuntu-24.04", False),
        ("[self-hosted, linux, x64]", False),
        ("{group: large, labels: ubuntu-large}", False),
        ("macos-latest", True),
        ("[self-hosted, windows]", True),
        ("${{ inputs.machine }}", True),
    ],
)
def test_another_system_than_linux_is_named(tmp_path: Path, runs_on: str, *, is_named: bool) -> None:
    found = chosen(tmp_path, f"jobs:\n  test:\n    runs-on: {runs_on}\n    steps: [{{run: run-tests}}]\n")

    assert any("this is Linux" in text for text in found.differences) is is_named


@pytest.mark.parametrize(
    "shell",
    [
        *("bash", "sh", "bash -eo pipefail {0}", "/bin/bash", "${{ inputs.shell }}", "ksh -e {0}"),
        *("mksh {0}", "/usr/bin/env bash {0}", "nix develop --command bash -e {0}", "busybox ash -e {0}"),
        "micromamba-shell {0}",
    ],
)
def test_a_shell_is_read(tmp_path: Path, shell: str) -> None:
    assert of_steps(tmp_path, f"- run: run-tests\n  shell: '{shell}'").commands


@pytest.mark.parametrize("shell", ["python", "python3.12 {0}", "pwsh", "fish {0}", "perl {0}"])
def test_another_language_is_not_read_as_a_shells(tmp_path: Path, shell: str) -> None:
    steps = f"- run: 'run-tests '' x'\n  name: Odd\n  shell: '{shell}'\n- run: run-tests -q"

    found = of_steps(tmp_path, steps)

    assert [call.arguments for call in found.commands] == [("-q",)]
    assert found.differences == (f"step 'Odd' (shell: {shell})",)


@pytest.mark.parametrize("command", ["python -m pytest", "python -mpytest -q", "coverage run -Im pytest"])
def test_a_module_is_one_of_the_programs_that_must_be_installed(tmp_path: Path, command: str) -> None:
    [found] = of_steps(tmp_path, f"- run: {command}").commands

    assert "-m pytest" in found.programs


def test_a_shell_that_an_action_makes_is_bash_here(tmp_path: Path) -> None:
    [found] = of_steps(tmp_path, "- run: pytest\n  shell: micromamba-shell {0}").commands

    assert " ".join(found.shell) == "bash --noprofile --norc -eo pipefail {0}"


def test_values_that_are_no_texts_are_written_as_ci_writes_them(tmp_path: Path) -> None:
    before = "    env: {A: true, B: 1, C: 1.50, D: null, E: 'yes', F: on, G: 010}\n"

    [call] = of_steps(tmp_path, "- run: run-tests", before=before).commands

    assert dict(call.variables) == {
        "A": "true",
        "B": "1",
        "C": "1.5",
        "D": "",
        "E": "yes",
        "F": "on",
        "G": "10",
    }


def test_anchors_are_followed(tmp_path: Path) -> None:
    before = "    env: &env {A: '1'}\n"

    [call] = of_steps(tmp_path, "- run: run-tests\n  env: *env", before=before).commands

    assert call.variables == (("A", "1"),)


TWO = "jobs:\n  a: {steps: [{run: run-tests}]}\n  b: {steps: [{run: run-tests -q}]}\n  c: {steps: []}\n"


def test_of_several_jobs_the_one_that_is_named_is_taken(tmp_path: Path) -> None:
    assert chosen(tmp_path, TWO, job="b").commands[0].arguments == ("-q",)


@pytest.mark.parametrize(
    ("text", "job", "message"),
    [
        (TWO, None, "several jobs of {} run the tests (a, b): name one, such as --job a"),
        (
            "jobs: {a b: {steps: [{run: pytest}]}, tests: {steps: [{run: tox}]}}",
            None,
            "several jobs of {} run the tests (a b, tests): name one, such as --job tests",
        ),
        (
            "jobs: {a b: {steps: [{run: pytest}]}, c: {steps: [{run: tox}]}}",
            None,
            "several jobs of {} run the tests (a b, c): name one, such as --job 'a b'",
        ),
        (TWO, "d", "{} has no job 'd' (from --job); it has a, b, c"),
        (TWO, "c", "the job 'c' (from --job) of {} does not run the tests: expected a step that runs "),
        ("jobs: {a: {steps: [{run: make}]}}", None, "{} does not run the tests: expected a step that runs "),
        ("jobs: {a: {uses: ./x.yml}}", None, "{} does not run the tests: expected "),
        (
            "jobs: {a: {uses: x/y/.github/workflows/z.yml@v1}}",
            None,
            (
                "{} does not run the tests: expected a step that runs run-tests, pytest, tox, nox or another "
                "test command; name the step with --step, such as one of a: calls "
                "x/y/.github/workflows/z.yml@v1, which is not in this repository"
            ),
        ),
        ("on: [workflow_call]\njobs: {a: {steps: []}}", None, "{} does not run the tests: expected "),
        ("on: workflow_call\njobs: {a: {steps: []}}", None, "{} does not run the tests: expected "),
        ("jobs: {}", None, "{} does not run the tests: expected "),
        (
            "on: push\njobs: {a: {steps: [{run: pytest, shell: pwsh}, {uses: x/y@v1}]}}",
            None,
            (
                "{} does not run the tests: expected a step that runs run-tests, pytest, tox, nox or another "
                "test command; name the step with --step, such as one of a: step 1 (a script for pwsh); "
                "a: step 2 (uses x/y@v1)"
            ),
        ),
        ("jobs: {a: {steps: []}}", None, "{} does not run the tests: expected a step that runs run-tests, "),
        ("jobs: {a: run}", None, "{}, jobs, a must be a mapping of names, got 'run'"),
        ("jobs: {a: {steps: {run: x}}}", None, "{}, jobs, a, steps must be a list, got a mapping"),
        ("jobs: {a: {steps: [run]}}", None, "{}, jobs, a, steps, number 1 must be a mapping of names, "),
        ("jobs: {a: {steps: [{run: [x]}]}}", None, "{}, jobs, a, steps, number 1, run must be one value, "),
        ("jobs: {a: {env: [x], steps: []}}", None, "{}, jobs, a, env must be a mapping of names, got a list"),
        (
            'jobs: {a: {steps: [{run: "run-tests \'x"}]}}',
            None,
            "{}, jobs, a, steps, number 1: its script cannot be read (no closing quotation); put the ",
        ),
        (
            'jobs: {a: {steps: [{run: "python -Impytest \'x"}]}}',
            None,
            "{}, jobs, a, steps, number 1: its script cannot be read (no closing quotation); put the ",
        ),
        *(
            (
                text,
                None,
                "{} (from --workflow) is not a workflow of GitHub Actions, which has jobs by name; for ",
            )
            for text in (
                *("name: x", "[1]", "", "jobs: [a]", "stages: [test]\nunit: {script: [pytest]}"),
                "version: 2.1\njobs: {test: {steps: [checkout, {run: pytest}]}}",
                "jobs: [{job: Test, steps: [{script: pytest}]}]",
            )
        ),
        ("jobs: [", None, "{} (from --workflow) is not valid YAML: "),
        ("jobs: *a", None, "{} (from --workflow) is not valid YAML: found undefined alias 'a' (line 1)"),
        ("a: 1\na: 2", None, "{} (from --workflow) is not valid YAML: 'a' is given twice (line 1)"),
        ("? {a: 1}\n: 1", None, "{} (from --workflow) is not valid YAML: "),
        (
            "a: !!python/object:os.system x",
            None,
            "{} (from --workflow) is not valid YAML: could not ",
        ),
        ("\x00", None, "{} (from --workflow) is not valid YAML: "),
        ("[" * 5000, None, "{} (from --workflow) is not valid YAML: "),
    ],
)
def test_each_error_is_one_line(tmp_path: Path, text: str, job: str | None, message: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        chosen(tmp_path, text, job=job)

    said = str(raised.value)
    assert said.startswith(message.format(tmp_path / "test.yml"))
    assert "\n" not in said


@pytest.mark.parametrize("name", ["missing.yml", ".", "large.yml"])
def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "large.yml").write_bytes(b"#" * (1024 * 1024 + 1))

    with pytest.raises(ConfigurationError, match=r"from --workflow\)") as raised:
        read_workflow(tmp_path / name)

    assert "\n" not in str(raised.value)


_KEYS = st.sampled_from(
    (
        *("env", "steps", "run", "uses", "with", "strategy", "matrix", "include", "runs-on", "defaults"),
        *("a", "if", "shell", "services", "image", "container", "labels", "name", "working-directory"),
        "python-version",
    )
)
_TEXTS = st.sampled_from(
    ["", "run-tests --jobs $X", "actions/setup-python@v5", "${{ matrix.a }}", "3.12", "${{", "run-tests 'x"]
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=5),
    max_leaves=20,
)


@given(
    _VALUES,
    st.lists(st.dictionaries(_KEYS, _VALUES, max_size=5), max_size=3),
    st.dictionaries(_KEYS, _VALUES),
)
def test_whatever_a_file_holds_it_is_read_or_refused(
    env: object, steps: list[dict[str, object]], job: dict[str, object]
) -> None:
    value = {"env": env, "jobs": {"test": {**job, "steps": [*steps, {"run": "run-tests -q"}]}}}

    try:
        found = choose_job(Node(value=value, where="test.yml"), workspace="/project", wanted=None)
    except ConfigurationError as error:
        said = str(error)
    else:
        said = "test.yml: " + " ".join(found.commands[-1].arguments)
    assert said.startswith("test.yml")


def test_the_image_of_a_container_names_the_python(tmp_path: Path) -> None:
    found = of_steps(tmp_path, "- run: pytest", before="    container: docker.io/library/python:3.12-slim\n")

    assert found.python == "3.12"


def test_an_action_of_the_root_is_read_and_one_inside_itself_is_not_followed(tmp_path: Path) -> None:
    action = {"runs": {"using": "composite", "steps": [{"uses": "./"}, {"uses": "./"}, {"run": "pytest -q"}]}}
    workflow = {"jobs": {"test": {"steps": [{"uses": "./", "name": "All"}]}}}

    found = choose_job(
        Node(value=workflow, where="test.yml"),
        workspace="/project",
        wanted=None,
        load=lambda path: Node(value=action, where=path) if path == "action.yml" else None,
    )

    assert [(one.step, one.shown) for one in found.commands] == [("step 3 of ./ (step 'All')", "pytest -q")]


def test_a_login_shell_does_not_read_the_profile_of_this_machine(tmp_path: Path) -> None:
    for written, run in (("bash -el {0}", "bash -e {0}"), ("bash --login {0}", "bash --noprofile {0}")):
        [command] = of_steps(tmp_path, f"- run: pytest\n  shell: {written}").commands
        assert " ".join(command.shell) == run


def test_inputs_are_empty_unless_the_workflow_is_called_or_started_by_hand(tmp_path: Path) -> None:
    steps = "jobs: {a: {steps: [{run: 'pytest ${{ inputs.x || 1 }} ${{ inputs.y }}'}]}}"
    called = "on: {workflow_call: {inputs: {x: {default: 2}, y: {type: string}}}}"

    [pushed] = chosen(tmp_path, f"on: [push, workflow_dispatch]\n{steps}").commands
    [alone] = chosen(tmp_path, f"{called}\n{steps}").commands

    assert (pushed.shown, pushed.unknown) == ("pytest 1", ())
    assert (alone.shown, alone.unknown) == ("pytest 2 ${{ inputs.y }}", ("${{ inputs.y }}",))


def test_a_script_in_an_unknown_shell_or_folder_is_refused_later(tmp_path: Path) -> None:
    steps = "- run: pytest\n  shell: ${{ needs.a.outputs.b }}\n  working-directory: ${{ needs.a.outputs.c }}"

    [command] = of_steps(tmp_path, steps).commands

    assert command.unknown == ("${{ needs.a.outputs.b }}", "${{ needs.a.outputs.c }}")
