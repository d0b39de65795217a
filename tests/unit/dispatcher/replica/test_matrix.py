"""The combinations of a matrix are those of CI, in its order; expressions are evaluated or kept apart."""

from __future__ import annotations

import pytest

from dispatcher.replica.expressions import Context, Unknowns, combinations, evaluate, format_combination
from dispatcher.replica.node import Node
from passmuster.model.errors import ConfigurationError


def combined(matrix: object) -> tuple[dict[str, object], ...] | None:
    return combinations(Node(value=matrix, where="test.yml, matrix"))


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


@pytest.mark.parametrize("matrix", ["${{ fromJSON(needs.a.outputs.m) }}", {"a": "${{ fromJSON('[1]') }}"}])
def test_a_matrix_made_by_an_expression_is_not_known(matrix: object) -> None:
    assert combined(matrix) is None


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
    workspace="/project",
    env={"NAME": "ada"},
    matrix={"python": "3.12", "flag": True, "deep": {"er": 1.5}, "list": [1]},
    job_index=2,
    job_total=4,
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
        "matrix.deep.other",
        "hashFiles('**/x')",
        "env.NAME == 'ada'",
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


def test_without_a_matrix_its_values_are_not_known() -> None:
    unknowns = Unknowns()

    assert unknowns.are_in(evaluate("${{ matrix.python }}", Context(workspace="/"), unknowns))
