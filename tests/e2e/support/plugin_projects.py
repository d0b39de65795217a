"""Small projects that use a plugin of pytest each, as its manual shows it: settings, and a few test files.

Each has tests that fail where the plugin does not do its work. The settings name the plugins; no others are
loaded, so that each project has what it would have if nothing else were installed.
"""

from __future__ import annotations

ASYNCIO = {
    "pytest.ini": "[pytest]\naddopts = -p pytest_asyncio.plugin\nasyncio_mode = auto\n",
    "conftest.py": """
        import asyncio
        import pytest_asyncio
        @pytest_asyncio.fixture(loop_scope="session", scope="session")
        async def server():
            made = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
            yield made
            made.close()
    """,
    "test_a.py": """
        import asyncio
        import pytest
        async def test_sleeps():
            await asyncio.sleep(0)
        @pytest.mark.asyncio(loop_scope="session")
        async def test_server(server):
            reader, _ = await asyncio.open_connection(*server.sockets[0].getsockname())
            assert await reader.read() == b""
        async def test_fails():
            await asyncio.sleep(0)
            assert False
    """,
    "test_b.py": "async def test_loop(): pass\n",
}

ANYIO = {
    "pytest.ini": "[pytest]\naddopts = -p anyio.pytest_plugin\n",
    "test_a.py": """
        import anyio
        import pytest
        @pytest.mark.anyio
        async def test_group(anyio_backend_name):
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep, 0)
            assert anyio_backend_name in ("asyncio", "trio")
        @pytest.fixture
        async def number():
            await anyio.sleep(0)
            yield 3
        @pytest.mark.anyio
        async def test_fixture(number):
            assert number == 4
    """,
    "test_b.py": "import pytest\npytestmark = pytest.mark.anyio\nasync def test_b(): pass\n",
}

COV = {
    "pytest.ini": "[pytest]\n"
    "addopts = -p pytest_cov.plugin --cov=shop --cov-report=term --cov-fail-under=90\n",
    "shop.py": "def one():\n    return 1\ndef two():\n    return 2\n",
    "test_a.py": "from shop import one\ndef test_one(): assert one() == 1\n",
    "test_b.py": "from shop import two\ndef test_two(cov): assert two() == 2\n",
}

DJANGO = {
    "pytest.ini": "[pytest]\naddopts = -p pytest_django.plugin\nDJANGO_SETTINGS_MODULE = settings\n",
    "settings.py": """
        import pathlib
        HERE = pathlib.Path(__file__).parent
        SECRET_KEY = "x"
        USE_TZ = True
        INSTALLED_APPS = ["shop"]
        DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
        DATABASES = {
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": HERE / "shop.sqlite3",
                "TEST": {"NAME": HERE / "test.sqlite3"},
            }
        }
    """,
    "shop/__init__.py": "",
    "shop/models.py": """
        from django.db import models
        class Item(models.Model):
            name = models.CharField(max_length=9)
    """,
    **{
        f"test_{number}.py": """
            import pytest
            from django.test import TestCase
            from shop.models import Item
            @pytest.mark.django_db(transaction=True)
            def test_saves():
                for count in range(1, 20):
                    Item.objects.create(name="a")
                    assert Item.objects.count() == count
            @pytest.mark.django_db
            def test_is_empty():
                assert Item.objects.count() == 0
            def test_without_mark():
                Item.objects.count()
            class TestItem(TestCase):
                @classmethod
                def setUpTestData(cls):
                    cls.item = Item.objects.create(name="b")
                def test_there(self):
                    assert Item.objects.get().name == "b"
        """
        for number in range(4)
    },
}

HTML = {
    "pytest.ini": "[pytest]\naddopts ="
    " -p pytest_metadata.plugin -p pytest_html.plugin -p pytest_html.fixtures"
    " --html=report.html --self-contained-html\n",
    "conftest.py": """
        import pytest
        @pytest.hookimpl(hookwrapper=True)
        def pytest_runtest_makereport(item, call):
            outcome = yield
            import pytest_html
            outcome.get_result().extras = [pytest_html.extras.text("more")]
    """,
    "test_a.py": "def test_a(extras): assert extras == []\ndef test_fails(): assert 0\n",
    "test_b.py": "def test_b(metadata): assert metadata['Python']\n",
}

MOCK = {
    "pytest.ini": "[pytest]\naddopts = -p pytest_mock\n",
    "test_a.py": """
        import os
        def test_patch(mocker):
            mocker.patch("os.getcwd", return_value="/here")
            assert os.getcwd() == "/here"
        def test_undone():
            assert os.getcwd() != "/here"
        def test_fails(mocker):
            mocker.Mock().assert_called_once()
    """,
    "test_b.py": """
        def test_session(session_mocker):
            assert session_mocker.stub()(1) is not None
    """,
}

RANDOMLY = {
    "pytest.ini": "[pytest]\naddopts = -p pytest_randomly --randomly-seed=1\n",
    "test_a.py": """
        import random
        FOUND = []
        def test_one(): FOUND.append(random.random())
        def test_two(): FOUND.append(random.random())
        def test_three(): FOUND.append(random.random())
        class TestLast:
            def test_same(self): assert len(set(FOUND)) <= 1
    """,
    "test_b.py": """
        import random
        def test_value(): assert round(random.random(), 5) == 0.13436
    """,
}

RERUNFAILURES = {
    "pytest.ini": "[pytest]\naddopts = -p pytest_rerunfailures --reruns 2\n",
    "test_a.py": """
        import pytest
        COUNTS = {"call": 0, "fixture": 0}
        def test_third_time():
            COUNTS["call"] += 1
            assert COUNTS["call"] == 3
        @pytest.fixture
        def shaky():
            COUNTS["fixture"] += 1
            assert COUNTS["fixture"] == 2
        def test_fixture(shaky): pass
        def test_never(): assert False
        @pytest.mark.flaky(reruns=0)
        def test_once(): assert COUNTS["call"] == 3
    """,
    "test_b.py": "import pytest\n@pytest.mark.flaky(reruns=1)\ndef test_b(): pass\n",
}

TIMEOUT = {
    "pytest.ini": "[pytest]\naddopts = -p pytest_timeout\ntimeout = 60\n",
    "test_a.py": """
        import time
        import pytest
        @pytest.mark.timeout(0.2)
        def test_hangs(): time.sleep(60)
        def test_fine(): pass
    """,
    "test_b.py": "def test_b(): pass\n",
}

ORDER = {
    "pytest.ini": "[pytest]\naddopts = -p pytest_order.plugin\n",
    "test_a.py": """
        import pytest
        RAN = []
        @pytest.mark.order(2)
        def test_second(): assert RAN == [1]
        @pytest.mark.order(1)
        def test_first(): RAN.append(1)
        @pytest.mark.order(-1)
        def test_last(): assert RAN == [1, 3]
        def test_between(): RAN.append(3)
    """,
    "test_b.py": "import pytest\n@pytest.mark.order('first')\ndef test_b(): pass\n",
}

BDD = {
    "pytest.ini": "[pytest]\naddopts = -p pytest_bdd.plugin\n",
    "basket.feature": """
        Feature: Basket
          Scenario: One apple
            Given an empty basket
            When I add 2 apples
            Then it holds 2 apples
          Scenario: Wrong
            Given an empty basket
            Then it holds 1 apples
    """,
    "test_a.py": """
        from pytest_bdd import given, parsers, scenarios, then, when
        scenarios("basket.feature")
        @given("an empty basket", target_fixture="basket")
        def basket(): return []
        @when(parsers.parse("I add {count:d} apples"))
        def add(basket, count): basket.extend(["apple"] * count)
        @then(parsers.parse("it holds {count:d} apples"))
        def holds(basket, count): assert len(basket) == count
    """,
    "test_b.py": """
        from pytest_bdd import given, parsers, scenario, then, when
        @scenario("basket.feature", "One apple")
        def test_apple(): pass
        @given("an empty basket", target_fixture="basket")
        def basket(): return []
        @when("I add 2 apples")
        def add(basket): basket.append(2)
        @then("it holds 2 apples")
        def holds(basket): assert basket == [2]
    """,
}

BENCHMARK = {
    "pytest.ini": "[pytest]\naddopts = -p pytest_benchmark.plugin -p xdist --benchmark-min-rounds=1"
    " --benchmark-max-time=0.01\n",
    "test_a.py": """
        def test_measured(benchmark):
            assert benchmark(lambda: 3) == 3
            assert benchmark.stats is not None, "it was not measured"
    """,
    "test_b.py": "def test_fails(benchmark): benchmark(lambda: 1 / 0)\n",
}

SUBTESTS = {
    "pytest.ini": "[pytest]\n",
    "test_a.py": """
        import unittest
        def test_some(subtests):
            for number in range(3):
                with subtests.test(number=number):
                    assert number != 1
        def test_fine(subtests):
            with subtests.test("one"):
                pass
        class TestUnit(unittest.TestCase):
            def test_sub(self):
                for number in range(3):
                    with self.subTest(number=number):
                        self.assertNotEqual(number, 2)
    """,
    "test_b.py": "def test_b(subtests):\n    with subtests.test('x'):\n        pass\n",
}

XDIST = {
    "pytest.ini": "[pytest]\naddopts = -p xdist -n 2 --dist loadfile\n",
    "conftest.py": """
        import os
        import pytest
        def pytest_configure(config):
            config.told = "told"
        @pytest.hookimpl(optionalhook=True)
        def pytest_configure_node(node):
            node.workerinput["told"] = node.config.told
        @pytest.fixture(scope="session")
        def base(worker_id):
            name = "base-" + worker_id
            os.mkdir(name)
            yield name
            os.rmdir(name)
    """,
    **{
        f"test_{number}.py": """
            import os
            import time
            def test_base(base):
                time.sleep(0.05)
                assert os.path.isdir(base)
            def test_ids(worker_id, testrun_uid, request):
                assert os.environ["PYTEST_XDIST_WORKER"] == worker_id
                assert os.environ["PYTEST_XDIST_TESTRUNUID"] == testrun_uid
                assert request.config.workerinput["told"] == "told"
            def test_fails(): assert 0
        """
        for number in range(3)
    },
}

HYPOTHESIS = {
    "pytest.ini": "[pytest]\naddopts = -p _hypothesis_pytestplugin --hypothesis-seed=1 -W error\n",
    "test_a.py": """
        from hypothesis import given, settings, strategies
        @given(strategies.integers(), strategies.integers())
        def test_commutes(a, b): assert a + b == b + a
        @given(strategies.lists(strategies.integers()))
        def test_fails(numbers): assert sum(numbers) < 100
    """,
    "test_b.py": """
        import random
        from hypothesis import given, strategies
        @given(strategies.randoms())
        def test_randoms(one): assert 0 <= one.random() < 1
    """,
}

SYRUPY = {
    "pytest.ini": "[pytest]\naddopts = -p syrupy -p xdist\n",
    "test_a.py": "def test_a(snapshot): assert {'a': 1} == snapshot\n",
    "__snapshots__/test_a.ambr": """\
# serializer version: 1
# name: test_a
  dict({
    'a': 1,
  })
# ---
# name: test_gone
  1
# ---
""",
    "test_b.py": "def test_b(snapshot): assert 5 == snapshot\ndef test_none(): pass\n",
    "__snapshots__/test_b.ambr": "# serializer version: 1\n# name: test_b\n  5\n# ---\n",
    "test_c.py": "def test_c(snapshot): assert 6 == snapshot\n",
    "__snapshots__/test_c.ambr": "# serializer version: 1\n# name: test_c\n  5\n# ---\n",
}

FREEZEGUN = {
    "pytest.ini": "[pytest]\n",
    "test_a.py": """
        import datetime
        import time
        from freezegun import freeze_time
        @freeze_time("2012-01-14")
        def test_frozen():
            assert datetime.date.today() == datetime.date(2012, 1, 14)
            assert time.gmtime().tm_year == 2012
        def test_thawed():
            assert time.gmtime().tm_year > 2012
        @freeze_time("2012-01-14")
        def test_fails(): assert datetime.datetime.now().year == 2013
    """,
    "test_b.py": """
        import time
        from freezegun import freeze_time
        freezer = freeze_time("2020-02-02")
        freezer.start()
        def test_b(): assert time.time() == 1580601600
    """,
}

RESPX = {
    "pytest.ini": "[pytest]\naddopts = -p respx.plugin\n",
    "test_a.py": """
        import httpx
        import pytest
        def test_answers(respx_mock):
            respx_mock.get("https://shop.example/").respond(204)
            assert httpx.get("https://shop.example/").status_code == 204
        def test_not_called(respx_mock):
            respx_mock.get("https://shop.example/")
    """,
    "test_b.py": "import respx\n@respx.mock\ndef test_b(): pass\n",
}

HTTPSERVER = {
    "pytest.ini": "[pytest]\naddopts = -p pytest_httpserver.pytest_plugin\n",
    **{
        f"test_{number}.py": """
            import time
            import urllib.request
            def test_asks(httpserver):
                httpserver.expect_request("/").respond_with_data("hello")
                time.sleep(0.1)
                assert urllib.request.urlopen(httpserver.url_for("/")).read() == b"hello"
            def test_fails(httpserver):
                httpserver.expect_ordered_request("/")
                httpserver.check_assertions()
                assert 0
        """
        for number in range(3)
    },
}

PROJECTS = {
    "pytest-asyncio": ASYNCIO,
    "anyio": ANYIO,
    "pytest-cov": COV,
    "pytest-django": DJANGO,
    "pytest-html": HTML,
    "pytest-mock": MOCK,
    "pytest-randomly": RANDOMLY,
    "pytest-rerunfailures": RERUNFAILURES,
    "pytest-rerunfailures beside pytest-xdist": {
        **RERUNFAILURES,
        "pytest.ini": RERUNFAILURES["pytest.ini"].replace("-p", "-p xdist -p"),
    },
    "pytest-timeout": TIMEOUT,
    "pytest-order": ORDER,
    "pytest-bdd": BDD,
    "pytest-benchmark": BENCHMARK,
    "subtests": SUBTESTS,
    "pytest-xdist": XDIST,
    "hypothesis": HYPOTHESIS,
    "syrupy": SYRUPY,
    "freezegun": FREEZEGUN,
    "respx": RESPX,
    "pytest-httpserver": HTTPSERVER,
}
