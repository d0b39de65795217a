"""Conftests that a server has executed are registered and configured by pytest in each file as ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.worker.child.session_bench import SessionBench, find_pythons

UPPER = """
    import os, pytest
    UPPER_LOADED_BY = os.readlink("/proc/self")
    def pytest_addoption(parser): parser.addoption("--mood", default="fine")
    def pytest_configure(config): config.seen = ["upper is configured"]
    def pytest_collection_modifyitems(items): items.reverse()
    @pytest.fixture
    def thing(): return "upper"
    @pytest.fixture(autouse=True)
    def always(request): request.config.seen.append("always")
"""
LOWER = """
    import helper, os, pytest, sys
    LOADED_BY = os.readlink("/proc/self")
    PATH, MODULE = list(sys.path), sys.modules[__name__]
    def pytest_addoption(parser): parser.addoption("--lower", default="low")
    def pytest_configure(config): config.seen.append("lower is configured")
    def pytest_plugin_registered(plugin_name):
        if str(plugin_name).endswith("conftest.py"): print("registered:", plugin_name)
    def pytest_runtest_setup(item): item.config.seen.append("lower sets up")
    @pytest.fixture
    def thing(thing): return thing + " lower"
"""
TEST = """
    import os, sys
    import {lower} as lower
    def test_first(thing, request, pytestconfig):
        manager = pytestconfig.pluginmanager
        print(thing, pytestconfig.seen, sorted(vars(pytestconfig.option)))
        print([name for name, plugin in manager.list_name_plugin() if "conftest" in name])
        print(sys.path, lower.PATH[:3])
        print({{name: module.__file__ for name, module in sys.modules.items() if "conftest" in name}})
        assert manager.get_plugin(os.path.join(os.path.dirname(__file__), "conftest.py")) is lower.MODULE
        assert lower is lower.MODULE
    def test_second(thing): assert thing == "another"
    def test_origin(): assert os.readlink("/proc/self") == lower.LOADED_BY
"""


@pytest.fixture(params=find_pythons())
def bench(tmp_path: Path, request: pytest.FixtureRequest) -> SessionBench:
    (tmp_path / "project").mkdir()
    made = SessionBench(tmp_path / "project", str(request.param))
    made.ways = (True,)
    made.write("pytest.ini", "[pytest]\naddopts = -s\n")
    made.write("conftest.py", UPPER)
    made.write("pkg/conftest.py", LOWER)
    made.write("helper.py", "VALUE = 1\n")
    made.write("pkg/deep/conftest.py", LOWER.replace("lower", "deep").replace("low", "deep"))
    return made


def _origins(output: str) -> list[str]:
    """Return the outcomes of the test that knows whether the process has executed its conftest itself."""
    return [line for line in output.splitlines() if "test_origin" in line and line.startswith("FAILED")]


@pytest.mark.parametrize(
    ("package", "mode"), [("", "prepend"), ("pkg.deep.", "prepend"), ("pkg.deep.", "append")]
)
def test_a_conftest_that_a_server_has_executed_is_registered_as_ever(
    bench: SessionBench, package: str, mode: str
) -> None:
    if package:
        bench.write("pkg/__init__.py", "")
        bench.write("pkg/deep/__init__.py", "")
    bench.write("pkg/deep/test_a.py", TEST.format(lower=package + "conftest").split("    def test_origin")[0])
    bench.write("pkg/deep/test_b.py", TEST.format(lower=package + "conftest"))
    bench.late_conftests = ("pkg/conftest.py", "pkg/deep/conftest.py")
    options = f"--import-mode={mode}"

    runs = bench.compare("pkg/deep/test_a.py", PYTEST_ADDOPTS=options)

    assert "upper lower deep" in runs["pkg/deep/test_a.py"].output
    forked = bench.run_forked("pkg/deep/test_b.py", PYTEST_ADDOPTS=options).runs["pkg/deep/test_b.py"]
    assert _origins(forked.output), forked.output
    assert not _origins(bench.run_spawned("pkg/deep/test_b.py", PYTEST_ADDOPTS=options).output)


@pytest.mark.parametrize(
    "text",
    [
        "pytest_plugins = ['pytester']",
        "import pytest\ndef pytest_ignore_collect(collection_path): return True",
        "collect_ignore = ['test_a.py']",
        "import pytest\npytest.register_assert_rewrite('checks')",
    ],
    ids=["plugins", "ignores", "collect_ignore", "rewrites"],
)
def test_what_pytest_does_with_a_conftest_does_not_change(bench: SessionBench, text: str) -> None:
    bench.write("pkg/conftest.py", text)
    bench.write("checks.py", "def check(): assert [1] == [2]")
    bench.write("pkg/test_a.py", "import checks\ndef test_a(): checks.check()\n")
    bench.late_conftests = ("pkg/conftest.py",)

    bench.compare("pkg/test_a.py")
