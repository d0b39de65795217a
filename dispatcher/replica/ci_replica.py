"""Runs the unit tests as CI would: in a clean environment, with a CI runner's CPUs and memory.

`environment` defines that environment, and the workflow modules what a workflow's job runs in it.
`run_ci_replica.py` passes in the function that runs the tests, because the dispatcher does not know the
composition roots.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TextIO

from dispatcher.model.exit_codes import ExitCode
from dispatcher.replica.environment import Environment, HostResources, setup_ci_environment, this_machine
from dispatcher.replica.words import PROGRAMS, ROWS, WORDS, ReplicaArguments, format_help
from dispatcher.replica.workflow_command import Replica, RunTests
from dispatcher.terminal.tags import Tag, tagged
from passmuster.model.errors import ConfigurationError
from passmuster.model.units import Amount, format_bytes
from passmuster.model.version import VERSION
from passmuster.settings.argument_parser import read_record, refuse_problems, refuse_unknown
from passmuster.settings.origins import Origins
from passmuster.settings.path_resolver import PathResolver
from passmuster.settings.relations import Relations
from passmuster.settings.values import on_one_line

PROJECT_SIGNS = ("pyproject.toml", "setup.py", "setup.cfg", ".git", "tests")
"""Any of these makes a folder a project root. With a `mvp_site/` only the shell script's test counts."""


class CIReplicaRunner:
    """Runs the unit tests of a project as CI would.

    Args:
        root: the project root, which must be the current directory of the caller.
        cpus: CPUs to imitate; None: those of GitHub's standard runner.
        memory: memory to imitate; None: that of GitHub's standard runner.
        machine: the resources of this machine; None: detected.
        replica: what a workflow's job runs; None: the unit tests.
        is_dry: whether each run only prints what it would do.
        is_installing: whether a workflow's steps that install packages run, in a private environment.
        out: receives the report; None: standard output.
    """

    def __init__(
        self,
        *,
        run: RunTests,
        environ: Mapping[str, str],
        root: Path,
        cpus: int | None = None,
        memory: Amount | None = None,
        machine: HostResources | None = None,
        replica: Replica | None = None,
        is_dry: bool = False,
        is_installing: bool = False,
        out: TextIO | None = None,
        color: bool = False,
    ) -> None:
        self._run = run
        self._environ = environ
        self._root = root
        self._cpus = cpus
        self._memory = memory
        self._machine = machine or this_machine()
        self._replica = replica
        self._is_dry = is_dry
        self._is_installing = is_installing
        self._out = out or sys.stdout
        self._color = color

    def setup_ci_environment(self, scratch: Path) -> Environment:
        """Return the environment for the tests, with its files in the directory `scratch`."""
        return setup_ci_environment(
            self._environ,
            root=self._root,
            scratch=scratch,
            machine=self._machine,
            cpus=self._cpus,
            memory=self._memory,
        )

    def run_ci_tests(self) -> int:
        """Run the tests and print what CI would print.

        Returns:
            0 if they passed, 1 if they failed or this is not a project root. The other statuses of the run
                stay unchanged, because CI would not fail that way: 2 (usage), 3 (infrastructure), 130
                (interrupted).
        """
        missing = missing_project_sign(self._root)
        if missing is not None:
            self._say(Tag.FAIL, f"Run this from the project root: {self._root} has no {missing}")
            return ExitCode.FAILED
        with tempfile.TemporaryDirectory(prefix="ci-replica-", ignore_cleanup_errors=True) as folder:
            scratch = Path(folder)
            environment = self.setup_ci_environment(scratch)
            for name in ("home", "tmp"):
                (scratch / name).mkdir()
            self._describe(environment)
            with _bound_to(environment.cpus if self._machine.is_bindable else ()):
                if self._replica is None:
                    status = self._run(environment.arguments(), dict(environment.variables))
                else:
                    status = self._run_job(self._replica, environment, scratch)
        if not (self._is_dry and status == ExitCode.OK):
            self._conclude(status)
        return status

    def _run_job(self, replica: Replica, environment: Environment, scratch: Path) -> int:
        # Imported only for a workflow, because it needs many modules.
        from dispatcher.replica.job_run import JobRun
        from dispatcher.replica.script_run import ScriptRunner

        variables = dict(environment.variables)
        job = JobRun(
            replica=replica,
            run_tests=self._run,
            say=self._say,
            scripts=ScriptRunner(root=self._root, scratch=scratch, variables=variables),
            limits=environment.arguments(),
            environ=self._environ,
            is_dry=self._is_dry,
            is_installing=self._is_installing,
        )
        return job.run()

    def _describe(self, environment: Environment) -> None:
        self._say(Tag.INFO, "🔄 Running CI Environment Replica")
        cpus, memory = len(environment.cpus), format_bytes(environment.memory_bytes)
        self._say(
            Tag.INFO, f"Imitated: {cpus} CPU(s), {memory} of memory, a fresh home, C.UTF-8, no terminal"
        )
        removed = environment.removed
        if removed:
            self._say(Tag.INFO, f"Removed {len(removed)} variable(s): {', '.join(removed)}")
        for remark in environment.remarks:
            self._say(Tag.WARN, remark)
        self._say(Tag.INFO, f"Not imitated: {'; '.join(environment.unsupported)}")

    def _conclude(self, status: int) -> None:
        if status == ExitCode.OK:
            self._say(Tag.PASS, "CI replica passed: CI should pass")
        elif status in (ExitCode.FAILED, ExitCode.NO_TESTS):
            self._say(Tag.FAIL, "CI replica failed: CI would fail the same way")
        elif status == ExitCode.INTERRUPTED:
            self._say(Tag.WARN, "CI replica was interrupted: this is no result for CI")
        else:
            self._say(Tag.FAIL, f"CI replica could not run the tests (exit status {status})")

    def _say(self, tag: Tag, text: str) -> None:
        self._out.write(tagged(tag, text, color=self._color) + "\n")
        self._out.flush()


def missing_project_sign(root: Path) -> str | None:
    """Return the files that `root` lacks to be a project root; None: none."""
    if (root / "mvp_site").is_dir():
        needed = "mvp_site/requirements.txt"
        return None if (root / needed).is_file() else needed
    if any((root / sign).exists() for sign in PROJECT_SIGNS):
        return None
    return f"{', '.join(PROJECT_SIGNS[:-1])} or {PROJECT_SIGNS[-1]}"


def run_replica_command(
    argv: Sequence[str], environ: Mapping[str, str], *, run: RunTests, color: bool = False
) -> int:
    """Run `run_ci_replica.py` in the current directory; return its exit status.

    Raises:
        ConfigurationError: an argument has a wrong value, or is misspelt.
    """
    arguments = WORDS.parse(argv)
    if arguments.wants_help or arguments.wants_version:
        program = Path(sys.argv[0]).name
        sys.stdout.write(f"{format_help(program) if arguments.wants_help else f'{program} {VERSION}'}\n")
        return ExitCode.OK
    if argv and argv[0] == "completion":
        from passmuster.settings.completion import completion_of_program  # Rarely needed.

        sys.stdout.write(completion_of_program(PROGRAMS, ROWS, argv[1:]))
        return ExitCode.OK
    refuse_problems(arguments)
    refuse_unknown(arguments.unknown, WORDS, only_misspelt=True)
    # As typed: the workflow's path is shown as it was given.
    options = read_record(ReplicaArguments, arguments.given, PathResolver(cwd=Path(), root=Path()))
    origins = Origins({one.setting.name: one.origin for one in arguments.given})
    Relations(ROWS, options, origins).check()
    for word in (*arguments.unknown, *arguments.paths):
        # The shell script ignored all arguments.
        sys.stderr.write(tagged(Tag.WARN, f"Unknown argument: {on_one_line(word)}", color=color) + "\n")
    replica = CIReplicaRunner(
        run=run,
        environ=environ,
        root=Path.cwd(),
        cpus=options.cpus,
        memory=options.memory,
        replica=None if options.workflow is None else _read_replica(options.workflow, options, environ),
        is_dry=options.dry_run,
        is_installing=options.install,
        color=color,
    )
    return replica.run_ci_tests()


def _read_replica(workflow: Path, options: ReplicaArguments, environ: Mapping[str, str]) -> Replica:
    # Loads PyYAML, which only this needs.
    try:
        from dispatcher.replica.reading import read_file, read_workflow
    except ModuleNotFoundError as error:
        if error.name != "yaml":
            raise
        raise ConfigurationError(
            "--workflow needs the package PyYAML, which is not installed here: pip install PyYAML"
        ) from error
    from dispatcher.replica.choose import choose_job
    from dispatcher.replica.python import version_here

    return choose_job(
        read_workflow(workflow),
        workspace=str(Path.cwd()),
        wanted=options.job,
        step=options.step,
        python=version_here(Path.cwd(), environ, is_private=options.install),
        load=partial(read_file, root=Path.cwd()),
    )


@contextmanager
def _bound_to(cpus: Sequence[int]) -> Iterator[None]:
    """Bind this process and its children to some CPUs while the context lasts; to all if none are named."""
    if not cpus:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
