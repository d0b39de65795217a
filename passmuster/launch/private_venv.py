"""Creates or repairs the private environment next to the script: the slow path of `bootstrap`.

Uses the standard library only, because nothing else is installed when it runs. One process does the work
under a lock; other processes that start meanwhile wait for it. The lock file contains `making` until the work
is complete, so the next start discards the remains of an interrupted one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from passmuster.launch import environment

EXIT_INTERRUPTED = 130
_MAKING = b"making\n"
_FIND_LINKS = "PIP_FIND_LINKS"
_SHOWN_PINS = 3

_PIP_SETTINGS_KEPT = frozenset(
    {
        *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX", _FIND_LINKS, "PIP_TRUSTED_HOST"),
        *("PIP_CERT", "PIP_CLIENT_CERT", "PIP_KEYRING_PROVIDER", "PIP_PROXY", "PIP_CONFIG_FILE"),
        *("PIP_CACHE_DIR", "PIP_NO_CACHE_DIR", "PIP_DEFAULT_TIMEOUT", "PIP_TIMEOUT", "PIP_RETRIES"),
    }
)
"""The settings of the package index. Other settings of pip, such as target directories, could break the
installation.
"""


class FirstStartError(Exception):
    """The environment cannot be created; the message is the one line for the user."""


class CommandResult(NamedTuple):
    """A finished command, with both streams in one output."""

    status: int
    output: str


Run = Callable[[Sequence[str], Mapping[str, str], int], CommandResult]
"""Runs a command with an environment and an inherited descriptor; tests pass a fake."""


def make_environment(*, home: str, groups: tuple[str, ...], run: Run | None = None) -> None:
    """Complete `.venv` of the checkout `home` for `groups`, or exit with one line.

    Args:
        groups: the files of `requirements/` to install, without `.txt`.
        run: how commands are run; None: as processes, with their progress shown.

    Raises:
        SystemExit: 3 after an expected error, 130 after an interrupt.
    """
    try:
        _make_under_lock(Path(home), groups, run or run_command)
    except FirstStartError as error:
        environment.fail(str(error))
    except OSError as error:
        environment.fail(explain_os_error(error, home=home))
    except KeyboardInterrupt:
        say("Interrupted; the next start creates the private environment again.")
        raise SystemExit(EXIT_INTERRUPTED) from None


def say(line: str) -> None:
    """Print a line of progress on stderr: stdout belongs to the run."""
    sys.stderr.write(f"[INFO] {line}\n")
    sys.stderr.flush()


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` without variables that would redirect Python or pip away from `.venv`."""
    kept = {
        name: value
        for name, value in environ.items()
        if not name.startswith(("PYTHON", "PIP_", "__PYVENV")) or name in _PIP_SETTINGS_KEPT
    }
    kept.pop("VIRTUAL_ENV", None)
    # A variable is stronger than pip's configuration file, which may contain `user = true`.
    kept.update(PIP_USER="0", PIP_REQUIRE_VIRTUALENV="0")
    return kept


def run_command(command: Sequence[str], environ: Mapping[str, str], inherited_fd: int) -> CommandResult:
    """Run `command` and show the progress that pip prints.

    Args:
        inherited_fd: the lock, which the command keeps if this process is killed.
    """
    with subprocess.Popen(
        command,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        pass_fds=(inherited_fd,),
    ) as process:
        assert process.stdout is not None
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Collecting "):
                say(f"  {line.split()[1]}")
            elif line.startswith("WARNING: Retrying "):
                say("  no answer from the package index; trying again")
    return CommandResult(status=process.returncode, output="".join(lines))


def _make_under_lock(home: Path, groups: tuple[str, ...], run: Run) -> None:
    lock_fd = os.open(home / ".venv.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        _take_lock(lock_fd, home)
        if _is_usable(home, groups):
            return
        started = time.monotonic()
        say(f"First start: creating a private environment in {home / '.venv'}")
        was_interrupted = os.pread(lock_fd, len(_MAKING), 0) == _MAKING
        if not was_interrupted:
            _refuse_foreign_folder(home / ".venv")
        os.pwrite(lock_fd, _MAKING, 0)
        maker = _Maker(home=home, groups=groups, run=run, lock_fd=lock_fd)
        try:
            maker.make(from_scratch=was_interrupted)
        except FirstStartError:
            # The command ended by itself, so what it left can be checked and reused.
            os.ftruncate(lock_fd, 0)
            raise
        os.ftruncate(lock_fd, 0)
        say(f"Private environment ready after {time.monotonic() - started:.1f}s")
    finally:
        os.close(lock_fd)


def _take_lock(lock_fd: int, home: Path) -> None:
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say(f"Another start is creating the private environment in {home / '.venv'}; waiting for it")
        fcntl.flock(lock_fd, fcntl.LOCK_EX)


def _refuse_foreign_folder(venv: Path) -> None:
    """Refuse a directory of the user that only has the name of the private environment."""
    if os.path.lexists(venv) and not (venv / "pyvenv.cfg").exists() and any(venv.iterdir()):
        raise FirstStartError(f"{venv} exists and is not a virtual environment; move it away")


def _is_usable(home: Path, groups: tuple[str, ...]) -> bool:
    """Whether the environment is ready, for this Python or for another one that still exists."""
    venv = str(home / ".venv")
    digests = environment.group_digests(str(home), groups)
    if environment.is_ready(venv, digests, tag=environment.python_tag()):
        return True
    python = environment.private_python(home)
    return os.access(python, os.X_OK) and bool(environment.ready_tags(venv, digests))


class _Maker(NamedTuple):
    """One attempt to create the environment, while the lock is held."""

    home: Path
    groups: tuple[str, ...]
    run: Run
    lock_fd: int

    @property
    def _venv(self) -> Path:
        return self.home / ".venv"

    def make(self, *, from_scratch: bool) -> None:
        """Complete the environment; `from_scratch`: do not reuse what exists."""
        python = environment.private_python(self.home)
        for marker in self._venv.glob(environment.marker_name("*", "*", "*")):
            marker.unlink()
        pip = [] if from_scratch else self._pip_for(python)
        self._install(pip or self._create(python))
        tag = self._tag(python)
        for group, digest in environment.group_digests(str(self.home), self._complete_groups()):
            (self._venv / environment.marker_name(group, tag, digest)).touch()

    def _complete_groups(self) -> tuple[str, ...]:
        """Return all groups whose pins are installed, including those that were not requested."""
        others = sorted({path.stem for path in (self.home / "requirements").glob("*.txt")} - {*self.groups})
        return (*self.groups, *(group for group in others if not missing_pins(self.home, (group,))))

    def _run(self, command: Sequence[str]) -> CommandResult:
        try:
            return self.run(command, clean_environment(os.environ), self.lock_fd)
        except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
            return CommandResult(status=127, output=f"{command[0]}: {error.strerror}\n")

    def _create(self, python: str) -> list[str]:
        """Create the empty environment; return the command of the pip that installs into it."""
        if os.path.lexists(self._venv):
            say(f"Removing the incomplete {self._venv}")
            shutil.rmtree(self._venv)
        base = environment.base_python()
        say(f"Creating it with {base}")
        created = self._run([base, "-I", "-m", "venv", str(self._venv)])
        if created.status == 0:
            return [python, "-I", "-m", "pip"]
        if not any(text in created.output for text in ("ensurepip", "No module named venv")):
            raise FirstStartError(f"could not create {self._venv}: {_reason(created)}")
        # Debian's Python has no ensurepip, but another pip can install into the environment.
        pip = self._other_pip(base, python)
        bare = [base, "-I", "-m", "venv", "--clear", "--without-pip", str(self._venv)]
        if pip and self._run(bare).status == 0:
            return pip
        # Not python3-venv: that is for the distribution's default Python, which may be another one.
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        raise FirstStartError(
            f"{base} cannot create environments, because its venv module is incomplete; install it"
            f" (on Debian and Ubuntu: apt install {package}) and start again"
        )

    def _pip_for(self, python: str) -> list[str]:
        """Return the command of a pip for the environment that exists; []: the environment is of no use."""
        if self._run([python, "-I", "-m", "pip", "--version"]).status == 0:
            return [python, "-I", "-m", "pip"]
        if self._run([python, "-I", "-c", ""]).status == 0:
            return self._other_pip(environment.base_python(), python)
        return []

    def _other_pip(self, base: str, python: str) -> list[str]:
        """Return the command of the base's own pip, or of a wheel of pip in PIP_FIND_LINKS; else []."""
        if self._run([base, "-I", "-m", "pip", "--version"]).status == 0:
            return [base, "-I", "-m", "pip", "--python", python]
        folders = (Path(place.removeprefix("file://")) for place in os.environ.get(_FIND_LINKS, "").split())
        wheels = (wheel for folder in folders for wheel in folder.glob("pip-*.whl"))
        return next(([python, "-I", f"{wheel}/pip"] for wheel in wheels), [])

    def _install(self, pip: Sequence[str]) -> None:
        options = ["--no-input", "--disable-pip-version-check"]
        files = [f"-r{self.home / 'requirements' / group}.txt" for group in self.groups]
        say(f"Installing {_shortened(missing_pins(self.home, self.groups)) or 'nothing'}")
        command = [*pip, "install", *options, *files]
        installed = self._run(command)
        if installed.status != 0:
            raise FirstStartError(
                explain_failed_install(
                    installed, missing=missing_pins(self.home, self.groups), command=command, home=self.home
                )
            )

    def _tag(self, python: str) -> str:
        """Return the tag of the environment's own Python, which may differ from the running one."""
        code = "import sys; print(sys.implementation.cache_tag + getattr(sys, 'abiflags', ''))"
        asked = self._run([python, "-I", "-c", code])
        if asked.status != 0:
            raise FirstStartError(f"{python} does not start: {_reason(asked)}")
        return asked.output.strip()


def pins(path: Path) -> dict[str, str]:
    """Return the version of each pin in a requirements file and in the files it includes, by its name."""
    found: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if text.startswith("-r"):
            found |= pins(path.parent / text[2:].strip())
        elif text:
            name, _, version = text.partition("==")
            found[name.strip()] = version.strip()
    return found


def missing_pins(home: Path, groups: tuple[str, ...]) -> tuple[str, ...]:
    """Return the pins of `groups` that are not installed in the environment, as `name==version`."""

    def normalized(text: str) -> str:
        return text.lower().replace("-", "_").replace(".", "_")

    wanted: dict[str, str] = {}
    for group in groups:
        wanted |= pins(home / "requirements" / f"{group}.txt")
    installed = (home / ".venv").glob("lib/*/site-packages/*.dist-info")
    present = {normalized(entry.name.removesuffix(".dist-info")) for entry in installed}
    return tuple(
        f"{name}=={version}"
        for name, version in wanted.items()
        if normalized(f"{name}_{version}") not in present
    )


def explain_failed_install(
    installed: CommandResult, *, missing: Sequence[str], command: Sequence[str], home: Path
) -> str:
    """Return the line for a failed pip: what is missing, why, and the command to try."""
    if "No space left on device" in installed.output or "Disk quota exceeded" in installed.output:
        return explain_os_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), home=str(home))
    question = "is there a network?"
    if os.environ.get("PIP_NO_INDEX"):
        question = (
            f"PIP_NO_INDEX is set: does {_FIND_LINKS} ({os.environ.get(_FIND_LINKS, 'not set')}) have them?"
        )
    return (
        f"could not install {_shortened(missing) or 'the requirements'}: {_reason(installed)};"
        f" {question} Start again, or run: {' '.join(command)}"
    )


def explain_os_error(error: OSError, *, home: str) -> str:
    """Return the line for a failed operation on the disk."""
    where = f"cannot create the private environment in {home}"
    reason = (error.strerror or str(error)).lower()
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{where}: {reason}; it needs about 100 MB, free some and start again"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"{where}: {reason}; make the directory writable, or move the checkout to one that is"
    named = f" ({error.filename})" if error.filename else ""
    return f"{where}: {reason}{named}; remove .venv and .venv.lock there and start again"


def _shortened(names: Sequence[str]) -> str:
    """Return the first names and the number of the others; '' if there are none."""
    shown, others = names[:_SHOWN_PINS], len(names) - _SHOWN_PINS
    return ", ".join(shown) + (f", and {others} more" if others > 0 else "")


def _reason(finished: CommandResult) -> str:
    """Return the line with the reason: pip marks it with ERROR, Python prints it last."""
    lines = [line.strip() for line in finished.output.splitlines() if line.strip()]
    marked = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    if marked:
        return marked[0]
    return lines[-1] if lines else f"exit status {finished.status}"
