"""Tells what a command of a CI script is for: to run tests, to install, or something else. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum, auto

from dispatcher.model.invocation import Invocation

_RUNNER = re.compile(r"(run[_-]tests|run[_-]ci[_-]replica)(\.py|\.sh)?")


class CommandKind(Enum):
    """What a command is for."""

    RUNNER = auto()
    """One of this program's commands, or a script that they replace."""
    TEST = auto()
    """Another program that runs Python tests."""
    OTHER_LANGUAGE = auto()
    """A program that runs the tests of another language."""
    INSTALL = auto()
    """It installs Python packages into the active environment."""
    MACHINE = auto()
    """It installs programs on the machine."""
    OTHER = auto()


_TEST_PROGRAMS = {
    *("pytest", "py.test", "unittest", "nose2", "nosetests", "green", "ward", "behave", "trial", "stestr"),
    *("pytest-3", "zope-testrunner", "runtests", "ptw", "doctest"),
}
_ENVIRONMENT_RUNNERS = {
    "tox": ("-e", "--env", "-f", "-m"),
    "nox": ("-s", "-e", "--session", "--sessions", "-t", "--tags"),
}
"""Programs that run tests unless the environments behind these options do not."""

_TEST_TOOLS = {
    *("manage.py", "setup.py", "django-admin", "hatch", "spin", "pants", "bazel", "dev.py", "rye", "pdm"),
}
"""Programs that run Python tests as `NAME test`."""

_TASK_RUNNERS = {"make", "gmake", "just", "task", "invoke", "inv", "doit", "rake"}
_LANGUAGES = {
    **dict.fromkeys(
        ("npm", "npx", "yarn", "pnpm", "bun", "node", "deno", "jest", "vitest", "mocha"), "JavaScript"
    ),
    "cargo": "Rust",
    "go": "Go",
    **dict.fromkeys(("mvn", "gradle", "gradlew"), "Java"),
    "dotnet": ".NET",
    **dict.fromkeys(("ctest", "ninja", "meson"), "C or C++"),
    **dict.fromkeys(("bundle", "rspec"), "Ruby"),
    "bats": "shell",
}
_MACHINE_PROGRAMS = {
    *("apt", "apt-get", "apk", "yum", "dnf", "pacman", "zypper", "brew", "choco", "snap", "dpkg"),
    *("locale-gen", "systemctl", "service", "modprobe", "sysctl", "conda", "mamba", "micromamba"),
}
_INSTALLERS: dict[str, tuple[str, ...]] = {
    "pip": ("install", "uninstall"),
    "pip3": ("install", "uninstall"),
    "uv": ("sync", "pip", "venv", "add", "tool", "lock"),
    "poetry": ("install", "config", "self", "add", "update", "lock", "env"),
    "pdm": ("install", "sync", "add", "config"),
    "pipenv": ("install", "sync"),
    "hatch": ("env",),
    "pipx": ("install", "inject"),
    "pip-sync": (),
    "flit": ("install",),
    "ensurepip": (),
    "venv": (),
    "virtualenv": (),
}
"""With their subcommands that install; empty: all do."""

_TESTING = {
    *("test", "tests", "testing", "unittest", "unittests", "pytest", "unit", "runtests", "testsuite", "tox"),
    *("integration", "functional", "nox"),
}
_NOT_TESTING = {
    *("lint", "linter", "linting", "docs", "doc", "mypy", "typing", "types", "typecheck", "pyright", "style"),
    *("format", "fmt", "build", "dist", "package", "release", "publish", "precommit", "flake", "pylint"),
    *("ruff", "black", "isort", "pep", "changelog", "report", "combine", "bench", "benchmark", "benchmarks"),
    *("security", "audit", "deploy", "clean", "install", "setup", "deps", "requirements", "upload"),
    *("download", "cache", "prepare", "summary", "results", "artifact", "artifacts", "environment", "env"),
    *("dependencies", "publishing", "commit", "collect", "stop", "start", "dump", "generate"),
}
_MAKE_TARGETS = {"check", "ci", "coverage", "cov"}


def words_of(text: str) -> set[str]:
    """Return the words of a name: `test` and `ci` of `test-ci`, `run` and `tests` of `run_tests.sh`."""
    return {word for word in re.split(r"[^a-z]+", text.lower()) if word}


def names_tests(text: str) -> bool:
    """Return whether a name says that it is about running tests."""
    words = words_of(text)
    return bool(words & _TESTING) and not words & _NOT_TESTING


def names_installation(text: str) -> bool:
    """Return whether a name says that it is about installing."""
    return bool(words_of(text) & {"install", "installing", "dependencies", "requirements", "deps"})


def kind_of(words: Sequence[str], invocation: Invocation, variables: Mapping[str, str]) -> CommandKind:
    """Return what a command is for.

    Args:
        variables: those of its environment that are known.
    """
    name, arguments = invocation.name, tuple(words[invocation.position + 1 :])
    written = words[invocation.position] if invocation.position < len(words) else ""
    if _is_runner(name, written, is_module=invocation.module):
        return CommandKind.RUNNER
    is_installer = name in _INSTALLERS and "sudo" in words[: invocation.position]
    if is_installer or _changes_machine(words, name):
        return CommandKind.MACHINE
    if name in _INSTALLERS and _first_word(arguments) in (_INSTALLERS[name] or (_first_word(arguments),)):
        return CommandKind.INSTALL
    if name == "setup.py" and _first_word(arguments) in ("develop", "install", "build_ext"):
        return CommandKind.INSTALL
    if name in _LANGUAGES:
        is_test = name in ("jest", "vitest", "mocha", "ctest", "rspec", "bats") or any(
            map(names_tests, arguments)
        )
        return CommandKind.OTHER_LANGUAGE if is_test else CommandKind.OTHER
    is_test = _is_test(name, written, arguments, invocation, variables)
    return CommandKind.TEST if is_test else CommandKind.OTHER


def language_of(name: str) -> str:
    """Return the language whose tests a program runs."""
    return _LANGUAGES[name]


def _is_runner(name: str, written: str, *, is_module: bool) -> bool:
    if not _RUNNER.fullmatch(name) or (is_module and name != written):
        return False
    folders = [part for part in written.split("/")[:-1] if part not in (".", "..")]
    # Another directory may have a script of this name for something else.
    return not (name.endswith(".sh") and folders and not written.startswith("/"))


def _changes_machine(words: Sequence[str], name: str) -> bool:
    names = {word.rpartition("/")[2] for word in words[:3]}
    return name in _MACHINE_PROGRAMS or ("sudo" in names and bool(names & _MACHINE_PROGRAMS))


def _first_word(arguments: Sequence[str]) -> str:
    return next((word for word in arguments if not word.startswith("-")), "")


def _is_test(
    name: str,
    written: str,
    arguments: tuple[str, ...],
    invocation: Invocation,
    variables: Mapping[str, str],
) -> bool:
    stem = re.sub(r"\.(py|sh|bash)$", "", name)
    if stem in _TEST_PROGRAMS:
        return "--version" not in arguments and "--collect-only" not in arguments
    if stem in _ENVIRONMENT_RUNNERS:
        return _tests_in_environments(stem, arguments, variables)
    if stem in _TASK_RUNNERS:
        targets = [word for word in arguments if not word.startswith("-") and "=" not in word]
        return any(names_tests(one) or words_of(one) & _MAKE_TARGETS for one in targets)
    if name in ("docker", "docker-compose", "podman"):
        return any(word.rpartition("/")[2] in _TEST_PROGRAMS for word in arguments)
    if _first_word(arguments) in ("test", "tests") and ("/" in written or name in _TEST_TOOLS):
        return True
    is_script = "/" in written or invocation.is_task or bool(invocation.shell) or name.endswith(".py")
    return is_script and not invocation.module and names_tests(stem)


def _tests_in_environments(name: str, arguments: tuple[str, ...], variables: Mapping[str, str]) -> bool:
    if {"--notest", "--install-only", "--list", "-l", "list", "devenv", "config"} & set(arguments):
        return False
    given = arguments[: arguments.index("--")] if "--" in arguments else arguments
    chosen = list(_values(given, _ENVIRONMENT_RUNNERS[name], are_several=name == "nox"))
    if not chosen and name == "tox" and "TOXENV" in variables:
        chosen = [variables["TOXENV"]]
    environments = [one for value in chosen for one in re.split(r"[,\s]+", value) if one]
    return not environments or any(map(_is_test_environment, environments))


def _is_test_environment(name: str) -> bool:
    words = words_of(name)
    if words & _NOT_TESTING:
        return False
    # `coverage` alone mostly combines what others measured; `py312-coverage` measures.
    return not words & {"check", "coverage", "cov"} or bool(words & {"py", "pypy", *_TESTING})


def _values(arguments: Sequence[str], options: Sequence[str], *, are_several: bool) -> Iterator[str]:
    """Yield the values of an option, which may take several words (`nox -s tests lint`)."""
    is_value = False
    for word in arguments:
        option, _, value = word.partition("=")
        if word.startswith("-"):
            is_value = option in options and not value
            short = next(
                (one for one in options if len(one) == 2 and word.startswith(one) and len(word) > 2), ""
            )
            if short or (option in options and value):
                yield value if option in options else word[2:]
        elif is_value:
            is_value = are_several
            yield word
