"""Which files run and where: the layout of the shell scripts, and that of an ordinary repository."""

from __future__ import annotations

import pytest

from tests.e2e.support.project import Project
from tests.e2e.support.sources import script

SHOW = script("print(os.getcwd(), sys.argv, __file__)")

UNIT = (
    "mvp_site/tests/test_a.py",
    "mvp_site/tests/deep/er/test_b.py",
    "mvp_site/test_integration/test_integration_mock.py",
    "mvp_site/.claude/commands/tests/test_c.py",
    "mvp_site/orchestration/tests/test_d.py",
    "mvp_site/claude_command_scripts/commands/test_e.py",
    "mvp_site/claude-bot-commands/tests/test_f.py",
)
INTEGRATION = (
    "mvp_site/test_integration/test_g.py",
    "mvp_site/test_integration/deep/test_h.py",
    "mvp_site/tests/test_integration/test_i.py",
)
NEVER = (
    "mvp_site/tests/manual_tests/test_n1.py",
    "mvp_site/tests/venv/test_n2.py",
    "mvp_site/tests/node_modules/deep/test_n3.py",
    "mvp_site/tests/prototype/test_n4.py",
    "mvp_site/tests/helper.py",
    "mvp_site/tests/other_test.py",
    "mvp_site/test_n5.py",
    "tests/test_n6.py",
    "orchestration/tests/test_n7.py",
)


def labels(paths: tuple[str, ...]) -> set[str]:
    return {path.removeprefix("mvp_site/") for path in paths}


@pytest.fixture
def scripts_layout(project: Project) -> Project:
    project.write(dict.fromkeys((*UNIT, *INTEGRATION, *NEVER), SHOW))
    return project


def test_units_run_in_the_working_directory_of_the_scripts(scripts_layout: Project) -> None:
    outcome = scripts_layout.run()
    assert outcome.statuses() == dict.fromkeys(labels(UNIT), "PASS")
    workdir = scripts_layout.root / "mvp_site"
    for label in labels(UNIT):
        assert outcome.final(label).output == f"{workdir} {[label]} {workdir / label}\n"


def test_integration_tests_run_too_when_wanted(scripts_layout: Project) -> None:
    outcome = scripts_layout.run("--integration")
    assert outcome.statuses() == dict.fromkeys(labels(UNIT) | labels(INTEGRATION), "PASS")


def test_without_the_folder_of_the_scripts_everything_is_relative_to_the_root(project: Project) -> None:
    project.write(dict.fromkeys(map(str, labels((*UNIT, *INTEGRATION))), SHOW))
    outcome = project.run("--list", "--integration")
    assert set(outcome.lines) == labels(UNIT) | labels(INTEGRATION)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (("test/test_a.py", "test/sub/b_test.py"), {"test/test_a.py", "test/sub/b_test.py"}),
        (("src/pkg/tests/test_a.py", "src/pkg/core.py"), {"src/pkg/tests/test_a.py"}),
        (("tests/test_a.py", "src/test_b.py"), {"tests/test_a.py"}),
        (
            ("pkg/test_a.py", "build/test_b.py", ".tox/x/test_c.py", "env/pyvenv.cfg", "env/test_d.py"),
            {"pkg/test_a.py"},
        ),
    ],
    ids=["test", "src", "tests only", "anywhere"],
)
def test_an_ordinary_repository_is_understood(
    project: Project, files: tuple[str, ...], expected: set[str]
) -> None:
    project.write(dict.fromkeys(files, SHOW))
    assert set(project.run("--list").lines) == expected


def test_the_configuration_file_may_name_another_layout(project: Project) -> None:
    project.write(
        {
            "pyproject.toml": """
                [tool.passmuster]
                workdir = "app"
                unit-roots = ["checks"]
                integration-roots = ["slow"]
                patterns = ["check_*.py"]
                exclude = ["old"]
                """,
            "app/checks/check_a.py": SHOW,
            "app/checks/old/check_b.py": SHOW,
            "app/checks/test_c.py": SHOW,
            "app/slow/check_d.py": SHOW,
        }
    )
    assert project.run("--list").lines == ["checks/check_a.py"]
    outcome = project.run("--integration")
    assert outcome.statuses() == {"checks/check_a.py": "PASS", "slow/check_d.py": "PASS"}
    assert outcome.final("slow/check_d.py").output.startswith(f"{project.root / 'app'} ['slow/check_d.py'] ")


def test_the_root_may_be_named_from_elsewhere(project: Project) -> None:
    project.write({"tests/test_a.py": SHOW, "sub/x": ""})
    outcome = project.run("--root", "..", cwd="sub")
    assert outcome.statuses() == {"tests/test_a.py": "PASS"}
    assert outcome.final("tests/test_a.py").output.startswith(f"{project.root} ['tests/test_a.py'] ")
    assert (project.root / ".passmuster" / ".gitignore").read_text() == "*\n"
