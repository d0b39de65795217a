"""A release is a version, a dated section of the changelog, and a tag that all say the same."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.git_project import GitProject

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def checkout(tmp_path: Path) -> GitProject:
    made = GitProject(tmp_path / "checkout")
    made.write("passmuster/model/version.py", '"""The version."""\n\nVERSION = "0.1.0"\n')
    unreleased, released = "## Unreleased\n\n- New things.\n", "## 0.1.0 (2026-11-01)\n\n- Old things.\n"
    made.write("CHANGELOG.md", f"# Changelog\n\n{unreleased}\n{released}")
    made.write("scripts/release", (REPOSITORY / "scripts" / "release").read_text(encoding="utf-8"))
    made.commit()
    return made


def release(checkout: GitProject, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "scripts/release", *words]
    who = {f"GIT_{role}_{what}": "somebody" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environ = {**os.environ, **who}
    return subprocess.run(
        command, cwd=checkout.root, env=environ, capture_output=True, text=True, check=False
    )


def test_a_release_sets_the_version_dates_the_changelog_and_is_tagged(checkout: GitProject) -> None:
    made = release(checkout, "0.2.0")

    assert (made.returncode, made.stderr) == (0, "")
    text = (checkout.root / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"\n## Unreleased\n\n## 0\.2\.0 \(\d{4}-\d{2}-\d{2}\)\n\n- New things\.\n", text)
    checked = release(checkout, "--check", "v0.2.0")
    assert (checked.returncode, checked.stdout) == (0, "- New things.\n")
    assert checkout.git("describe", "--exact-match") == "v0.2.0"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--check", "v0.3.0"], "the tag is v0.3.0 and the version in passmuster/model/version.py 0.1.0"),
        (["two"], "usage: scripts/release VERSION"),
        ([], "usage: scripts/release VERSION"),
    ],
)
def test_what_is_no_release_is_refused_in_one_line(checkout: GitProject, words: list[str], text: str) -> None:
    refused = release(checkout, *words)

    assert (refused.returncode, refused.stdout) == (2, "")
    assert text in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_a_changed_checkout_and_a_release_that_exists_are_refused(checkout: GitProject) -> None:
    assert release(checkout, "0.2.0").returncode == 0
    assert "has nothing below '## Unreleased'" in release(checkout, "0.3.0").stderr

    text = (checkout.root / "CHANGELOG.md").read_text(encoding="utf-8")
    checkout.write("CHANGELOG.md", text.replace("## Unreleased\n", "## Unreleased\n\n- More.\n"))
    assert "not committed" in release(checkout, "0.3.0").stderr

    checkout.commit()
    assert "the tag v0.2.0 exists already" in release(checkout, "0.2.0").stderr


def test_the_changelog_has_the_form_that_a_release_needs() -> None:
    text = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")

    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ \(\d{4}-\d{2}-\d{2}\)", heading) for heading in headings[1:])
