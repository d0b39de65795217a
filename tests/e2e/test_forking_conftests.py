"""The initial conftests of pytest files are loaded once, and no file can tell but by the time it takes."""

from __future__ import annotations

from collections.abc import Mapping

from tests.e2e.support.outcome import Outcome
from tests.e2e.support.project import Project
from tests.support.pytest_environment import PYTEST_ENVIRONMENT

ENVIRONMENT: Mapping[str, str] = {"VIRTUAL_ENV": str(PYTEST_ENVIRONMENT)}

LOADED_BY = "import os\nLOADED_BY = os.readlink('/proc/self')\n"
"""A conftest that says which process has loaded it, by a way that nothing watches."""

SHOWS = """
import os

def test_it(request):
    conftest = [each for each in request.config.pluginmanager.get_plugins() if hasattr(each, "LOADED_BY")]
    print("loaded by", "itself" if conftest[0].LOADED_BY == os.readlink("/proc/self") else "a server")
"""
USERS = [f"tests/test_{number}.py" for number in range(6)]


def write(project: Project, conftest: str) -> None:
    project.write({"pyproject.toml": "[tool.pytest.ini_options]\naddopts = ['-s', '-v']\n"})
    project.write({"conftest.py": conftest})
    project.write(dict.fromkeys(USERS, SHOWS))


def run(project: Project, *arguments: str) -> Outcome:
    return project.run("--jobs", "1", *arguments, env=ENVIRONMENT)


def loaders(outcome: Outcome) -> set[str]:
    """Return who has loaded the conftests of the files' first attempts."""
    outputs = [outcome.attempts(name)[0].output for name in USERS]
    return {"a server" if "loaded by a server" in output else "itself" for output in outputs}


def run_until_held(project: Project, *arguments: str) -> Outcome:
    """Run until a server has loaded conftests in time: on a busy machine all files may be faster."""
    for _ in range(5):
        outcome = run(project, *arguments)
        assert outcome.code == 0, str(outcome)
        if "a server" in loaders(outcome):
            return outcome
    raise AssertionError(str(outcome))


def explained(project: Project) -> str:
    return run(project, "--explain", "preload").stdout


def test_conftests_are_loaded_once_and_every_file_ends_as_when_it_is_spawned(project: Project) -> None:
    write(project, LOADED_BY)

    outcome = run_until_held(project, "--verify-isolation")

    assert {outcome.attempts(name)[0].isolation for name in USERS} == {"fork"}


def test_a_conftest_that_does_what_processes_must_not_share_is_named_with_the_line(project: Project) -> None:
    write(project, f"{LOADED_BY}open('made', 'w').close()\n")

    assert "pytest: each file loads the initial conftests itself: writes made in conftest.py:3" in explained(
        project
    )
    outcome = run(project)
    assert (outcome.code, loaders(outcome)) == (0, {"itself"}), str(outcome)
    assert set(outcome.start_methods().values()) == {"fork"}


def test_random_numbers_that_a_conftest_draws_differ_in_each_file(project: Project) -> None:
    write(project, f"{LOADED_BY}import uuid\nSESSION = uuid.uuid4()\n")

    assert "each file loads the initial conftests itself: draws random numbers" in explained(project)


def test_a_conftest_that_fails_to_import_fails_in_each_file_as_under_pytest(project: Project) -> None:
    # Discovery has pytest collect the files, and must not fail of it.
    write(project, f"{LOADED_BY}if 'PYTEST_XDIST_WORKER' in os.environ:\n    raise ValueError('in vain')\n")

    outcome = run(project)

    assert outcome.code == 1, str(outcome)
    assert {outcome.final(name).status for name in USERS} == {"COLLECT_ERROR"}
    assert all("ValueError: in vain" in outcome.final(name).output for name in USERS)


def test_a_conftest_that_has_changed_is_loaded_anew_in_the_next_run(project: Project) -> None:
    write(project, LOADED_BY)
    run_until_held(project)
    write(project, f"{LOADED_BY}MOOD = 'changed'\n")
    text = "def test_it(request):\n    import conftest\n    assert conftest.MOOD == 'changed'\n"
    project.write({name: SHOWS + text.replace("test_it", "test_mood") for name in USERS})

    run_until_held(project)


def test_two_files_are_not_worth_a_server_of_their_own(project: Project) -> None:
    write(project, LOADED_BY)

    outcome = run(project, *USERS[:2])

    outputs = "".join(outcome.attempts(name)[0].output for name in USERS[:2])
    assert "loaded by a server" not in outputs, str(outcome)
