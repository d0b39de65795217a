"""The combinations of a matrix are those of CI, in its order; expressions are evaluated or kept apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.replica.expressions import UNKNOWN, Context, Unknowns, assume_condition, evaluate
from dispatcher.replica.matrix import combinations, format_combination
from dispatcher.replica.node import Node
from passmuster.model.errors import ConfigurationError


def combined(matrix: object) -> tuple[dict[str, object], ...] | None:
    return combinations(Node(value=matrix, where="test.yml, matrix"), Context())


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        (None, [{}]),
        ({"a": [1, 2]}, [{"a": 1}, {"a": 2}]),
        (
            {"a": [1, 2], "b": ["x", "y"]},
            [{"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}, {"a": 2, "b": "y"}],
        ),
        ({"a": [1, 2], "exclude": [{"a": 1}]}, [{"a": 2}]),
        ({"a": [1], "b": [2, 3], "exclude": [{"a": 1, "b": 3}]}, [{"a": 1, "b": 2}]),
        ({"include": [{"a": 1}, {"a": 2}]}, [{"a": 1}, {"a": 2}]),
        ({"a": [1, 2], "include": [{"c": 9}]}, [{"a": 1, "c": 9}, {"a": 2, "c": 9}]),
        ({"a": [1, 2], "include": [{"a": 2, "c": 9}]}, [{"a": 1}, {"a": 2, "c": 9}]),
        ({"a": [1], "include": [{"a": 3, "c": 9}]}, [{"a": 1}, {"a": 3, "c": 9}]),
        ({"a": [1], "include": [{"c": 8}, {"c": 9}]}, [{"a": 1, "c": 9}]),
        ({"a": [1], "exclude": [{"a": 1}]}, [{}]),
    ],
)
def test_the_combinations_are_those_of_ci(matrix: object, expected: list[dict[str, object]]) -> None:
    assert combined(matrix) == tuple(expected)


def test_the_fruit_of_the_documentation() -> None:
    matrix = {
        "fruit": ["apple", "pear"],
        "animal": ["cat", "dog"],
        "include": [
            {"color": "green"},
            {"color": "pink", "animal": "cat"},
            {"fruit": "apple", "shape": "circle"},
            {"fruit": "banana"},
            {"fruit": "banana", "animal": "cat"},
        ],
    }

    assert combined(matrix) == (
        {"fruit": "apple", "animal": "cat", "color": "pink", "shape": "circle"},
        {"fruit": "apple", "animal": "dog", "color": "green", "shape": "circle"},
        {"fruit": "pear", "animal": "cat", "color": "pink"},
        {"fruit": "pear", "animal": "dog", "color": "green"},
        {"fruit": "banana"},
        {"fruit": "banana", "animal": "cat"},
    )


@pytest.mark.parametrize(
    "matrix",
    ["${{ fromJSON(needs.a.outputs.m) }}", {"a": [1], "include": "${{ fromJSON(needs.a.outputs.m) }}"}],
)
def test_a_matrix_made_by_an_expression_is_not_known(matrix: object) -> None:
    assert combined(matrix) is None


def test_an_axis_made_by_an_expression_is_evaluated_or_has_one_unknown_value() -> None:
    matrix = {"a": "${{ fromJSON('[1, 2]') }}", "b": "${{ fromJSON(needs.a.outputs.m) }}"}

    found = combined(matrix)

    assert found == ({"a": 1, "b": UNKNOWN}, {"a": 2, "b": UNKNOWN})
    assert format_combination(found[0]) == "a=1, b=unknown"


def test_a_large_matrix_is_cut_where_ci_cuts_it() -> None:
    found = combined({"a": list(range(1000)), "b": list(range(1000)), "c": list(range(1000))})

    assert found is not None
    assert len(found) == 256


@pytest.mark.parametrize("matrix", [[1], {"a": {"b": 1}}, {"include": [1]}, {"include": [[1]]}])
def test_another_shape_is_an_error_that_names_the_place(matrix: object) -> None:
    with pytest.raises(ConfigurationError, match=r"^test\.yml, matrix.* must be "):
        combined(matrix)


def test_a_combination_is_described() -> None:
    assert format_combination({"os": "ubuntu", "python": 3.12, "debug": True, "more": [1]}) == (
        "os=ubuntu, python=3.12, debug=true, more=[1]"
    )


CONTEXT = Context(
    scopes={
        "github": {"workspace": "/project", "event_name": "push"},
        "runner": {"os": "Linux"},
        "env": {"NAME": "ada"},
        "matrix": {"python": "3.12", "flag": True, "deep": {"er": 1.5}, "list": [1, "b"], "none": None},
        "strategy": {"job-index": 2, "job-total": 4},
        "needs": {"a": {"result": "success"}, "b": {"result": "success"}},
    }
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain $X {{ x }}", "plain $X {{ x }}"),
        ("${{ env.NAME }}-${{matrix.python}}", "ada-3.12"),
        ("${{ matrix.flag }} ${{ matrix.deep.er }}", "true 1.5"),
        ("${{ strategy.job-index }}/${{ strategy.job-total }}", "2/4"),
        ("${{ github.workspace }}/a on ${{ runner.os }}", "/project/a on Linux"),
        ("${{ GitHub.Workspace }} ${{ MATRIX.python }}", "/project 3.12"),
        ("x${{ matrix.other }}y", "xy"),
        ("${{\n env.NAME\n}}", "ada"),
        ("${{ env.NAME == 'ADA' }}", "true"),
        ("${{ matrix.other || 'x' }}", "x"),
        ("${{ matrix.flag && 'yes' || 'no' }}", "yes"),
        ("${{ !matrix.flag && 'yes' || 'no' }}", "no"),
        ("${{ format('py{0}-{1} {{}}', matrix.python, env.NAME) }}", "py3.12-ada {}"),
        ("${{ 'it''s' }} ${{ '}}' }}", "it's }}"),
        ("${{ matrix.list[1] }}${{ matrix['python'] }}", "b3.12"),
        ("${{ contains(needs.*.result, 'failure') }}", "false"),
        ("${{ contains(fromJSON('[\"a\", \"b\"]'), 'B') }}", "true"),
        ("${{ startsWith(matrix.python, '3.') && endsWith(matrix.python, 'T') }}", "false"),
        ("${{ join(matrix.list, '-') }} ${{ toJSON(matrix.list[0]) }}", "1-b 1"),
        ("${{ matrix.python >= 3.9 }} ${{ matrix.none == 0 }} ${{ 'a' < 'B' }}", "false true true"),
        ("${{ 0x10 }} ${{ -1.5 }} ${{ null }}", "16 -1.5 "),
    ],
)
def test_simple_expressions_are_evaluated(text: str, expected: str) -> None:
    assert evaluate(text, CONTEXT, Unknowns()) == expected


@pytest.mark.parametrize(
    "expression",
    [
        "secrets.TOKEN",
        "env.OTHER",
        "github.sha",
        "matrix.list",
        "matrix",
        "hashFiles('**/x')",
        "env.NAME == secrets.X",
        "secrets.X && env.NAME",
        "toJSON(github)",
        "nothing(1)",
        "env.NAME ==",
        "(env.NAME",
        "fromJSON('{')",
        "'open",
        "inputs.x || 'y'",
        "strategy.job-index + 1",
        "",
    ],
)
def test_others_are_kept_apart_and_shown_as_written(expression: str) -> None:
    unknowns = Unknowns()

    found = evaluate(f"a ${{{{ {expression} }}}} b", CONTEXT, unknowns)

    assert unknowns.are_in(found)
    assert expression not in found or not expression
    assert unknowns.restore(found) == " ".join(f"a ${{{{ {expression} }}}} b".split())


def test_an_expression_that_is_not_closed_stays_as_it_is() -> None:
    text = "${{ contains(" + "'a', " * 100

    assert evaluate(text, CONTEXT, Unknowns()) == text


def test_without_a_matrix_its_values_are_not_known() -> None:
    unknowns = Unknowns()

    assert unknowns.are_in(evaluate("${{ matrix.python }}", Context(), unknowns))


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("github.event_name == 'push'", True),
        ("${{ github.event_name != 'push' }}", False),
        ("success() && always() && !cancelled()", True),
        ("failure()", False),
        ("matrix.other", False),
        ("! matrix.other", True),
        ("secrets.X == 'a'", None),
        ("secrets.X == 'a' && false", False),
        ("secrets.X == 'a' || true", True),
        ("${{ failure() }} && true", True),
        ("no expression", None),
        ("0", False),
        ("''", False),
    ],
)
def test_a_condition_is_true_false_or_unknown(condition: str, *, expected: bool | None) -> None:
    assert assume_condition(condition, CONTEXT.with_scope("x", {})) is expected


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("secrets.X == 'a'", "secrets.X != 'a'", False),
        ("secrets.X == 'a'", "secrets.x == 'a'", True),
        ("secrets.X != 'a'", "secrets.X == 'a'", False),
        ("secrets.X", "!secrets.X", False),
        ("!secrets.X", "secrets.X", False),
        ("secrets.X && secrets.Y == 'b'", "secrets.Y != 'b' && github.event_name == 'push'", False),
        ("!(secrets.X || secrets.Y)", "secrets.Y", False),
        ("secrets.X || secrets.Y", "!secrets.X", None),
    ],
)
def test_of_exclusive_conditions_one_is_true(first: str, second: str, *, expected: bool | None) -> None:
    context = Context(scopes=CONTEXT.scopes)

    assert assume_condition(first, context) is None
    assert assume_condition(second, context) is expected


@given(st.text("a.*[]()!=<>&|'0 ,x", max_size=30))
def test_any_text_is_evaluated_or_kept(text: str) -> None:
    unknowns = Unknowns()

    found = evaluate(f"${{{{{text}}}}}", CONTEXT, unknowns)

    assert not unknowns.are_in(found) or unknowns.restore(found) == " ".join(f"${{{{{text}}}}}".split())
