"""The first start creates the environment once, repairs an interrupted one, and explains failures."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from passmuster.launch import environment
from passmuster.launch import private_venv as first_start
from passmuster.launch.private_venv import CommandResult, clean_environment, make_environment

OK = CommandResult(status=0, output="")


@dataclass(kw_only=True)
class FakeCommands:
    """Stands for venv and pip: does to the disk what they would, and fails where it is told to.

    Args:
        failures: a word of a command, and how the command that holds it ends.
    """

    home: Path
    failures: dict[str, CommandResult | BaseException] = field(default_factory=dict)
    calls: list[tuple[str, ...]] = field(default_factory=list)
    environments: list[Mapping[str, str]] = field(default_factory=list)

    def __call__(
        self, command: Sequence[str], environ: Mapping[str, str], inherited_fd: int
    ) -> CommandResult:
        self.calls.append(tuple(command))
        self.environments.append(environ)
        os.fstat(inherited_fd)
        for word, end in self.failures.items():
            if word in command:
                if isinstance(end, BaseException):
                    raise end
                return end
        python = self.home / ".venv" / "bin" / "python"
        if "venv" in command:
            python.parent.mkdir(parents=True, exist_ok=True)
            (self.home / ".venv" / "pyvenv.cfg").touch()
            python.write_text("")
            python.chmod(0o755)
        elif command[0] == str(python) and not python.exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command[0])
        return CommandResult(status=0, output=environment.python_tag() + "\n") if "-c" in command else OK

    def count(self, word: str) -> int:
        """Return how many commands held `word`."""
        return sum(word in call for call in self.calls)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "home"
    (folder / "requirements").mkdir(parents=True)
    (folder / "requirements" / "runtime.txt").write_text("tiny-thing==1.0  # the one\n\nOther==2.0\n")
    (folder / "requirements" / "dev.txt").write_text("-r runtime.txt\ntool==3.0\n")
    return folder


def is_ready(home: Path, *groups: str) -> bool:
    digests = environment.group_digests(str(home), groups or ("runtime",))
    return environment.is_ready(str(home / ".venv"), digests, tag=environment.python_tag())


def line_of_failure(home: Path, fake: FakeCommands, capsys: pytest.CaptureFixture[str]) -> str:
    """Make the environment, which must fail with status 3; return the one line that is no progress."""
    with pytest.raises(SystemExit) as left:
        make_environment(home=str(home), groups=("runtime",), run=fake)
    assert left.value.code == 3
    assert not is_ready(home)
    captured = capsys.readouterr()
    assert captured.out == ""
    [line] = [line for line in captured.err.splitlines() if not line.startswith("[INFO] ")]
    return line.removeprefix("passmuster: ")


def test_the_first_start_creates_installs_and_says_so(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake = FakeCommands(home=home)

    make_environment(home=str(home), groups=("runtime",), run=fake)

    assert is_ready(home)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"[INFO] First start: creating a private environment in {home / '.venv'}"
    assert "[INFO] Installing tiny-thing==1.0, Other==2.0" in said
    assert said[-1].startswith("[INFO] Private environment ready after ")
    python = str(home / ".venv" / "bin" / "python")
    install = next(call for call in fake.calls if "install" in call)
    assert install[:4] == (python, "-I", "-m", "pip")
    assert install[-1] == f"-r{home / 'requirements' / 'runtime.txt'}"


def test_a_group_more_is_added_to_the_environment_that_is_there(home: Path) -> None:
    make_environment(home=str(home), groups=("runtime",), run=FakeCommands(home=home))
    fake = FakeCommands(home=home)

    make_environment(home=str(home), groups=("runtime", "dev"), run=fake)

    assert is_ready(home, "runtime", "dev")
    assert fake.count("venv") == 0


def test_who_finds_it_ready_after_waiting_does_nothing(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_environment(home=str(home), groups=("runtime",), run=FakeCommands(home=home))
    capsys.readouterr()
    late = FakeCommands(home=home)

    make_environment(home=str(home), groups=("runtime",), run=late)

    assert late.calls == []
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("word", ["venv", "install", "-c"])
def test_the_remains_of_an_interrupted_start_are_removed(home: Path, word: str) -> None:
    with pytest.raises(SystemExit) as left:
        make_environment(
            home=str(home),
            groups=("runtime",),
            run=FakeCommands(home=home, failures={word: KeyboardInterrupt()}),
        )
    assert left.value.code == 130
    assert not is_ready(home)
    half = home / ".venv" / "lib" / "half-installed"
    half.parent.mkdir(parents=True, exist_ok=True)
    half.touch()

    make_environment(home=str(home), groups=("runtime",), run=FakeCommands(home=home))

    assert is_ready(home)
    assert not half.exists()


def test_an_environment_whose_interpreter_is_gone_is_created_again(home: Path) -> None:
    make_environment(home=str(home), groups=("runtime",), run=FakeCommands(home=home))
    [marker] = (home / ".venv").glob(".passmuster-runtime-*")
    marker.rename(marker.with_name(marker.name.replace(environment.python_tag(), "cpython-399")))
    (home / ".venv" / "bin" / "python").unlink()
    fake = FakeCommands(home=home)

    make_environment(home=str(home), groups=("runtime",), run=fake)

    assert is_ready(home)
    assert fake.count("venv") == 1


def test_an_environment_of_the_user_is_completed_and_not_removed(home: Path) -> None:
    FakeCommands(home=home)(["python", "-m", "venv"], {}, 0)
    theirs = home / ".venv" / "theirs"
    theirs.touch()

    make_environment(home=str(home), groups=("runtime",), run=FakeCommands(home=home))

    assert is_ready(home)
    assert theirs.exists()


def test_a_folder_that_is_no_environment_is_never_removed(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / ".venv").mkdir()
    (home / ".venv" / "thesis.txt").touch()

    for _ in range(2):
        line = line_of_failure(home, FakeCommands(home=home), capsys)
        assert line == f"{home / '.venv'} exists and is not a virtual environment; move it away"
    assert (home / ".venv" / "thesis.txt").exists()


def test_no_network_names_what_is_missing_and_the_command(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = (
        "WARNING: Retrying (Retry(total=4)) after connection broken\n"
        "ERROR: Could not find a version that satisfies tiny-thing==1.0 (from versions: none)\n"
        "ERROR: No matching distribution found for tiny-thing==1.0\n"
    )
    (home / ".venv" / "lib" / "python" / "site-packages" / "other-2.0.dist-info").mkdir(parents=True)
    (home / ".venv" / "pyvenv.cfg").touch()
    python = home / ".venv" / "bin" / "python"
    python.parent.mkdir()
    python.touch()

    line = line_of_failure(
        home, FakeCommands(home=home, failures={"install": CommandResult(status=1, output=output)}), capsys
    )

    assert line == (
        "could not install tiny-thing==1.0: Could not find a version that satisfies"
        " tiny-thing==1.0 (from versions: none); is there a network? Start again, or run:"
        f" {python} -I -m pip install --no-input --disable-pip-version-check"
        f" -r{home / 'requirements' / 'runtime.txt'}"
    )


def test_a_failed_install_of_many_packages_names_the_first_and_counts_the_others(home: Path) -> None:
    line = first_start.explain_failed_install(
        CommandResult(status=1, output="ERROR: No matching distribution found\n"),
        missing=["a==1", "b==2", "c==3", "d==4", "e==5"],
        command=["pip"],
        home=home,
    )

    assert line.startswith("could not install a==1, b==2, c==3, and 2 more: No matching distribution found;")


def test_after_a_failed_install_the_next_start_reuses_what_is_installed(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    offline = CommandResult(status=1, output="ERROR: No matching distribution found\n")
    line_of_failure(home, FakeCommands(home=home, failures={"install": offline}), capsys)
    fake = FakeCommands(home=home)

    make_environment(home=str(home), groups=("runtime",), run=fake)

    assert is_ready(home)
    assert fake.count("venv") == 0


NO_ENSUREPIP = CommandResult(
    status=1,
    output="The virtual environment was not created successfully because ensurepip is not\navailable.\n",
)


@pytest.mark.parametrize(
    "broken", [NO_ENSUREPIP, CommandResult(status=1, output="/usr/bin/python3: No module named venv\n")]
)
def test_a_python_without_venv_and_pip_gets_the_package_that_has_them(
    home: Path, broken: CommandResult, capsys: pytest.CaptureFixture[str]
) -> None:
    no_pip = CommandResult(status=1, output="No module named pip\n")

    line = line_of_failure(home, FakeCommands(home=home, failures={"venv": broken, "pip": no_pip}), capsys)

    version = "{}.{}".format(*sys.version_info[:2])
    assert f"apt install python{version}-venv) and start again" in line
    assert environment.base_python() in line


def test_a_python_without_ensurepip_but_with_pip_installs_from_outside(home: Path) -> None:
    fake = FakeCommands(home=home)

    def no_ensurepip(command: Sequence[str], environ: Mapping[str, str], fd: int) -> CommandResult:
        if "venv" in command and "--without-pip" not in command:
            return NO_ENSUREPIP
        return fake(command, environ, fd)

    make_environment(home=str(home), groups=("runtime",), run=no_ensurepip)

    assert is_ready(home)
    install = next(call for call in fake.calls if "install" in call)
    python = str(home / ".venv" / "bin" / "python")
    assert install[:7] == (environment.base_python(), "-I", "-m", "pip", "--python", python, "install")


def test_a_python_without_ensurepip_and_pip_installs_by_a_wheel_of_pip(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / "pip-26.0-py3-none-any.whl").touch()
    monkeypatch.setenv("PIP_FIND_LINKS", f"{tmp_path / 'nowhere'} {wheels}")
    fake = FakeCommands(home=home)

    def bare(command: Sequence[str], environ: Mapping[str, str], fd: int) -> CommandResult:
        if "venv" in command and "--without-pip" not in command:
            return NO_ENSUREPIP
        return (
            CommandResult(status=1, output="No module named pip\n")
            if "pip" in command
            else fake(command, environ, fd)
        )

    make_environment(home=str(home), groups=("runtime",), run=bare)

    assert is_ready(home)
    install = next(call for call in fake.calls if "install" in call)
    python = str(home / ".venv" / "bin" / "python")
    assert install[:4] == (python, "-I", f"{wheels}/pip-26.0-py3-none-any.whl/pip", "install")

    make_environment(home=str(home), groups=("runtime", "dev"), run=bare)

    assert is_ready(home, "runtime", "dev")
    assert fake.count("--without-pip") == 1  # A group more does not need another environment.


def test_another_failure_of_venv_is_quoted(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = CommandResult(status=1, output="Traceback:\nValueError: a strange thing\n")

    line = line_of_failure(home, FakeCommands(home=home, failures={"venv": broken}), capsys)

    assert line == f"could not create {home / '.venv'}: ValueError: a strange thing"


def test_a_full_disk_under_pip_is_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    full = CommandResult(status=1, output="ERROR: Could not install: [Errno 28] No space left on device\n")

    line = line_of_failure(home, FakeCommands(home=home, failures={"install": full}), capsys)

    assert "no space left on device; it needs about 100 MB" in line


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "free some and start again"),
        (errno.EDQUOT, "free some and start again"),
        (errno.EROFS, "make the directory writable"),
        (errno.EACCES, "make the directory writable"),
        (errno.EIO, "remove .venv and .venv.lock there"),
    ],
)
def test_a_disk_that_refuses_is_explained(
    home: Path, number: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = FakeCommands(home=home, failures={"venv": OSError(number, os.strerror(number))})
    if number == errno.EACCES:
        broken = FakeCommands(home=home)
        (home / ".venv.lock").mkdir()
        words = "is a directory"

    line = line_of_failure(home, broken, capsys)

    assert line.startswith(f"cannot create the private environment in {home}: ")
    assert words in line


def test_pip_sees_where_packages_come_from_but_not_where_they_would_go() -> None:
    environ = {
        "PATH": "/bin",
        "HTTPS_PROXY": "http://proxy",
        "SSL_CERT_FILE": "/ca.pem",
        "PIP_INDEX_URL": "http://index",
        "PIP_CERT": "/ca.pem",
        "PIP_USER": "1",
        "PIP_TARGET": "/elsewhere",
        "PIP_REQUIRE_VIRTUALENV": "1",
        "PIP_REQUIRE_HASHES": "1",
        "PYTHONHOME": "/nowhere",
        "PYTHONPATH": "/users",
        "VIRTUAL_ENV": "/users/venv",
    }

    assert clean_environment(environ) == {
        "PATH": "/bin",
        "HTTPS_PROXY": "http://proxy",
        "SSL_CERT_FILE": "/ca.pem",
        "PIP_INDEX_URL": "http://index",
        "PIP_CERT": "/ca.pem",
        "PIP_USER": "0",
        "PIP_REQUIRE_VIRTUALENV": "0",
    }


def test_a_command_that_prints_shows_its_downloads_as_progress(capsys: pytest.CaptureFixture[str]) -> None:
    lines = "Collecting tiny==1.0 (from -r file)\\nWARNING: Retrying (4)\\n  Downloading\\nERROR: broken"
    command = [sys.executable, "-c", f"import sys; print('{lines}'); sys.exit(5)"]
    read_end, write_end = os.pipe()
    try:
        done = first_start.run_command(command, dict(os.environ), write_end)
    finally:
        os.close(read_end)
        os.close(write_end)

    assert done.status == 5
    assert done.output.splitlines()[-1] == "ERROR: broken"
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "[INFO]   tiny==1.0",
        "[INFO]   no answer from the package index; trying again",
    ]
