"""A worker's options, variables, and those that tests must not see."""

from __future__ import annotations

from pathlib import Path

import pytest

from passmuster.model.errors import ConfigurationError
from passmuster.model.units import Amount
from worker.queue.cli import main, split_environment
from worker.queue.options import Options, read_options

BROKER = "redis://:pw@127.0.0.1:6379/0"


SECRET = "0123456789abcdef"


def options(root: Path, *words: str, **environ: str) -> Options:
    found = {"PASSMUSTER_SECRET": SECRET, **environ}
    return read_options(["--broker", BROKER, "--root", str(root), *words], found)


def test_defaults(tmp_path: Path) -> None:
    found = options(tmp_path)
    given = found.arguments

    assert (found.root, found.workdir, given.slots, given.grace_period) == (tmp_path, tmp_path, None, 5.0)
    assert found.name
    assert options(tmp_path).name != found.name
    assert (found.secret, given.allow_env, given.exit_with_stdin) == (SECRET, (), False)


def test_all_options_are_read(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    words = [
        "--workdir",
        str(tmp_path / "sub"),
        "--slots",
        "3",
        "--memory-budget",
        "1GiB",
        "--grace-period",
        "1m",
    ]
    words += ["--allow-env", "A", "--allow-env", "B", "--preload", "shop", "--name", "w.1"]
    words += ["--exit-with-stdin", "--keep-tmp", "--isolation", "spawn", "--memory-limit", "50%"]
    words += ["--machine-memory", "70%", "--machine-folder", str(tmp_path), "--nice"]

    found = options(tmp_path, *words)
    given = found.arguments

    assert found.workdir is not None
    assert (found.workdir.name, given.slots, given.memory_budget) == ("sub", 3, Amount(size_bytes=1 << 30))
    assert (given.grace_period, given.allow_env) == (60.0, ("A", "B"))
    assert (given.preload, found.name) == (("shop",), "w.1")
    assert (given.exit_with_stdin, given.keep_tmp) == (True, True)
    assert given.isolation == "spawn"
    assert (given.machine_memory, given.machine_folder) == (Amount(fraction=0.7), tmp_path)
    assert given.nice


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            ["--slots", "0"],
            "wrong value for slots: expected a whole number from 1 to 4096, got '0'",
        ),
        (
            ["--slots", "many"],
            "wrong value for slots: expected a whole number from 1 to 4096, got 'many'",
        ),
        (["--slot", "3"], "unknown argument: --slot; did you mean --slots?"),
        (["--memory-bugdet=1GiB"], "unknown argument: --memory-bugdet=1GiB; did you mean --memory-budget?"),
        (["--frobnicate"], "unknown argument: --frobnicate; see --help"),
        (["tests"], "unknown argument: tests; see --help"),
        (["--memory-budget", "much"], "wrong value for memory-budget: expected a size"),
        (["--grace-period", "-1"], "wrong value for grace-period: expected a time"),
        (["--name", "a b"], "wrong value for name: expected up to 64 letters"),
        (["--allow-env", "A=1"], "wrong value for allow-env: expected the name of a variable"),
        (["--workdir", "/"], "--workdir / must be inside the root"),
        (["--secret-file", "/no/such/file"], "--secret-file /no/such/file cannot be read"),
    ],
)
def test_an_invalid_option_is_named(tmp_path: Path, words: list[str], complaint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        options(tmp_path, *words)

    assert str(caught.value).startswith(complaint)


def test_the_broker_may_come_from_a_variable(tmp_path: Path) -> None:
    found = read_options(
        ["--root", str(tmp_path)], {"PASSMUSTER_BROKER_URL": BROKER, "PASSMUSTER_SECRET": SECRET}
    )

    assert found.broker.url == BROKER


def test_without_a_broker_it_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no broker was given: use --broker URL, or set"):
        read_options(["--root", str(tmp_path)], {})


def test_a_file_with_the_secret_wins_over_the_variable(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the file\n", encoding="utf-8")

    found = options(tmp_path, "--secret-file", str(tmp_path / "secret"), PASSMUSTER_SECRET="of the variable")

    assert found.secret == "of the file"
    assert options(tmp_path, PASSMUSTER_SECRET="of the variable").secret == "of the variable"


def test_password_and_secret_may_be_in_files_that_variables_name(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("p/w\n", encoding="utf-8")
    (tmp_path / "secret").write_text("s\n", encoding="utf-8")

    found = read_options(
        ["--broker", "redis://queue.example:6379/0", "--root", str(tmp_path)],
        {
            "PASSMUSTER_BROKER_PASSWORD_FILE": str(tmp_path / "password"),
            "PASSMUSTER_SECRET_FILE": str(tmp_path / "secret"),
            "PASSMUSTER_SECRET": "another",
        },
    )

    assert (found.broker.url, found.secret) == ("redis://:p%2Fw@queue.example:6379/0", "s")
    assert "p%2Fw" not in repr(found)


def test_a_file_that_an_argument_names_wins_over_a_variables(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("pw", encoding="utf-8")

    found = options(
        tmp_path,
        *("--broker-password-file", str(tmp_path / "password")),
        PASSMUSTER_BROKER_PASSWORD_FILE="/no/such/file",
    )

    assert found.broker.url == BROKER


@pytest.mark.parametrize("variable", ["PASSMUSTER_BROKER_PASSWORD_FILE", "PASSMUSTER_SECRET_FILE"])
def test_a_file_that_is_not_there_is_named_with_its_variable(tmp_path: Path, variable: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{variable} /no/such/file cannot be read"):
        options(tmp_path, **{variable: "/no/such/file"})


@pytest.mark.parametrize("broker", ["redis://queue.example:6379", "redis://127.0.0.1:6379"])
def test_a_broker_behind_a_port_needs_a_secret(tmp_path: Path, broker: str) -> None:
    with pytest.raises(ConfigurationError, match="there is no secret"):
        read_options(["--broker", broker, "--root", str(tmp_path)], {})


def test_weak_protection_causes_a_warning(tmp_path: Path) -> None:
    assert options(tmp_path).warnings[1:] == ()
    assert "can be guessed" in options(tmp_path, PASSMUSTER_SECRET="s").warnings[-1]


def test_tests_keep_their_variables_and_see_no_secret() -> None:
    environ = {
        "CELERY_BROKER_URL": "x",
        "PASSMUSTER_SECRET": "s",
        "PASSMUSTER_BROKER_URL": BROKER,
        "PASSMUSTER_SECRET_FILE": "/secret",
        "PASSMUSTER_BROKER_PASSWORD_FILE": "/password",
        "NOTIFY_SOCKET": "/run/systemd/notify",
        "HOME": "/",
    }

    tests_environ = split_environment(environ)

    assert tests_environ == {"CELERY_BROKER_URL": "x", "HOME": "/"}
    # The worker itself reports to systemd.
    assert environ == {"NOTIFY_SOCKET": "/run/systemd/notify", "HOME": "/"}


def test_a_wrong_option_is_one_line_and_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["--broker", "http://x", "--root", str(tmp_path)], {})

    assert status == 2
    assert capsys.readouterr().err.startswith("worker: wrong value for broker: expected redis://")


def test_the_secret_and_the_password_are_never_shown(tmp_path: Path) -> None:
    shown = repr(options(tmp_path, PASSMUSTER_SECRET="hidden"))

    assert "hidden" not in shown
    assert ":pw@" not in shown


def test_a_worker_without_a_root_cannot_have_a_working_directory(tmp_path: Path) -> None:
    environ = {"PASSMUSTER_BROKER_URL": BROKER, "PASSMUSTER_SECRET": SECRET}
    found = read_options(["--setup", "make ready"], environ)
    given = found.arguments

    assert (found.root, found.workdir, given.setup) == (None, None, "make ready")
    with pytest.raises(ConfigurationError, match=r"--workdir needs a root .*: give --root DIR"):
        read_options(["--workdir", str(tmp_path)], environ)


def test_former_names_of_options_work_with_a_note(tmp_path: Path) -> None:
    found = options(tmp_path, "--grace", "2s", "--only-run", "r1")
    given = found.arguments

    assert (given.grace_period, given.only_run_id) == (2.0, "r1")
    assert [note.partition(";")[0] for note in found.warnings[:2]] == [
        "--grace is now --grace-period",
        "--only-run is now --only-run-id",
    ]


def test_the_worker_prints_its_own_completion_script(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"], {}) == 0
    script = capsys.readouterr().out
    assert "--only-run-id" in script
    assert "complete -o filenames -F _run_tests_worker run-tests-worker\n" in script

    assert main(["completion", "tcsh"], {}) == 2
    assert "needs one of bash, zsh, fish, got ['tcsh']" in capsys.readouterr().err
