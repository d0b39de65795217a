"""The old script's rules, and what is said where a run now finds other files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dispatcher.config.model import Layout, TestConfig
from dispatcher.discovery.discover import discover
from dispatcher.migrate.discovery_check import compare
from dispatcher.migrate.legacy_discovery import find_legacy_files
from dispatcher.model.plan import TestFile
from tests.support.no_pytest import without_pytest
from tests.unit.dispatcher.migrate.migrated_project import migrate, write


def find(config: TestConfig) -> tuple[TestFile, ...]:
    return discover(config, without_pytest).files


UNIT = {
    "tests/test_a.py",
    "tests/deep/er/test_b.py",
    "tests/.hidden/test_c.py",
    "tests/sub/manual_tests/test_d.py",
    "tests/sub/test_integration/test_e.py",
    "tests/myvenv/test_f.py",
    ".claude/commands/tests/test_g.py",
    "orchestration/tests/test_h.py",
    "claude_command_scripts/commands/x/test_i.py",
    "claude-bot-commands/tests/test_j.py",
    "test_integration/test_integration_mock.py",
}
INTEGRATION = {
    "test_integration/test_k.py",
    "test_integration/x/test_l.py",
    "tests/test_integration/test_m.py",
}
NEVER = {
    "tests/manual_tests/test_n.py",
    "tests/venv/test_o.py",
    "tests/x/node_modules/y/test_p.py",
    "tests/prototype/test_q.py",
    "test_integration/venv/test_r.py",
    "tests/a_test.py",
    "tests/test_s.txt",
    "src/test_t.py",
    "test_u.py",
}


@pytest.mark.parametrize("workdir", ["", "mvp_site/"])
def test_the_rules_are_those_of_the_contract_and_the_defaults_agree(tmp_path: Path, workdir: str) -> None:
    write(tmp_path, {workdir + path: b"" for path in UNIT | INTEGRATION | NEVER})

    old = find_legacy_files(tmp_path)
    compared = compare(TestConfig(root=tmp_path), find)

    assert old.unit == {workdir + path for path in UNIT}
    assert old.integration == {workdir + path for path in UNIT | INTEGRATION}
    assert (compared.unit, compared.integration, compared.differences) == (11, 14, ())


def test_the_rules_are_what_find_prints(tmp_path: Path) -> None:
    write(tmp_path, dict.fromkeys(UNIT | INTEGRATION | NEVER, b""))
    (tmp_path / "tests/link").symlink_to("../src")
    (tmp_path / "tests/test_link.py").symlink_to("../src/test_t.py")
    excluded = (
        "tests/manual_tests/*",
        "tests/test_integration/*",
        "*/venv/*",
        "*/node_modules/*",
        "*/prototype/*",
    )
    command = ["find", "tests/", "-type", "f", "-name", "test_*.py"]
    command += [word for pattern in (*excluded, "*/prototype/*") for word in ("!", "-path", pattern)]
    printed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)

    assert set(printed.stdout.split()) == {
        path for path in find_legacy_files(tmp_path).unit if path.startswith("tests/")
    }


def test_a_link_that_the_script_did_not_follow_is_excluded_in_a_new_section(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"mvp_site/tests/test_a.py": b"", "mvp_site/more/test_b.py": b"", "mvp_site/more/test_c.py": b""},
    )
    (tmp_path / "mvp_site/tests/linked").symlink_to("../more")

    status, out, _ = migrate(tmp_path, "--check")
    assert status == 1
    for name in ("b", "c"):
        path = f"mvp_site/tests/linked/test_{name}.py"
        assert f"{path}:1: the old script did not run it, Passmuster does\n" in out

    status, out, _ = migrate(tmp_path, "--apply")
    assert (status, migrate(tmp_path, "--check")[0]) == (0, 0)
    assert "pyproject.toml: gets [tool.passmuster] with exclude = ['tests/linked']" in out
    assert (
        (tmp_path / "pyproject.toml").read_text().startswith('[tool.passmuster]\nexclude = ["tests/linked"]')
    )

    migrate(tmp_path, "--rollback")
    assert not (tmp_path / "pyproject.toml").exists()


def test_a_section_that_is_there_is_left_alone_and_compared(tmp_path: Path) -> None:
    section = b'[tool.passmuster]\nexclude = ["test_b.py"]\n'
    write(tmp_path, {"tests/test_a.py": b"", "tests/test_b.py": b"", "pyproject.toml": section})

    status, out, _ = migrate(tmp_path, "--apply")

    assert (status, (tmp_path / "pyproject.toml").read_bytes()) == (1, section)
    assert "tests/test_b.py:1: the old script ran it, Passmuster does not\n" in out


def test_a_difference_with_integration_tests_alone_says_so(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"tests/test_a.py": b"", "test_integration/test_b.py": b"", "test_integration/test_c.py": b""},
    )
    config = TestConfig(root=tmp_path, layout=Layout(exclude=("test_integration/test_c.py",)))

    [difference] = compare(config, find).differences

    assert str(difference) == "the old script ran it, Passmuster does not (with --integration)"


def test_where_the_script_found_nothing_nothing_is_excluded(tmp_path: Path) -> None:
    write(tmp_path, {"src/test_a.py": b""})

    compared = compare(TestConfig(root=tmp_path), find)

    assert (compared.unit, compared.exclude, len(compared.differences)) == (0, (), 1)


def test_defaults_that_agree_write_nothing_and_say_so(tmp_path: Path) -> None:
    write(tmp_path, {"tests/test_a.py": b""})

    out = migrate(tmp_path, "--apply")[1]

    assert (
        "[INFO] pyproject.toml: nothing to write, the defaults find the same files as the old script\n" in out
    )
    assert not (tmp_path / "pyproject.toml").exists()
