"""What docs/how-to/editor.md shows works: VS Code's tasks, the hook of git, and the hook for pre-commit."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dispatcher.replica.reading import parse_yaml
from tests.docs.pages import blocks_of
from tests.support.git_project import GitProject

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = "docs/how-to/editor.md"

FAILING = """\
import os
import unittest


class ShopTest(unittest.TestCase):
    def test_sum(self):
        self.assertEqual([name for name in os.environ if name in ("GIT_DIR", "GIT_INDEX_FILE")], [])
        self.assertEqual(1 + 1, 3)
"""
PASSING = FAILING.replace("1 + 1, 3", "1 + 1, 2")


def block(language: str) -> str:
    text = (REPOSITORY / PAGE).read_text(encoding="utf-8")
    [found] = [block.code for block in blocks_of(text, PAGE) if block.language == language]
    return found


@pytest.fixture
def project(tmp_path: Path) -> GitProject:
    made = GitProject(tmp_path / "project")
    made.write("tests/test_shop.py", FAILING)
    made.write("tests/test_other.py", PASSING)
    made.write(".gitignore", ".passmuster/\n__pycache__/\n")
    return made


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment in which `run-tests` is on PATH."""
    program = tmp_path / "bin" / "run-tests"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {REPOSITORY / "run_tests.py"} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "PASSMUSTER_"))}
    who = {f"GIT_{role}_{what}": "somebody" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return {
        **kept,
        **who,
        "PATH": f"{program.parent}{os.pathsep}{kept['PATH']}",
        "XDG_RUNTIME_DIR": str(tmp_path),
    }


def call(words: list[str], project: GitProject, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=project.root, env=environ, capture_output=True, text=True, check=False, timeout=100
    )


def test_the_hooks_refuse_a_commit_whose_tests_fail_and_the_editor_finds_the_failing_lines(
    project: GitProject, environ: dict[str, str]
) -> None:
    hook = project.root / ".git" / "hooks" / "pre-commit"
    hook.write_text(block("text"), encoding="utf-8")
    hook.chmod(0o755)
    commit = ["git", "commit", "--quiet", "--all", "--message", "A commit"]
    project.git("add", "-A")

    refused = call(commit, project, environ)
    project.write("tests/test_shop.py", PASSING)
    accepted = call(commit, project, environ)

    assert refused.returncode != 0
    of_change, of_one_file = json.loads(block("json"))["tasks"]
    assert of_change["problemMatcher"] == of_one_file["problemMatcher"]
    pattern = of_change["problemMatcher"]["pattern"]
    lines = (refused.stdout + refused.stderr).splitlines()
    [match] = [found for line in lines if (found := re.search(pattern["regexp"], line))]
    assert match[pattern["file"]] == "tests/test_shop.py"
    assert FAILING.splitlines()[int(match[pattern["line"]]) - 1].strip() == "self.assertEqual(1 + 1, 3)"
    assert match[pattern["message"]].endswith("test_sum: AssertionError: 2 != 3")

    assert accepted.returncode == 0, accepted.stdout + accepted.stderr
    assert project.git("log", "--format=%s") == "A commit"

    hooks: Any = parse_yaml((REPOSITORY / ".pre-commit-hooks.yaml").read_bytes(), name="hooks")
    unaffected = call([*shlex.split(hooks[0]["entry"]), "--list"], project, environ)
    assert unaffected.returncode == 0, unaffected.stderr
    assert "No file can be affected by a change" in unaffected.stderr
    # Every call of the page is that of the hook.
    assert [of_change["command"], *of_change["args"]] == block("text").split()[-4:]
    assert " ".join(block("text").split()[-4:]) in hooks[0]["entry"]
