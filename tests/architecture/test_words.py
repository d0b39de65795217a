"""No file of the repository names a machine of ours, or a place that packages come from."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

# The words are put together, so that this file does not hold what it forbids.
FORBIDDEN = {
    "a package registry": re.compile(
        "|".join(("py" + r"pi\.org", "python" + r"hosted\.org", "npm" + r"js\.(com|org)"))
    ),
    "a path of one machine": re.compile(r"(?<![\w./~-])/(" + "|".join(("wo" + "rk", "ro" + "ot")) + ")/"),
}
BINARY_SUFFIXES = {".png", ".gif", ".ico", ".sqlite3", ".whl", ".gz", ".zip"}


def tracked_files(root: Path) -> list[Path]:
    """Return the files of a checkout: what git has, and what it would have after `git add`."""
    # In a container the checkout often belongs to somebody else, whom git would not trust.
    git = ["git", "-c", "safe.directory=*", "-C", str(root)]
    command = [*git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    return [root / name for name in sorted(set(listed.split("\0"))) if name and (root / name).is_file()]


def violations(files: Iterable[Path]) -> list[str]:
    """Return each forbidden word in `files`, as `file:line: what it is: the word`."""
    found: list[str] = []
    for path in files:
        if path.suffix in BINARY_SUFFIXES:
            continue
        for number, line in enumerate(path.read_bytes().decode(errors="replace").splitlines(), start=1):
            for what, pattern in FORBIDDEN.items():
                match = pattern.search(line)
                if match is not None:
                    found.append(f"{path}:{number}: {what}: {match[0]}")
    return found


def test_no_file_of_the_repository_holds_a_forbidden_word() -> None:
    files = tracked_files(REPOSITORY)

    assert REPOSITORY / "passmuster" / "model" / "task.py" in files
    assert violations(files) == []


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("pip install --index-url https://" + "py" + "pi.org/simple", "a package registry"),
        ("see files." + "python" + "hosted.org", "a package registry"),
        ("#!" + "/ro" + "ot/.pyenv/bin/python", "a path of one machine"),
        ("cd " + "/wo" + "rk/main", "a path of one machine"),
    ],
)
def test_a_forbidden_word_is_found_with_its_line(tmp_path: Path, line: str, what: str) -> None:
    path = tmp_path / "page.md"
    path.write_text(f"harmless\n{line}\n")

    [found] = violations([path])

    assert found.startswith(f"{path}:2: {what}: ")


@pytest.mark.parametrize(
    "line", ["/home/runner/" + "wo" + "rk/shop", "the " + "ro" + "ot/tests folder", "net" + "wo" + "rk/x"]
)
def test_what_only_looks_alike_is_not_found(tmp_path: Path, line: str) -> None:
    path = tmp_path / "page.md"
    path.write_text(line)

    assert violations([path]) == []


def test_files_that_git_ignores_are_not_looked_at(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("ignored\n")
    (tmp_path / "ignored").touch()
    (tmp_path / "new.py").touch()

    assert tracked_files(tmp_path) == [tmp_path / ".gitignore", tmp_path / "new.py"]
