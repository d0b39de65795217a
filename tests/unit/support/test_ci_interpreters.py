"""The interpreters that run the examples for CIs refuse what they do not know, and decide as CIs do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.ci_place import Place, UnknownFeatureError
from tests.support.pipeline_runner import Pipeline
from tests.support.workflow_expressions import Scope
from tests.support.workflow_runner import Run, result_of

VALUES = {"matrix.shard": "2", "needs.a.result": "failure", "secrets.none": "", "github.ref": "main"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    base = tmp_path / "machines"
    base.mkdir()
    return Place(
        base=base, repository=tmp_path, python=tmp_path / "python" / "bin", environ={"PATH": "/usr/bin:/bin"}
    )


@pytest.mark.parametrize(
    ("condition", "after_success", "after_failure"),
    [
        (None, True, False),
        ("always()", True, True),
        ("${{ always() }}", True, True),
        ("failure()", False, True),
        ("${{ !cancelled() }}", True, True),
        ("matrix.shard == '2'", True, False),
        ("always() && matrix.shard != '2'", False, False),
        ("(failure() || always()) && needs.a.result == 'failure'", True, True),
        ("secrets.none", False, False),
        ("contains(github.ref, 'ai') && cancelled()", False, False),
        ("contains(github.ref, 'ai')", True, False),
    ],
)
def test_a_condition_holds_as_on_github(
    condition: str | None, *, after_success: bool, after_failure: bool
) -> None:
    assert Scope(values=VALUES).condition(condition) is after_success
    assert Scope(values=VALUES, has_failed=True).condition(condition) is after_failure


def test_a_cancelled_job_has_not_failed_and_does_only_what_is_always_done() -> None:
    scope = Scope(values=VALUES, has_failed=True, is_cancelled=True)

    assert scope.condition("cancelled()")
    assert scope.condition("always()")
    assert not scope.condition("failure()")
    assert not scope.condition(None)


def test_texts_are_filled_in() -> None:
    scope = Scope(values=VALUES)

    assert scope.text("a ${{ matrix.shard }} ${{ secrets.none || 'x' }} ${{ always() }}") == "a 2 x true"
    assert (scope.text(None), scope.text(True), scope.text(4)) == ("", "true", "4")


@pytest.mark.parametrize(
    "expression",
    ["hashFiles('x')", "github.sha", "1 + 1", "'a", "(always()", "a b", "", "matrix.typo", "inputs.x && 'a'"],
)
def test_an_unknown_expression_is_refused(expression: str) -> None:
    with pytest.raises(UnknownFeatureError):
        Scope(values=VALUES).text(f"${{{{ {expression} }}}}")
    with pytest.raises(UnknownFeatureError):
        Scope(values=VALUES).condition(expression)


def test_a_matrix_may_come_from_the_output_of_a_job() -> None:
    scope = Scope(values={"needs.a.outputs.shards": "[1, 2]", "needs.a.result": "success"})

    assert scope.items("${{ fromJSON(needs.a.outputs.shards) }}") == [1, 2]
    with pytest.raises(UnknownFeatureError):
        scope.items("${{ needs.a.result }}")


@pytest.mark.parametrize(
    "workflow",
    [
        "{jobs: {}, defaults: {}}",
        "{jobs: {a: {steps: [], container: x}}}",
        "{jobs: {a: {steps: [{run: x, shell: sh}]}}}",
        "{jobs: {a: {steps: [{uses: someone/else@v1}]}}}",
        "{jobs: {a: {steps: [{uses: actions/checkout@v1, with: {ref: x}}]}}}",
        "{jobs: {a: {strategy: {max-parallel: 1}, steps: []}}}",
        "{jobs: {a: {strategy: {matrix: {include: []}}, steps: []}}}",
    ],
)
def test_an_unknown_feature_of_a_workflow_is_refused(place: Place, tmp_path: Path, workflow: str) -> None:
    path = tmp_path / "test.yml"
    path.write_text(workflow)

    with pytest.raises(UnknownFeatureError):
        Run(place=place).run(path)


@pytest.mark.parametrize(
    "pipeline",
    [
        "{stages: [a], default: {tags: [x]}}",
        "{stages: [a], job: {stage: a, script: [], rules: []}}",
        "{stages: [a], job: {stage: a, script: [], artifacts: {name: x}}}",
        "{stages: [a], job: {stage: a, script: [], cache: {unprotect: true}}}",
        "{include: [{component: host/you/passmuster/run-tests@main, inputs: {nonsense: 1}}]}",
    ],
)
def test_an_unknown_feature_of_a_pipeline_is_refused(tmp_path: Path, pipeline: str) -> None:
    path = tmp_path / "ci.yml"
    path.write_text(pipeline)
    base = tmp_path / "machines"
    base.mkdir()
    (tmp_path / "repository").mkdir()
    place = Place(
        base=base, repository=tmp_path / "repository", python=tmp_path, environ={"PATH": "/usr/bin:/bin"}
    )
    place.clone = lambda workspace: workspace.mkdir()  # type: ignore[method-assign]

    with pytest.raises(UnknownFeatureError):
        Pipeline(place=place).run(path)


def test_artifacts_caches_and_failures_are_those_of_github(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "test.yml"
    path.write_text(
        """
jobs:
  make:
    steps:
      - run: mkdir -p out/.hidden && touch out/seen out/.hidden/file && echo a page >> $GITHUB_STEP_SUMMARY
      - uses: actions/upload-artifact@v1
        with: {name: made, path: out}
      - uses: actions/cache/save@v1
        with: {path: out, key: "key-${{ github.run_id }}"}
      - run: false | true
      - run: touch not-reached
      - if: failure()
        run: test ! -e not-reached && echo reached
  never: {needs: make, steps: []}
  use:
    needs: [make]
    if: always()
    steps:
      - uses: actions/cache/restore@v1
        with: {path: out, key: none, restore-keys: key-}
      - uses: actions/download-artifact@v1
        with: {pattern: "m*", path: in, merge-multiple: true}
      - run: ls -A in out
      - uses: actions/upload-artifact@v1
        with: {name: made, path: out}
""",
        encoding="utf-8",
    )

    logs = Run(place=place).run(path)

    assert {name: result_of(job) for name, job in logs.items()} == {
        "make": "failure",
        "never": "skipped",
        "use": "failure",  # An artifact of that name exists.
    }
    assert logs["make"][0].summary == "a page\n"
    assert "\nreached\n" in logs["make"][0].output
    assert "\nin:\nseen\n\nout:\n.hidden\nseen\n" in logs["use"][0].output
