"""The options of `migrate`, refused arguments, and the choice of the new command."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.dispatcher.migrate.migrated_project import SCRIPT, migrate, tree, write

CALL = b"bash run_tests.sh\n"
OURS = b"from passmuster import x\n"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--chek",), "unknown argument: --chek; did you mean --check?"),
        (("docs",), "unknown argument: docs; see --help"),
        (("--check=1",), "--check takes no value, got '1': leave out '=1'; see --help"),
        (("--check", "--apply"), "--apply and --check cannot be combined: choose one"),
        (
            ("--rollback", "--wrappers"),
            "--wrappers cannot be combined with --rollback: only --apply",
        ),
        (("--root",), "--root needs a value"),
        (("--root", "nowhere"), "is not a directory (from --root): name the repository's folder"),
        (("--command", "make"), "expected ./run_tests.py or run-tests, got 'make' (from --command)"),
    ],
)
def test_a_wrong_argument_is_reported_in_one_line(
    tmp_path: Path, words: tuple[str, ...], complaint: str
) -> None:
    status, out, err = migrate(tmp_path, *words, file=False)

    assert (status, out, err.count("\n")) == (2, "", 1)
    assert complaint in err


def test_without_a_word_a_patch_is_shown_and_nothing_changed(tmp_path: Path) -> None:
    write(tmp_path, {"Makefile": b"test:\n\tbash run_tests.sh", "run_tests.sh": SCRIPT})
    before = tree(tmp_path)

    status, out, err = migrate(tmp_path)

    assert (status, err, tree(tmp_path)) == (0, "", before)
    assert out.splitlines()[:8] == [
        "--- a/Makefile",
        "+++ b/Makefile",
        "@@ -1,2 +1,2 @@",
        " test:",
        "-\tbash run_tests.sh",
        "\\ No newline at end of file",
        "+\tpython3 run_tests.py",
        "\\ No newline at end of file",
    ]
    assert "[INFO] run_tests.sh becomes run_tests.sh.backup\n" in out
    last = (
        "[INFO] Nothing was changed yet. To do all this: run-tests migrate --apply --command ./run_tests.py"
    )
    assert out.splitlines()[-1] == last


def test_a_repository_without_references_is_reported(tmp_path: Path) -> None:
    for words in ((), ("--check",), ("--apply",)):
        status, out, _ = migrate(tmp_path, *words)
        assert status == 0
        assert "No reference to run_tests.sh or run_ci_replica.sh in 0 file(s)" in out
    assert list(tmp_path.iterdir()) == []


def test_check_names_each_reference_with_its_line(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"a.md": b"x\n  `./run_tests.sh`, run_tests.sh  \r\n", "b.sh": b". run_ci_replica.sh\x1b[31m\n"},
    )

    status, out, _ = migrate(tmp_path, "--check")

    assert status == 1
    assert out.splitlines()[:3] == [
        "a.md:2: `./run_tests.sh`, run_tests.sh",
        "b.sh:1: . run_ci_replica.sh  [a Python program cannot be sourced]",
        "[FAIL] 2 line(s) refer to run_tests.sh or run_ci_replica.sh",
    ]


def test_check_is_content_after_apply(tmp_path: Path) -> None:
    write(tmp_path, {"a.md": CALL, "run_tests.sh": SCRIPT})
    assert migrate(tmp_path, "--apply")[0] == 0

    assert migrate(tmp_path, "--check")[0] == 0
    assert migrate(tmp_path, "--apply")[1].endswith("[INFO] Nothing to change: all is migrated\n")


def test_the_file_in_the_repository_is_chosen_before_the_installed_command(tmp_path: Path) -> None:
    root, programs = tmp_path / "root", tmp_path / "bin"
    write(root, {"a.md": CALL, "run_tests.sh": SCRIPT, "run_tests.py": OURS})
    write(programs, {"run-tests": b"#!/bin/sh\n"})
    (programs / "run-tests").chmod(0o755)

    assert "+python3 run_tests.py\n" in migrate(root, file=False, PATH=str(programs))[1]

    write(root, {"run_tests.py": b"print('of somebody else')\n"})
    assert "+run-tests\n" in migrate(root, file=False, PATH=str(programs))[1]


def test_without_anything_to_call_apply_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"a.md": CALL})

    status, out, _ = migrate(tmp_path, file=False, PATH=str(tmp_path))
    assert status == 0
    assert "[WARN] neither run_tests.py in the repository nor the command run-tests on PATH" in out

    status, out, err = migrate(tmp_path, "--apply", file=False, PATH=str(tmp_path))
    assert (status, out, err.count("\n"), (tmp_path / "a.md").read_bytes()) == (2, "", 1, CALL)


def test_a_command_that_callers_need_and_is_not_there_is_named(tmp_path: Path) -> None:
    write(tmp_path, {"a.md": b"./run_ci_replica.sh", "run_tests.py": OURS})

    status, _, err = migrate(tmp_path, "--apply", file=False)

    assert status == 2
    assert "run_ci_replica.py is not in" in err


def test_a_foreign_backup_is_not_overwritten(tmp_path: Path) -> None:
    write(tmp_path, {"run_tests.sh": SCRIPT, "run_tests.sh.backup": b"another"})
    before = tree(tmp_path)

    status, _, err = migrate(tmp_path, "--apply")

    assert (status, tree(tmp_path)) == (2, before)
    assert "run_tests.sh.backup already exists and differs from run_tests.sh" in err


@pytest.mark.parametrize("content", [b"[tool", b"# passmuster\n[tool"])
@pytest.mark.parametrize("word", ["--check", "--apply"])
def test_a_broken_configuration_file_is_reported_in_one_line(
    tmp_path: Path, content: bytes, word: str
) -> None:
    write(tmp_path, {"a.md": CALL, "pyproject.toml": content})

    status, out, err = migrate(tmp_path, word)

    assert (status, out, err.count("\n"), (tmp_path / "a.md").read_bytes()) == (2, "", 1, CALL)
    assert "pyproject.toml is not valid TOML" in err


def test_a_wrapper_keeps_the_permissions_and_stays(tmp_path: Path) -> None:
    write(tmp_path, {"run_tests.sh": SCRIPT})
    (tmp_path / "run_tests.sh").chmod(0o750)

    migrate(tmp_path, "--apply", "--wrappers")
    between = tree(tmp_path)

    assert between["run_tests.sh"][1] == between["run_tests.sh.backup"][1] == 0o100750
    assert b"exec " in between["run_tests.sh"][0]
    assert migrate(tmp_path, "--apply")[0] == 0
    assert tree(tmp_path) == between
