"""A probe notices that a module changes what another module of the project holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.worker.child.child_bench import INTERPRETERS
from tests.unit.worker.child.import_bench import ImportBench


@pytest.fixture(params=INTERPRETERS)
def here(request: pytest.FixtureRequest, tmp_path: Path) -> ImportBench:
    bench = ImportBench(tmp_path, INTERPRETERS[request.param])
    bench.install(
        "library.py",
        """
        class App:
            def __init__(self): self.routes = Routes()
        class Routes:
            def __init__(self): self.rules = []
        """,
    )
    bench.write(
        "shop/__init__.py",
        """
        import collections, functools, logging, weakref
        from library import App
        LISTED, NAMED, UNIQUE, RECENT = [], {"a": 1}, set(), collections.deque()
        DEEP = {"plugins": [{"names": []}]}
        DEFAULT = None
        COUNT = 0
        LOG = logging.getLogger("shop")
        APP = App()
        ALIVE = weakref.WeakValueDictionary()
        class Plugin:
            known = []
            count = 0
            def __init_subclass__(cls): Plugin.known.append(cls)
        class Slotted:
            __slots__ = ("names",)
            def __init__(self): self.names = []
        SLOTTED = Slotted()
        def helper(): return 1
        @functools.lru_cache
        def cached(number): return number
        """,
    )
    return bench


@pytest.mark.parametrize(
    "code",
    [
        "shop.LISTED.append(1)",
        "shop.NAMED['b'] = 1",
        "shop.NAMED['a'] = shop",
        "shop.UNIQUE.add(1)",
        "shop.RECENT.append(1)",
        "shop.DEEP['plugins'][0]['names'].append('b')",
        "shop.DEFAULT = 'b'",
        "shop.COUNT += 1",
        "shop.LISTED = [*shop.LISTED, 1]",
        "shop.added = 1",
        "shop.helper = lambda: 2",
        "shop.APP.routes.rules.append(1)",
        "shop.APP.title = 'b'",
        "class B(shop.Plugin): pass",
        "shop.Plugin.count += 1",
        "shop.Plugin.method = lambda self: 1",
        "shop.SLOTTED.names.append(1)",
        "class B: pass\nKEPT = B(); shop.ALIVE['b'] = KEPT",
        "from shop import helper; import shop.c; shop.c.LISTED.append(1)",
    ],
)
def test_a_change_of_another_module_is_noticed(here: ImportBench, code: str) -> None:
    here.write("shop/b.py", f"import shop\n{code}\n")
    here.write("shop/c.py", "LISTED = []\n")

    name = "shop.c" if "shop.c" in code else "shop"
    assert here.modifications("shop", "shop.c", "shop.b", "shop.c") == ["", "", f"modifies {name}", ""]


@pytest.mark.parametrize(
    "code",
    [
        "LISTED = [*shop.LISTED]; LISTED.append(1)",
        "import shop.c",
        "class B(shop.Slotted): pass",
        "shop.LOG.warning; import logging; logging.getLogger('shop.b')",
        "shop.cached(1)",
        "import re; re.compile('b+')",
        "isinstance(shop.APP, shop.Plugin)",
    ],
)
def test_a_module_that_only_uses_others_modifies_none(here: ImportBench, code: str) -> None:
    here.write("shop/b.py", f"import shop\n{code}\n")
    here.write("shop/c.py", "")

    assert here.modifications("shop", "shop.b") == ["", ""]


def test_a_module_may_keep_what_it_was_asked_for(here: ImportBench) -> None:
    here.write(
        "shop/lazy.py",
        """
        def __getattr__(name):
            if name != "answer": raise AttributeError(name)
            globals()[name] = []
            return globals()[name]
        """,
    )
    here.write("shop/b.py", "import shop.lazy\nshop.lazy.answer\n")
    here.write("shop/c.py", "import shop.lazy\nshop.lazy.answer.append(1)\n")
    here.write("shop/d.py", "import shop.lazy\nshop.lazy.answer = 1\n")

    found = here.modifications("shop.lazy", "shop.b", "shop.d")
    assert found == ["", "", "modifies shop.lazy"]
    assert here.modifications("shop.lazy", "shop.b", "shop.c") == ["", "", "modifies shop.lazy"]


def test_what_a_module_put_into_another_is_watched_as_well(here: ImportBench) -> None:
    here.write("shop/b.py", "import shop\nshop.NAMED['b'] = []\n")
    here.write("shop/c.py", "import shop\nshop.NAMED['b'].append(1)\n")
    here.write("shop/d.py", "import shop\nshop.LISTED.append(1)\n")

    assert here.modifications("shop.b", "shop.c", "shop.d") == ["modifies shop"] * 3
    assert here.modifications("shop", "shop.b", "shop.c", "shop.d") == ["", *["modifies shop"] * 3]


def test_whoever_comes_first_modifies_a_module_that_it_imports_itself(here: ImportBench) -> None:
    here.write("shop/registry.py", "NAMES = []\n")
    for name in ("b", "c"):
        here.write(f"shop/{name}.py", "import shop.registry\nshop.registry.NAMES.append(1)\n")

    assert here.modifications("shop", "shop.b", "shop.c") == ["", *["modifies shop.registry"] * 2]
    assert here.modifications("shop", "shop.c", "shop.b") == ["", *["modifies shop.registry"] * 2]


def test_what_a_package_does_to_its_parts_is_its_own_business(here: ImportBench) -> None:
    here.write("shop/registry.py", "NAMES = []\n")
    here.write("shop/__init__.py", "import shop.b\nshop.b.EXTRA = 1\n")
    here.write("shop/b.py", "import shop.registry\nshop.registry.NAMES.append(1)\n")

    assert here.modifications("shop", "shop.b") == ["", ""]


def test_no_code_of_the_project_is_called_to_look(here: ImportBench) -> None:
    here.write(
        "shop/b.py",
        """
        def refuse(*args): raise SystemExit("called")
        class Meta(type):
            __module__ = property(refuse)
            __instancecheck__ = __subclasscheck__ = __getattribute__ = refuse
        class Odd(dict, metaclass=Meta):
            __len__ = values = __iter__ = __eq__ = __hash__ = __bool__ = refuse
            __class__ = property(refuse)
        class OddList(list):
            __len__ = __iter__ = __eq__ = __bool__ = __class__ = property(refuse)
        ODD, LISTED = Odd(), OddList()
        """,
    )

    assert here.modifications("shop.b", "shop") == ["", ""]
