"""What a scan reads out of one file: its imports in order, and why it must not be forked."""

from __future__ import annotations

import textwrap

import pytest

from worker.forkserver.file_imports import EFFECT, ENVIRONMENT
from worker.forkserver.source import UNNAMED_HOOKS, outline_of, read


def source(text: str) -> bytes:
    return textwrap.dedent(text).encode()


def test_imports_are_listed_in_order_and_sure_ones_alone() -> None:
    found = read(
        source(
            """
            from __future__ import annotations
            import a, b.c as d
            from e import f, g as h
            from . import i
            from ..j import k
            from l import *
            try:
                import m
            except ImportError:
                import n
            else:
                import o
            if TYPE_CHECKING:
                import p
            with suppress():
                import q
            def r():
                import s
            v = pytest.importorskip("w")
            class T:
                import u
            """
        )
    )

    names = "a b.c e e:f e:g . .:i ..j ..j:k l m w"
    assert found.imports == tuple(names.split())
    assert found.why_spawn == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import os\nos.environ['A'] = '1'\nimport b", "it sets the environment before its imports"),
        ("import os\ndel os.environ['A']\nfrom b import c", "it sets the environment before its imports"),
        ("os.environ |= {}\nimport b", "it sets the environment before its imports"),
        (
            "from os import environ\nenviron['A'] = '1'\nimport b",
            "it sets the environment before its imports",
        ),
        ("os.environ.setdefault('A', '1')\nimport b", "it sets the environment before its imports"),
        ("x = os.environ.pop('A', '')\nimport b", "it sets the environment before its imports"),
        ("os.environ.update(A='1')\nif x:\n    import b", "it sets the environment before its imports"),
        ("os.putenv('A', '1')\nimport b", "it sets the environment before its imports"),
        ("load_dotenv()\nimport b", "it sets the environment before its imports"),
        (
            "with patch.dict(os.environ, {}):\n    import b",
            "it sets the environment before its imports",
        ),
        ("if x:\n    os.environ['A'] = '1'\nimport b", "it sets the environment before its imports"),
        ("os.environ['A'] = '1'\nb = importorskip('b')", "it sets the environment before its imports"),
        ("import os\nos.environ['PYTHONPATH'] = 'x'", "it sets PYTHONPATH"),
        ("def f():\n    sys.modules.pop('a')", "it names sys.modules"),
        ("from sys import modules", "it names sys.modules"),
        ("sys.meta_path.insert(0, x)", "it names sys.meta_path"),
        ("sys.path_hooks.clear()", "it names sys.path_hooks"),
        ("import sys\nsys.settrace(f)", "it calls sys.settrace"),
        ("threading.setprofile(f)", "it calls threading.setprofile"),
        ("import gevent.monkey", "gevent replaces parts"),
        ("def f():\n    from gevent import monkey", "gevent replaces parts"),
        ("import eventlet", "eventlet replaces parts"),
        ("from twisted.internet import reactor", "the reactor of twisted"),
        ("import ddtrace.auto", "ddtrace starts threads"),
    ],
)
def test_a_file_that_must_not_be_forked_is_known_by_its_text(text: str, why: str) -> None:
    assert read(text.encode()).why_spawn.startswith(why)


@pytest.mark.parametrize(
    "text",
    [
        "import os\nimport b\nHOME = os.environ['HOME']",
        "import os\nos.environ.get('A')\nimport b",
        "import os, b\nos.environ['A'] = '1'\n",
        "import os\ndef test_a():\n    os.environ['A'] = '1'\nimport b",
        "@patch.dict(os.environ, {'A': '1'})\ndef test_a(): pass\nimport b",
        "import multiprocessing\nmultiprocessing.set_start_method('fork')",
        "import twisted.internet.defer",
        "import gevents, sys, warnings\nwarnings.simplefilter('error')",
        "def test_a():\n    sys.settrace(f)",
        "d.pop('a')\nd.update(x=1)\nimport b",
    ],
)
def test_an_ordinary_file_may_be_forked(text: str) -> None:
    assert read(text.encode()).why_spawn == ""


def test_where_the_environment_is_set_is_noted_among_the_imports() -> None:
    text = b"import a\ndef f():\n    pass\nos.environ['A'] = '1'\nimport b"
    assert read(text).imports == ("a", ENVIRONMENT + "4", EFFECT, "b")
    text = b"import pytest\npytest.register_assert_rewrite('b')\nimport b"
    assert (read(text).imports, read(text).why_spawn) == (("pytest", ENVIRONMENT + "2", EFFECT, "b"), "")


@pytest.mark.parametrize(
    "statement",
    [
        "a.register(1)",
        "a.x = 1",
        "a['x'] += 1",
        "del a.x",
        "class A(a.Plugin):\n    x = 1",
        "@a.register\ndef f():\n    pass",
        "@a.register\nasync def f():\n    'a\\\n'",  # This one is parsed as a whole.
        "for x in y:\n    a.register(x)",
        "if x:\n    a.x = 1",
    ],
)
def test_what_is_imported_behind_a_statement_that_may_change_other_modules_is_marked(statement: str) -> None:
    assert read(f"import a\n{statement}\nimport b\nimport c".encode()).imports == ("a", EFFECT, "b", "c")
    assert read(f"import a\n{statement}".encode()).imports == ("a",)


@pytest.mark.parametrize(
    "statement",
    [
        "'text'",
        "x = a.y(1)",
        "x: int = 1",
        "x += a.y",
        "pytest.importorskip()",
        "if x:\n    pytest.skip('no', allow_module_level=True)",
        "warnings.simplefilter('error')",
        "sys.path.insert(0, '.')",
        "sys.path[:0] = ['.']",
        "def f():\n    a.register(1)",
    ],
)
def test_what_changes_nothing_that_other_modules_hold_is_no_such_statement(statement: str) -> None:
    assert read(f"import a\n{statement}\nimport b".encode()).imports == ("a", "b")


@pytest.mark.parametrize(
    ("text", "hooks"),
    [
        (
            "def pytest_sessionstart(session): pass\npytest_configure = f",
            ("pytest_configure", "pytest_sessionstart"),
        ),
        ("import a\nfrom a import *", (UNNAMED_HOOKS,)),
        ("if True:\n    from .a import *", (UNNAMED_HOOKS,)),
        ("exec(compile(text, 'a', 'exec'))", (UNNAMED_HOOKS,)),
        ("pytest_plugins = ['a']", (UNNAMED_HOOKS,)),
        ("from a import b\nc = a * b\nexecute(c)", ()),
    ],
)
def test_hooks_of_a_conftest_are_known_by_name_or_may_come_from_elsewhere(
    text: str, hooks: tuple[str, ...]
) -> None:
    assert read(text.encode()).hooks == hooks


@pytest.mark.parametrize(
    ("text", "is_script"),
    [
        ("if __name__ == '__main__':\n    import a", True),
        ("if '__main__' == __name__ and x: pass", True),
        ("if name == '__main__': pass", False),
        ("def f():\n    if __name__ == '__main__': pass", False),
    ],
)
def test_a_script_is_known_by_its_guard_which_imports_nothing_for_certain(text: str, is_script: bool) -> None:
    found = read(text.encode())

    assert found.is_script is is_script
    assert found.imports == ()


def test_names_of_folders_are_gathered_where_the_path_is_changed() -> None:
    text = b"import sys\nHERE = join(dirname(__file__), 'vendor')\nsys.path.insert(0, HERE)\nX = 'other'"

    assert read(text).folders == ("vendor", "other")
    assert read(text.replace(b"sys.path", b"sys.argv")).folders == ()


@pytest.mark.parametrize("text", [b"import a, (:", b"import a\x00", b"\xff\xfe", b"if a:\n  x\n y"])
def test_a_file_with_errors_says_nothing(text: bytes) -> None:
    found = read(text)

    assert not found.is_readable
    assert found.imports == ()


def test_a_wrong_escape_is_not_warned_of() -> None:
    assert read(b"X = '\\d'\nimport a").imports == ("a",)


@pytest.mark.parametrize(
    "text",
    [
        'def f():\n    x = """\nimport a\n"""\nimport b\n',
        'def f():\n    x = """\nimport a\n"""\n    y = """\nimport c\n"""\nimport b\n',
        'X = """\ndef f():\nimport a\n"""\nimport b\n',
        '"""class of things\nclass A:\n"""\nimport b\n',
        "def f(\n    a,\n):\n    import a\nimport b\n",
        "@decorate(\n    x\n)\nclass A:\n    import a\n\n# text\n    import c\nimport b\n",
        "def f(): 'a\\\nimport a'\nimport b\n",
        "async def f():\n\timport a\nimport b\n",
        "def f():\r\n    import a\r\n\r\nimport b\r\n",
        "if x:\n    def f():\n        import a\nimport b\n",
    ],
)
def test_leaving_functions_and_classes_out_changes_nothing(text: str) -> None:
    assert [name for name in read(text.encode()).imports if name != EFFECT] == ["b"]


def test_functions_and_classes_are_left_out() -> None:
    assert outline_of(b"import a\ndef f():\n    x = (\n1)\nclass A:\n    pass\nimport b") == (
        b"import a\n\n\n1)\n...\n\nimport b"
    )
    assert outline_of(b'def f():\n    """\nimport a\n"""') is None
