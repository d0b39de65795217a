r"""Every form in which something refers to the scripts, what becomes of it, and what only looks like one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec import Struct, convert

from dispatcher.migrate.command_context import is_history
from dispatcher.migrate.names import NewCommand
from dispatcher.migrate.references import edited, find_references
from dispatcher.migrate.script_path import ReferenceContext

OTHERS = {"other/run_tests.sh", "sub/run_tests.sh", "/usr/share/x/run_tests.sh"}
HAND = None
"""What a form becomes that is left to a person."""


def place(path: str = "README.md") -> ReferenceContext:
    return ReferenceContext(
        path=path,
        root_name="shop",
        exists=OTHERS.__contains__,
        addresses=frozenset({"github.com/me/shop", "example.org/me/store"}),
    )


def migrated(text: str, command: NewCommand = NewCommand.FILE, path: str = "README.md") -> str | None:
    """Return what a text becomes; None: part of it is left to a person."""
    found = find_references(text, place(path), command)
    assert all(bool(one.edits) != bool(one.reason) for one in found)
    return None if any(one.reason for one in found) else edited(text, found)


FORMS = [
    ("./run_tests.sh", "./run_tests.py", "run-tests"),
    ("./run_ci_replica.sh", "./run_ci_replica.py", "run-ci-replica"),
    ("bash run_tests.sh", "python3 run_tests.py", "run-tests"),
    ("sh ./run_tests.sh --integration", "python3 ./run_tests.py --integration", "run-tests --integration"),
    ("/bin/bash run_tests.sh", "python3 run_tests.py", "run-tests"),
    ("/usr/bin/env bash run_tests.sh", "python3 run_tests.py", "run-tests"),
    ("bash -x run_tests.sh a", "python3 run_tests.py a", "run-tests a"),
    ("bash -euo pipefail ./run_tests.sh", "python3 ./run_tests.py", "run-tests"),
    ("bash -n run_tests.sh", HAND, HAND),
    ("bash -s run_tests.sh", HAND, HAND),
    ('bash -c "./run_tests.sh -q"', 'bash -c "./run_tests.py -q"', 'bash -c "run-tests -q"'),
    ('"$ROOT/run_tests.sh" "$@"', '"$ROOT/run_tests.py" "$@"', '"run-tests" "$@"'),
    ('bash "$DIR/run_tests.sh"', 'python3 "$DIR/run_tests.py"', "run-tests"),
    ('bash "$DIR"/run_tests.sh x', 'python3 "$DIR"/run_tests.py x', "run-tests x"),
    ("bash '../run_tests.sh'", "python3 '../run_tests.py'", "run-tests"),
    ("sh ${A:-.}/run_tests.sh", "python3 ${A:-.}/run_tests.py", "run-tests"),
    ('sh "$(dirname "$0")/run_tests.sh"', 'python3 "$(dirname "$0")/run_tests.py"', "run-tests"),
    ("bash `dirname $0`/run_tests.sh", "python3 `dirname $0`/run_tests.py", "run-tests"),
    (
        "bash $(git rev-parse --show-toplevel)/run_tests.sh",
        "python3 $(git rev-parse --show-toplevel)/run_tests.py",
        "run-tests",
    ),
    (
        "cd .. && sh run_tests.sh; sh run_tests.sh",
        "cd .. && python3 run_tests.py; python3 run_tests.py",
        "cd .. && run-tests; run-tests",
    ),
    ("bash \\\n  ./run_tests.sh --x", "python3 \\\n  ./run_tests.py --x", "run-tests --x"),
    ("\t@./run_tests.sh", "\t@./run_tests.py", "\t@run-tests"),
    ("\t-@bash ./run_tests.sh", "\t-@python3 ./run_tests.py", "\t-@run-tests"),
    ("\t-./run_tests.sh", "\t-./run_tests.py", "\t-run-tests"),
    ("\t$(SHELL) run_tests.sh", "\tpython3 run_tests.py", "\trun-tests"),
    ("\t$(CURDIR)/run_tests.sh", "\t$(CURDIR)/run_tests.py", "\trun-tests"),
    (
        "run: ${{ github.workspace }}/run_tests.sh",
        "run: ${{ github.workspace }}/run_tests.py",
        "run: run-tests",
    ),
    (
        "A=1 timeout 60 bash run_tests.sh | tee log",
        "A=1 timeout 60 python3 run_tests.py | tee log",
        "A=1 timeout 60 run-tests | tee log",
    ),
    (
        '{"test": "bash \\"./run_tests.sh\\" -q"}',
        '{"test": "python3 \\"./run_tests.py\\" -q"}',
        '{"test": "run-tests -q"}',
    ),
    (
        'run(["bash", "run_tests.sh", "-q"])',
        'run(["python3", "run_tests.py", "-q"])',
        'run(["run-tests", "-q"])',
    ),
    ("['sh', '-e', './run_tests.sh']", "['python3', './run_tests.py']", "['run-tests']"),
    ('[\n "bash",\n "run_tests.sh",\n]', '[\n "python3",\n "run_tests.py",\n]', '[\n "run-tests",\n]'),
    ('run(["bash", str(ROOT / "run_tests.sh")])', HAND, HAND),
    ('f"bash {ROOT}/run_tests.sh"', 'f"python3 {ROOT}/run_tests.py"', 'f"run-tests"'),
    ("bash {{ dir }}/run_tests.sh", "python3 {{ dir }}/run_tests.py", "run-tests"),
    ("f\"bash {ROOT / 'run_tests.sh'}\"", HAND, HAND),
    ('os.system("bash " + ROOT + "/run_tests.sh")', HAND, HAND),
    ('os.system("exec sh -x " + ROOT + "/run_tests.sh")', HAND, HAND),
    ("bash <path>/run_tests.sh", HAND, HAND),
    ("RUNNER = ROOT / 'run_tests.sh'\nrun(['bash', str(RUNNER)])", HAND, HAND),
    ("bash -lc './run_tests.sh'", "bash -lc './run_tests.py'", "bash -lc 'run-tests'"),
    ('CMD ["/bin/sh", "/app/run_tests.sh"]', 'CMD ["python3", "/app/run_tests.py"]', 'CMD ["run-tests"]'),
    (
        "command:\n  - bash\n  - run_tests.sh\n",
        "command:\n  - python3\n  - run_tests.py\n",
        "command:\n  - run-tests\n",
    ),
    ("`./run_tests.sh --coverage`", "`./run_tests.py --coverage`", "`run-tests --coverage`"),
    ("`bash run_tests.sh`", "`python3 run_tests.py`", "`run-tests`"),
    ("**run_tests.sh**, then", "**run_tests.py**, then", "**run-tests**, then"),
    ("Call run_tests.sh.", "Call run_tests.py.", "Call run-tests."),
    ("[x](run_tests.sh)", "[x](run_tests.py)", HAND),
    ("[x](../run_tests.sh#L12)", HAND, HAND),
    ("chmod +x run_tests.sh", "chmod +x run_tests.py", HAND),
    ("[ -x ./run_tests.sh ] && echo", "[ -x ./run_tests.py ] && echo", HAND),
    ("COPY run_tests.sh /app/", HAND, HAND),
    ("busybox sh run_tests.sh", "python3 run_tests.py", "run-tests"),
    ('case "$1" in */run_tests.sh) ;; esac', 'case "$1" in */run_tests.py) ;; esac', HAND),
    ("*run_tests.sh)", "*run_tests.py)", HAND),
    ("^run_tests\\.sh$", "^run_tests\\.py$", HAND),
    ("run_tests.sh/run_ci_replica.sh", "run_tests.py/run_ci_replica.py", "run-tests/run-ci-replica"),
    (
        '"\\nrun_tests.sh \\n./run_tests.sh"',
        '"\\nrun_tests.py \\n./run_tests.py"',
        '"\\nrun-tests \\nrun-tests"',
    ),
    ('"\\033[1mrun_tests.sh"', '"\\033[1mrun_tests.py"', '"\\033[1mrun-tests"'),
    (".\\run_tests.sh", ".\\run_tests.py", "run-tests"),
    ("~/src/shop/run_tests.sh", "~/src/shop/run_tests.py", "run-tests"),
    ("/home/me/src/shop/run_tests.sh x", "/home/me/src/shop/run_tests.py x", HAND),
    ("/home/me/tools/run_tests.sh", HAND, HAND),
    ("store/run_tests.sh", "store/run_tests.py", "run-tests"),
    ("shop/run_tests.sh", "shop/run_tests.py", "run-tests"),
    ("source run_tests.sh", HAND, HAND),
    (". ./run_tests.sh", HAND, HAND),
    ('x && . "$D/run_tests.sh"', HAND, HAND),
    ("bash < run_tests.sh", HAND, HAND),
    ("See <run_tests.sh>.", "See <run_tests.py>.", "See <run-tests>."),
    ("cat run_tests.sh | bash", HAND, HAND),
    ("shellcheck -x run_tests.sh", HAND, HAND),
    ("- id: shellcheck\n  files: run_tests.sh", HAND, HAND),
    ("sed -i s/a/b/ run_tests.sh", HAND, HAND),
    ("git-bash run_tests.sh", HAND, HAND),
    ("S=./run_tests.sh\nbash $S", HAND, HAND),
    ('for f in a.sh run_tests.sh; do\n  bash -n "$f"\ndone', HAND, HAND),
    ("chmod +x run_*.sh", HAND, HAND),
    ("run_{tests,ci_replica}.sh", HAND, HAND),
    ("tools/run_tests.sh", HAND, HAND),
    ("~/run_tests.sh", HAND, HAND),
    ("working-directory: sub\nrun: ./run_tests.sh", HAND, HAND),
    (
        "https://github.com/me/shop/blob/main/run_tests.sh",
        "https://github.com/me/shop/blob/main/run_tests.py",
        HAND,
    ),
    (
        "https://raw.githubusercontent.com/me/shop/HEAD/run_tests.sh",
        "https://raw.githubusercontent.com/me/shop/HEAD/run_tests.py",
        HAND,
    ),
]


@pytest.mark.parametrize(("text", "file", "package"), FORMS, ids=[repr(form[0]) for form in FORMS])
def test_a_form_becomes_what_calls_the_new_command(text: str, file: str | None, package: str | None) -> None:
    assert migrated(text) == file
    assert migrated(text, NewCommand.PACKAGE) == package


class Form(Struct, frozen=True, kw_only=True):
    """A form in a file of some name.

    Args:
        file: what it becomes with `./run_tests.py`; None: it stays.
        package: what it becomes with `run-tests`; None: part of it is left to a person.
        left: the reasons why parts are left to a person with `./run_tests.py`.
    """

    path: str
    text: str
    file: str | None = None
    package: str | None = None
    left: tuple[str, ...] = ()


FORMS_OF_FILES = convert(
    json.loads((Path(__file__).resolve().parents[3] / "fixtures" / "migration_forms.json").read_bytes()),
    tuple[Form, ...],
)


@pytest.mark.parametrize(
    "form", FORMS_OF_FILES, ids=[f"{form.path} {form.text!r}" for form in FORMS_OF_FILES]
)
def test_a_form_of_a_file_is_changed_or_left_with_its_reason(form: Form) -> None:
    found = find_references(form.text, place(form.path), NewCommand.FILE)

    assert edited(form.text, found) == (form.text if form.file is None else form.file)
    assert tuple(dict.fromkeys(one.reason for one in found if one.reason)) == form.left
    if not form.left:
        assert migrated(form.text, NewCommand.PACKAGE, form.path) == (form.package if found else form.text)


@pytest.mark.parametrize(
    "text",
    [
        "my_run_tests.sh",
        "prerun_tests.shx",
        "run_tests.sh.bak",
        "run_tests.sh.backup",
        "run_tests.sh~",
        "run_tests.sh-old",
        "run_tests.sh/x",
        "x-run_tests.sh",
        "Run_tests.sh",
        "run_tests.py",
        "\u00e4run_tests.sh",
        "\udce4run_tests.sh",
        "run_tests.sh\u00e4",
        "other/run_tests.sh",
        '"$ROOT/other/run_tests.sh"',
        "/usr/share/x/run_tests.sh",
        "cd other && ./run_tests.sh",
        "https://github.com/you/shop/blob/main/run_tests.sh",
        "https://github.com/me/shop/blob/v1.0/run_tests.sh",
        "https://github.com/me/shop-2/blob/main/run_tests.sh",
        "https://example.org/run_tests.sh",
        "git@github.com:you/shop/run_tests.sh",
        "./run_tests.sh  # passmuster: keep",
        "run_*.py test_*.sh",
        "<!-- passmuster: keep file -->\n./run_tests.sh",
    ],
)
def test_what_only_looks_like_a_reference_stays(text: str) -> None:
    assert find_references(text, place(), NewCommand.FILE) == []


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("CHANGELOG.md", True),
        ("docs/Changes.rst", True),
        ("NEWS", True),
        ("news/123.bugfix.rst", True),
        ("changes/+x.feature.md", True),
        ("docs/whatsnew/v1.0.rst", True),
        ("changelog.d/12.md", True),
        ("changes.py", False),
        ("news/index.html", False),
        ("history.sh", False),
        ("docs/changes-of-plans.md", False),
        ("changelog.d/make.py", False),
        ("README.md", False),
    ],
)
def test_history_is_known_by_its_path(path: str, *, expected: bool) -> None:
    assert is_history(path) is expected


def test_the_script_beside_a_file_is_meant_before_that_of_the_root() -> None:
    assert find_references("./run_tests.sh", place("sub/deep/page.md"), NewCommand.FILE) == []
    assert migrated("./run_tests.sh", path="docs/page.md") == "./run_tests.py"
    assert migrated('bash "$DIR/run_tests.sh"', path="sub/x.sh") is HAND


def test_a_command_does_not_depend_on_the_copy_of_a_script() -> None:
    text = 'COPY run_tests.sh /app/\nCMD ["/bin/sh", "/app/run_tests.sh"]'

    found = find_references(text, place("Dockerfile"), NewCommand.PACKAGE)

    assert [one.reason for one in found] == ["it names a file; run-tests is a command", ""]
    assert edited(text, found).endswith('CMD ["run-tests"]')


def test_only_the_line_with_the_mark_is_kept() -> None:
    text = "./run_tests.sh  # passmuster: keep\n./run_tests.sh\n"

    assert migrated(text) == "./run_tests.sh  # passmuster: keep\n./run_tests.py\n"


def test_a_shell_with_a_remark_behind_it_is_left_to_a_person() -> None:
    assert migrated('["bash",  # passmuster: keep\n "run_tests.sh"]') is HAND


def test_a_reference_knows_its_line_and_its_script() -> None:
    found = find_references("a\r\nb ./run_tests.sh\r\nsource run_ci_replica.sh", place(), NewCommand.FILE)

    assert [(one.line, one.stem, one.reason != "") for one in found] == [
        (2, "run_tests", False),
        (3, "run_ci_replica", True),
    ]


@pytest.mark.parametrize(
    ("path", "text", "new"),
    [
        ("tool.py", 'Path("run_tests.sh")', HAND),
        ("tool.py", "# calls run_tests.sh", "# calls run-tests"),
        ("Makefile", "test: run_tests.sh", HAND),
        ("ci.yml", "paths: [run_tests.sh]", HAND),
        ("CODEOWNERS", "/run_tests.sh @me", HAND),
        ("Dockerfile", "RUN /app/run_tests.sh", "RUN run-tests"),
        ("Dockerfile", "COPY run_tests.sh /app/", HAND),
    ],
)
def test_a_command_takes_no_place_of_a_file(path: str, text: str, new: str | None) -> None:
    assert migrated(text, NewCommand.PACKAGE, path) == new


def test_a_large_text_without_lines_is_read_in_time() -> None:
    text = '{"run: [x]": "$A/run_tests.sh", {"' * 5_000

    assert len(find_references(text, place(), NewCommand.FILE)) == 5_000
