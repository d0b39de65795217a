"""A repository of the shell scripts' users is migrated, and what called the scripts really runs the tests."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.e2e.support.project import REPOSITORY, Project
from tests.e2e.support.shell_project import BY_HAND, CALLERS, SCRIPTS, STAYING, TESTS, WORKFLOW
from tests.e2e.support.unprivileged import UNPRIVILEGED
from tests.support.git_project import GitProject

UNIT = {
    "tests/test_cart.py",
    "tests/deep/test_stock.py",
    "orchestration/tests/test_agents.py",
    ".claude/commands/tests/test_commands.py",
    "test_integration/test_integration_mock.py",
}
INTEGRATION = {"tests/test_integration/test_shop.py", "test_integration/test_database.py"}


@pytest.fixture
def shop(project: Project) -> Project:
    """The made repository under git, with this checkout's commands in it."""
    GitProject(project.root)
    project.write({**TESTS, **CALLERS, **STAYING, **SCRIPTS})
    for name in SCRIPTS:
        (project.root / name).chmod(0o755)
    (project.root / "scripts/push.sh").chmod(0o755)
    (project.root / "venv").symlink_to(project.python_home)
    for name in ("run_tests.py", "run_ci_replica.py"):
        (project.root / name).symlink_to(REPOSITORY / name)
    return project


def tree(root: Path) -> dict[str, tuple[bytes, int]]:
    """Return every file but what git and runs keep: its bytes and its permissions."""
    return {
        path.relative_to(root).as_posix(): (path.read_bytes(), path.stat().st_mode)
        for path in root.rglob("*")
        if path.is_file()
        and not {".git", ".passmuster"} & set(path.parts)
        and "venv" not in path.parts[-3:-1]
    }


def call(shop: Project, *words: str, cwd: str = "") -> subprocess.CompletedProcess[str]:
    """Call something in the repository as its users do."""
    ran = subprocess.run(
        words,
        cwd=shop.root / cwd,
        env=shop.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran


def files_of(output: str) -> set[str]:
    """Return the test files that a run says it found."""
    return set(re.findall(r"^  - (\S+)$", output, re.MULTILINE))


def test_every_caller_is_changed_and_nothing_else(shop: Project) -> None:
    before = tree(shop.root)
    assert len(CALLERS) > 50

    outcome = shop.run("migrate", "--apply", events=False)

    after = tree(shop.root)
    assert (outcome.code, outcome.stderr) == (0, "")
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    backups = {f"{name}.backup" for name in SCRIPTS}
    assert changed == CALLERS.keys() | SCRIPTS.keys() | backups
    assert {name: after[f"{name}.backup"] for name in SCRIPTS} == {name: before[name] for name in SCRIPTS}
    left = [
        name
        for name in CALLERS
        if re.search(rb"run_(tests|ci_replica)\.sh|\b(ba)?sh[\", ]+\S*\.py", after[name][0])
    ]
    assert left == []
    assert shop.run("migrate", "--check", events=False).code == 0
    again = shop.run("migrate", "--apply", events=False)
    assert (again.code, tree(shop.root)) == (0, after)


def test_special_bytes_stay(shop: Project) -> None:
    shop.run("migrate", "--apply", events=False)

    after = tree(shop.root)
    assert after["docs/latin.txt"][0] == b"Caf\xe9: ./run_tests.py\n"
    assert after["docs/mixed.txt"][0] == b"one run_tests.py\r\ntwo run_tests.py\nthree run_tests.py\rend"
    assert after["tools/bom.ps1"][0] == b"\xef\xbb\xbfpython3 .\\run_tests.py\r\n# end\r\n"


def test_the_new_command_finds_what_the_old_script_ran(shop: Project) -> None:
    for words, expected in (((), UNIT), (("--integration",), UNIT | INTEGRATION)):
        assert files_of(call(shop, "./run_tests.sh", *words).stdout) == expected
        assert set(shop.run("--list", *words).lines) == expected


def test_callers_run_the_tests_afterwards(shop: Project) -> None:
    shop.run("migrate", "--apply", events=False)
    workflow = (shop.root / ".github/workflows/tests.yml").read_text()
    steps = re.findall(r"run: (?:\|\n\s+)?(\S.*)", workflow)
    scripts = json.loads((shop.root / "package.json").read_text())["scripts"]

    assert steps == ["chmod +x run_tests.py", "./run_tests.py", "python3 run_tests.py --integration"]
    assert WORKFLOW.replace(".sh", ".py").replace("bash ", "python3 ") == workflow
    for words, expected in (
        (("make", "test", "ARGS=--integration"), UNIT | INTEGRATION),
        (("bash", "-e", "-c", "\n".join(steps[:2])), UNIT),
        (("bash", "-c", scripts["test:all"]), UNIT | INTEGRATION),
        (("scripts/push.sh", "--unit"), UNIT),
        (("python3", "scripts/call.py"), UNIT),
    ):
        ran = call(shop, *words)
        assert files_of(ran.stdout) == expected
        assert "[PASS] All tests passed! 🎉" in ran.stdout


def test_a_wrapper_hands_its_arguments_on_from_anywhere(shop: Project) -> None:
    shop.run("migrate", "--apply", "--wrappers", events=False)
    (shop.base / "bin").mkdir()
    (shop.base / "bin/tests").symlink_to(shop.root / "run_tests.sh")

    listed = call(shop, "./run_tests.sh", "--list", "--integration")
    assert set(listed.stdout.split()) == UNIT | INTEGRATION
    for program in ("sh run_tests.sh", str(shop.root / "run_tests.sh"), str(shop.base / "bin/tests")):
        ran = call(shop, *program.split(), "--list", "tests/test_cart.py")
        assert ran.stdout == "tests/test_cart.py\n"
    assert "passed" in call(shop, "./run_ci_replica.sh").stdout
    assert shop.run("migrate", "--check", events=False).code == 0


def test_what_is_left_to_a_person_is_named_with_its_reason(shop: Project) -> None:
    shop.write(BY_HAND)

    applied = shop.run("migrate", "--apply", events=False)
    checked = shop.run("migrate", "--check", events=False)

    lint = "scripts/lint.sh:2: shellcheck run_tests.sh  [shellcheck processes it, and would get Python code]"
    sourced = "scripts/functions.sh:2: source run_tests.sh  [a Python program cannot be sourced]"
    copied = (
        "worker.Dockerfile:1: COPY run_tests.sh /app/  "
        "[run_tests.py alone does not run elsewhere: it needs the folders beside it]"
    )
    assert (applied.code, checked.code) == (1, 1)
    assert list(checked.lines[:3]) == [sourced, lint, copied]
    assert "[FAIL] 3 line(s) refer to run_tests.sh or run_ci_replica.sh" in checked.lines
    assert {sourced, lint, copied} <= set(applied.lines)


def test_rollback_brings_every_byte_back(shop: Project) -> None:
    shop.write(BY_HAND)
    before = tree(shop.root)
    shop.run("migrate", "--apply", "--wrappers", events=False)
    assert tree(shop.root) != before

    outcome = shop.run("migrate", "--rollback", events=False)

    assert (outcome.code, outcome.stderr) == (0, "")
    assert tree(shop.root) == before
    assert files_of(call(shop, "./run_tests.sh").stdout) == UNIT


def test_the_patch_that_is_shown_is_what_is_done(shop: Project) -> None:
    for name in ("docs/latin.txt", "docs/mixed.txt", "tools/bom.ps1"):
        (shop.root / name).unlink()  # Their bytes are made visible, so that no patch can hold them.
    shown = shop.run("migrate", events=False)
    assert shown.code == 0
    shop.run("migrate", "--apply", events=False)
    after = tree(shop.root)
    shop.run("migrate", "--rollback", events=False)

    patch = subprocess.run(
        ["git", "apply", "-"], cwd=shop.root, input=shown.stdout, text=True, capture_output=True, check=False
    )

    assert patch.returncode == 0, patch.stderr
    patched = tree(shop.root)
    assert {name: patched[name] for name in CALLERS if name in patched} == {
        name: after[name] for name in CALLERS if name in after
    }


@pytest.mark.parametrize("folder", ["docs", ".", ".passmuster"])
def test_a_tree_that_cannot_be_written_is_told_in_one_line_and_nothing_changes(
    shop: Project, folder: str
) -> None:
    (shop.root / folder).mkdir(exist_ok=True)
    before = tree(shop.root)
    (shop.root / folder).chmod(0o555)

    outcome = shop.run("migrate", "--apply", events=False, prefix=UNPRIVILEGED)
    (shop.root / folder).chmod(0o755)

    assert (outcome.code, outcome.stdout, outcome.stderr.count("\n")) == (3, "", 1)
    assert "cannot be written: Permission denied; nothing was changed" in outcome.stderr
    assert tree(shop.root) == before
    assert shop.run("migrate", "--rollback", events=False).code == 2


def test_the_installed_commands_take_the_place_where_they_are_what_there_is(shop: Project) -> None:
    programs = shop.base / "bin"
    programs.mkdir()
    for name in ("run_tests.py", "run_ci_replica.py"):
        (shop.root / name).unlink()
        (programs / name.removesuffix(".py").replace("_", "-")).symlink_to(REPOSITORY / name)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"

    outcome = shop.run("migrate", "--apply", events=False, env={"PATH": path})

    assert "become run-tests and run-ci-replica" in outcome.stdout
    assert (shop.root / "Makefile").read_text().splitlines()[1:5] == [
        "\t@run-tests $(ARGS)",
        "",
        "ci:",
        "\trun-ci-replica",
    ]
    assert (
        '"test": "run-tests", "test:all": "run-tests --integration"'
        in (shop.root / "package.json").read_text()
    )
    assert (shop.root / "scripts/push.sh").read_text().splitlines()[2] == 'run-tests "$@" || exit 1'
    assert '["run-tests", "--unit"]' in (shop.root / "scripts/call.py").read_text()
    left = [line for line in outcome.lines if line.endswith("[it names a file; run-tests is a command]")]
    assert "Dockerfile:2: RUN chmod +x /app/run_tests.sh  [it names a file; run-tests is a command]" in left
    made = subprocess.run(
        ["make", "test"],
        cwd=shop.root,
        env=shop.environment({"PATH": path}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert files_of(made.stdout) == UNIT
