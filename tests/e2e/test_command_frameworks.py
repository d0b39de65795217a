"""The commands that docs/how-to/commands.md gives for Django, Trial and tornado, on projects of these."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dispatcher.discovery.project_signs import COMMANDS
from tests.docs.pages import REPOSITORY, blocks_of
from tests.e2e.support.project import Project
from tests.support.pip_environment import make_environment

REQUIREMENTS = Path(__file__).parent / "support" / "command_requirements.txt"


@pytest.fixture(scope="module")
def python(request: pytest.FixtureRequest) -> Path:
    return make_environment(REQUIREMENTS, request.config.cache)


def documented(runner: str) -> str:
    """Return the configuration with which the documents run files by a runner."""
    text = (REPOSITORY / "docs" / "how-to" / "commands.md").read_text(encoding="utf-8")
    blocks = [one.code for one in blocks_of(text, "commands.md") if one.language == "toml"]
    return next(code for code in blocks if runner in code)


DJANGO = {
    "manage.py": """
        import os, sys
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site1.settings")
        from django.core.management import execute_from_command_line
        execute_from_command_line(sys.argv)
    """,
    "site1/__init__.py": "",
    "site1/settings.py": """
        import os
        from pathlib import Path
        HERE = Path(__file__).parent
        SECRET_KEY = "x"
        USE_TZ = True
        DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
        INSTALLED_APPS = ["shop"]
        DATABASES = {
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": HERE / "shop.sqlite3",
                "TEST": {"NAME": HERE / f"test_{os.environ.get('PASSMUSTER_SLOT', '0')}.sqlite3"},
            }
        }
    """,
    "shop/__init__.py": "",
    "shop/models.py": """
        from django.db import models
        class Item(models.Model):
            name = models.CharField(max_length=9)
    """,
    "shop/tests.py": """
        import os
        from django.db import connection
        from django.test import TestCase
        from shop.models import Item
        class Counts(TestCase):
            def test_count(self):
                name = f"test_{os.environ['PASSMUSTER_SLOT']}.sqlite3"
                self.assertEqual(connection.settings_dict["NAME"].name, name)
                Item.objects.create(name="one")
                self.assertEqual(Item.objects.count(), 1)
    """,
    "shop/more/__init__.py": "",
    "shop/more/test_bad.py": """
        from django.test import TestCase
        from shop.models import Item
        class Bad(TestCase):
            def test_bad(self):
                self.assertEqual(Item.objects.count(), 7)
    """,
}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_django_runs_each_file_by_manage_py_with_a_database_for_each_slot(
    project: Project, python: Path
) -> None:
    more = {f"shop/more/test_{number}.py": DJANGO["shop/tests.py"] for number in range(3)}
    project.write(DJANGO | more)
    advised = project.run("--python", str(python))
    project.write({"pyproject.toml": documented("manage.py")})

    outcome = project.run("--python", str(python), "-j", "3")

    assert COMMANDS["manage.py"] in advised.stderr + advised.stdout
    assert COMMANDS["manage.py"] in documented("manage.py")
    assert outcome.statuses() == {
        "shop/more/test_bad.py": "FAIL",
        "shop/tests.py": "PASS",
        **dict.fromkeys(more, "PASS"),
    }
    assert "AssertionError: 0 != 7" in outcome.stdout
    assert COMMANDS["manage.py"] not in outcome.stderr + outcome.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_trial_runs_tests_that_end_later(project: Project, python: Path) -> None:
    later = """
        from twisted.internet import reactor, task
        from twisted.trial import unittest
        class Later(unittest.TestCase):
            def test_later(self):
                return task.deferLater(reactor, 0.01, lambda: 1 / {divisor})
    """
    project.write(
        {
            "pyproject.toml": documented("twisted.trial"),
            "app/__init__.py": "",
            "app/test/__init__.py": "",
            "app/test/test_bad.py": later.format(divisor=0),
            "app/test/test_good.py": later.format(divisor=1),
        }
    )

    outcome = project.run("--python", str(python))

    assert outcome.statuses() == {"app/test/test_bad.py": "FAIL", "app/test/test_good.py": "PASS"}
    assert "ZeroDivisionError" in outcome.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_tornado_runs_a_module_by_its_own_runner(project: Project, python: Path) -> None:
    served = """
        from tornado.testing import AsyncHTTPTestCase
        from tornado.web import Application, RequestHandler
        class Hello(RequestHandler):
            def get(self):
                self.write("hello")
        class Served(AsyncHTTPTestCase):
            def get_app(self):
                return Application([("/", Hello)])
            def test_get(self):
                self.assertEqual(self.fetch("/").body, {body!r})
    """
    project.write(
        {
            "pyproject.toml": documented("tornado.testing"),
            "tests/bad_test.py": served.format(body=b"other"),
            "tests/good_test.py": served.format(body=b"hello"),
        }
    )

    outcome = project.run("--python", str(python))

    assert outcome.statuses() == {"tests/bad_test.py": "FAIL", "tests/good_test.py": "PASS"}


@pytest.mark.slow
def test_cpythons_own_runner_writes_a_report_of_its_tests(project: Project) -> None:
    project.write(
        {
            "pyproject.toml": documented('"-m", "test"'),
            "test/test_bisect.py": "",
            "test/test_no_such_module_of_the_library.py": "",
        }
    )

    outcome = project.run("--python", sys.executable)

    final = outcome.final("test/test_bisect.py")
    if "No module named test" in final.output:
        pytest.skip("this Python was installed without its tests")
    assert (final.status, len(final.cases) > 10) == ("PASS", True), str(outcome)
    assert outcome.statuses()["test/test_no_such_module_of_the_library.py"] == "FAIL"
