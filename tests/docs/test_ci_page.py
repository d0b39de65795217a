"""What runs in CIs, in examples/ci/, for users, and in docs/how-to/ci.md: valid, careful, and alike."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dispatcher.model.ci import CIS
from dispatcher.replica.choose import choose_job
from dispatcher.replica.reading import parse_yaml, read_workflow
from tests.docs.pages import REPOSITORY, blocks_of
from tests.support.ci_snippets import HEADINGS, code_of
from tests.support.pipeline_runner import component_jobs

EXAMPLES = sorted((REPOSITORY / "examples" / "ci").glob("*.yml"))
GITHUB_EXAMPLES = [path for path in EXAMPLES if path.name.startswith("github")]
PIPELINES = [path for path in EXAMPLES if path.name.startswith("gitlab")]
OWN = REPOSITORY / ".github" / "workflows" / "test.yml"
WORKFLOWS = [*GITHUB_EXAMPLES, *sorted(OWN.parent.glob("*.yml"))]
ACTION = REPOSITORY / "action.yml"
COMPONENT = REPOSITORY / "templates" / "run-tests.yml"
ORB = REPOSITORY / "deploy" / "circleci" / "orb.yml"

each_workflow = pytest.mark.parametrize("path", [*WORKFLOWS, ACTION], ids=lambda path: path.name)


def validate(schema: str, *paths: Path) -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *paths],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_example_is_one_of_a_known_ci() -> None:
    assert len(EXAMPLES) == len(GITHUB_EXAMPLES) + len(PIPELINES)


@pytest.mark.parametrize(
    ("schema", "paths"),
    [
        ("vendor.github-workflows", WORKFLOWS),
        ("custom.github-workflows-require-timeout", WORKFLOWS),
        ("vendor.github-actions", [ACTION]),
        ("vendor.gitlab-ci", PIPELINES),
        ("vendor.circle-ci", [ORB]),
    ],
)
def test_the_files_are_valid(schema: str, paths: list[Path]) -> None:
    validate(schema, *paths)


def test_the_jobs_that_gitlab_makes_of_the_component_are_valid(tmp_path: Path) -> None:
    [include] = loaded(REPOSITORY / "examples" / "ci" / "gitlab-ci.yml")["include"]
    path = tmp_path / "jobs.json"
    path.write_text(json.dumps(component_jobs(include)), encoding="utf-8")

    validate("vendor.gitlab-ci", path)


def test_actionlint_finds_nothing() -> None:
    command = [str(Path(sys.executable).with_name("actionlint")), "-no-color", *map(str, WORKFLOWS)]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("heading", "schema"),
    [
        ("CircleCI", "vendor.circle-ci"),
        ("Buildkite", "vendor.buildkite"),
        ("Azure Pipelines", "vendor.azure-pipelines"),
    ],
)
def test_the_blocks_of_the_page_are_valid(tmp_path: Path, heading: str, schema: str) -> None:
    # In Azure's schema numbers are texts, which its server makes of them.
    numbers = str if "azure" in schema else int
    block = parse_yaml(code_of(heading).encode(), name=heading)
    path = tmp_path / "block.json"
    path.write_text(json.dumps(json.loads(json.dumps(block), parse_int=numbers)), encoding="utf-8")

    validate(schema, path)


def loaded(path: Path) -> Any:
    return parse_yaml(path.read_bytes(), name=str(path))


def steps_of(path: Path) -> list[Any]:
    """Return all steps of a workflow, or of the action."""
    content = loaded(path)
    if path == ACTION:
        return list(content["runs"]["steps"])
    return [step for job in content["jobs"].values() for step in job.get("steps", [])]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_do_as_little_as_possible(path: Path) -> None:
    workflow = loaded(path)

    assert workflow["permissions"] == {"contents": "read"}
    allowed = {"publish": {"id-token": "write"}} if path.name == "publish.yml" else {}
    extended = {name: job["permissions"] for name, job in workflow["jobs"].items() if "permissions" in job}
    assert extended == allowed
    assert "pull_request_target" not in workflow["on"]
    if "pull_request" in workflow["on"]:
        assert workflow["concurrency"]["cancel-in-progress"] is True


@each_workflow
def test_actions_are_pinned_to_commits_and_the_same_everywhere(path: Path) -> None:
    pattern = r"uses: ((?:actions|pypa)/[\w/-]+)@([0-9a-f]{40}) # (v[0-9]+\.[0-9]+\.[0-9]+)\n"
    text = path.read_text(encoding="utf-8")
    everywhere = "".join(other.read_text(encoding="utf-8") for other in (*WORKFLOWS, ACTION))

    ours = re.findall(r"uses: (?:you/passmuster|\./\.passmuster/action)\b", text)
    assert text.count("uses:") == len(re.findall(pattern, text)) + len(ours) > 0
    pinned = {(action.split("/")[1], commit) for action, commit, _ in re.findall(pattern, everywhere)}
    assert len(pinned) == len({action for action, _ in pinned})


@each_workflow
def test_no_expression_is_pasted_into_a_script(path: Path) -> None:
    # What somebody else may choose, such as the name of a branch, would be run as a command.
    scripts = [step["run"] for step in steps_of(path) if "run" in step]

    assert [script for script in scripts if "${{" in script] == []


def test_no_input_of_the_component_or_the_orb_is_pasted_into_a_script() -> None:
    component = COMPONENT.read_text(encoding="utf-8")
    scripts = re.findall(r"^  script:\n((?:    - .+\n)+)", component, re.MULTILINE)
    assert len(scripts) == component.count("script:") - component.count("before_script:")
    assert "$[[" not in "".join(scripts)

    orb = loaded(ORB)
    parts = [*orb["jobs"].values(), *orb["commands"].values()]
    steps = [step for part in parts for step in part["steps"]]
    runs = [step["run"] for step in steps if isinstance(step, dict) and "run" in step]
    assert len(runs) == ORB.read_text(encoding="utf-8").count("- run:")
    assert "<<" not in "".join(run if isinstance(run, str) else run["command"] for run in runs)


@each_workflow
def test_no_checkout_leaves_a_password_behind(path: Path) -> None:
    checkouts = [step for step in steps_of(path) if "actions/checkout@" in step.get("uses", "")]

    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_the_repositorys_own_workflow_runs_the_tests_that_ci_run_runs() -> None:
    def listed(*words: str) -> list[str]:
        ran = subprocess.run(
            [sys.executable, REPOSITORY / "run_tests.py", "--list", *words],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return ran.stdout.split()

    script = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")
    [options] = re.findall(r"^\./run_tests\.py (--integration .*) --junit-xml", script, re.MULTILINE)
    workflow = read_workflow(OWN)

    [call] = choose_job(workflow, workspace=str(REPOSITORY), wanted="shard").commands

    assert sorted(listed(*call.arguments)) == sorted(listed(*shlex.split(options.replace('"$jobs"', "3"))))


def test_the_replica_of_the_own_workflow_leaves_out_what_it_should() -> None:
    workflow = read_workflow(OWN)

    shard = choose_job(workflow, workspace=str(REPOSITORY), wanted="shard")
    checks = choose_job(workflow, workspace=str(REPOSITORY), wanted="checks")

    assert shard.python == checks.python == "3.11"
    assert shard.matrix == "shard=1 (number 1 of 4)"
    assert [dict(call.variables)["PASSMUSTER_JOB_TOTAL"] for call in shard.commands] == ["4"]
    assert any(text.startswith("--shard auto --record records of ") for text in shard.differences)
    assert [call.arguments for call in checks.commands] == [("--root", "examples/shop")]


@pytest.mark.parametrize("page", ["README.md", "docs/how-to/ci.md"])
def test_the_lines_for_github_are_those_of_the_example(page: str) -> None:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    [call] = [block for block in blocks_of(text, page) if "/run-tests.yml@" in block.code]

    jobs = loaded(REPOSITORY / "examples" / "ci" / "github-shards.yml")["jobs"]
    assert parse_yaml(call.code.encode(), name=page) == {"jobs": jobs}


def test_the_page_lists_the_inputs_of_the_reusable_workflow_with_their_defaults() -> None:
    page = (REPOSITORY / "docs" / "how-to" / "ci.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `([\w-]+)` \| .+ \| (.+) \|$", page, re.MULTILINE))
    inputs = loaded(OWN.with_name("run-tests.yml"))["on"]["workflow_call"]["inputs"]

    defaults = {name: str(one["default"]) or "none" for name, one in inputs.items()}
    assert {name: listed[name].strip("`") for name in inputs} == defaults
    assert {"arguments", "root", "name"} <= set(loaded(ACTION)["inputs"]) & set(inputs)


def test_every_ci_whose_variables_are_known_is_on_the_page() -> None:
    page = (REPOSITORY / "docs" / "how-to" / "ci.md").read_text(encoding="utf-8")

    shown = {ci.name for ci in CIS if ci.name.partition(" ")[0] in page}
    assert {"GitLab", "CircleCI", "Buildkite", "Azure Pipelines"} <= shown
    assert {"GitHub Actions", "GitLab", *HEADINGS} <= set(re.findall(r"^## (.+)$", page, re.MULTILINE))


def test_nothing_installs_the_package_from_an_index_that_does_not_have_it() -> None:
    texts = [*EXAMPLES, ACTION, COMPONENT, ORB, REPOSITORY / "README.md"]
    texts += (REPOSITORY / "docs").rglob("*.md")
    for package in ("dispatcher", "passmuster", "worker"):
        texts += (REPOSITORY / package).rglob("*.py")

    named = re.compile(r"""\b(pip|pipx|uv tool) install ['"]?passmuster\b""")
    assert [path for path in texts if named.search(path.read_text(encoding="utf-8"))] == []
