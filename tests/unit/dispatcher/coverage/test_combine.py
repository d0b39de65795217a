"""Coverage data is combined into reports, with the real coverage in a real process."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from coverage.results import display_covered, should_fail_under
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dispatcher.coverage.combine import (
    CollectedData,
    CoverageReport,
    display_percent,
    merge_coverage,
    read_rows,
)
from dispatcher.coverage.request import CoveragePlan
from passmuster.model.errors import InfrastructureError, PassmusterError

REPORT = CoverageReport(
    percent=50.0,
    percent_text="50",
    precision=0,
    rows=(),
    text_path=Path("t"),
    html_path=Path("h"),
    xml_path=None,
    files_without_data=(),
    warnings=(),
)


@pytest.fixture
def plan(tmp_path: Path) -> CoveragePlan:
    workdir = tmp_path / "project"
    (workdir / "shop").mkdir(parents=True)
    (tmp_path / "reports").mkdir()
    write(workdir / "shop" / "__init__.py", "")
    write(workdir / "shop" / "goods.py", "def price():\n    return 1\n\n\ndef other():\n    return 2\n")
    write(workdir / "shop" / "my goods.py", "never = 1\n")
    return CoveragePlan(
        root=workdir,
        interpreter=sys.executable,
        workdir=workdir,
        data_directory=tmp_path / "data",
        report_directory=tmp_path / "reports",
    )


def write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def measure(plan: CoveragePlan, name: str, code: str) -> str:
    """Run `code` as a file of the project under `coverage run`; return its data file."""
    write(plan.workdir / name, code)
    data_file = str(plan.workdir.parent / f"{name}.data")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "coverage",
            "run",
            f"--data-file={data_file}",
            f"--include={plan.workdir}/*",
            name,
        ],
        cwd=plan.workdir,
        check=True,
    )
    return data_file


def merge(plan: CoveragePlan, *data_files: str, without_data: tuple[str, ...] = ()) -> CoverageReport:
    return merge_coverage(plan, CollectedData(data_files=data_files, files_without_data=without_data))


def test_all_reports_are_written_and_data_is_kept(plan: CoveragePlan, tmp_path: Path) -> None:
    plan = replace(plan, xml_path=tmp_path / "coverage.xml", key_files=("goods.py", "shop/my goods.py"))
    first = measure(plan, "test_a.py", "from shop import goods\ngoods.price()\n")
    second = measure(plan, "test_b.py", "from shop import goods\ngoods.other()\n")
    report = merge(plan, first, second, without_data=("test_c.py",))
    # Nine lines, and the one of the file that nobody imported is missing.
    assert report.percent_text == "89"
    assert abs(report.percent - 100 * 8 / 9) < 1e-9
    assert [(row.path, row.percent_text) for row in report.rows] == [
        ("shop/goods.py", "100"),
        ("shop/my goods.py", "0"),
    ]
    assert report.text_path == tmp_path / "reports" / "coverage_report.txt"
    assert "TOTAL" in report.text_path.read_text()
    assert report.rows[0].line in report.text_path.read_text().splitlines()
    assert report.html_path == tmp_path / "reports" / "index.html"
    assert "89%" in report.html_path.read_text()
    assert (tmp_path / "coverage.xml").read_text().startswith("<?xml")
    assert Path(first).exists()
    assert report.files_without_data == ("test_c.py",)
    assert report.warnings == ()


def test_data_of_remote_workers_belongs_to_the_same_files(plan: CoveragePlan, tmp_path: Path) -> None:
    places = [tmp_path / "elsewhere", tmp_path / "there" / "project"]
    data_files = [measure(plan, "test_here.py", "from shop import goods\n")]
    for number, place in enumerate(places):
        shutil.copytree(plan.workdir, place)
        remote = replace(plan, workdir=place)
        data_files.append(measure(remote, f"test_{number}.py", "from shop import goods\ngoods.other()\n"))
        write(plan.workdir / f"test_{number}.py", "from shop import goods\ngoods.other()\n")
        shutil.rmtree(place)
    roots = tuple(map(str, (*places, plan.workdir)))

    data = CollectedData(data_files=tuple(data_files), files_without_data=(), roots=roots)
    report = merge_coverage(replace(plan, key_files=("*",)), data)

    assert {row.path: row.percent_text for row in report.rows} == {
        "shop/__init__.py": "100",
        "shop/goods.py": "75",
        "shop/my goods.py": "0",
        "test_0.py": "100",
        "test_1.py": "100",
        "test_here.py": "100",
    }
    assert report.warnings == ()


def test_a_second_report_replaces_the_first(plan: CoveragePlan, tmp_path: Path) -> None:
    data = measure(plan, "test_a.py", "from shop import goods\n")
    merge(plan, data)
    (plan.workdir / "shop" / "my goods.py").unlink()
    write(tmp_path / "reports" / "mine.txt", "mine")
    before = {path.name for path in (tmp_path / "reports").iterdir()}
    merge(plan, data)
    gone = before - {path.name for path in (tmp_path / "reports").iterdir()}
    assert [name.endswith("my_goods_py.html") or "my goods" in name for name in gone] == [True]


def test_the_projects_precision_and_formats_are_respected_but_the_text_report_stays_text(
    plan: CoveragePlan,
) -> None:
    write(plan.workdir / ".coveragerc", "[report]\nprecision = 2\nformat = markdown\n")
    report = merge(plan, measure(plan, "test_a.py", "from shop import goods\ngoods.price()\n"))
    assert report.percent_text == "71.43"
    assert report.text_path.read_text().splitlines()[0].startswith("Name ")


def test_broken_data_is_a_warning_and_the_rest_is_reported(plan: CoveragePlan, tmp_path: Path) -> None:
    good = measure(plan, "test_a.py", "from shop import goods\n")
    write(tmp_path / "broken", "this is no data")
    report = merge(plan, str(tmp_path / "broken"), good)
    (warning,) = report.warnings
    assert str(tmp_path / "broken") in warning
    assert report.percent > 0


def test_a_measured_file_that_is_gone_costs_its_row_only(plan: CoveragePlan) -> None:
    write(plan.workdir / "gone.py", "value = 1\n")
    data = measure(plan, "test_a.py", "import gone\nfrom shop import goods\n")
    (plan.workdir / "gone.py").unlink()
    report = merge(plan, data)
    assert [row.path for row in read_rows(report.text_path.read_text())] == [
        "shop/__init__.py",
        "shop/goods.py",
        "shop/my goods.py",
        "test_a.py",
    ]
    assert any("gone.py" in warning for warning in report.warnings)


def test_an_error_of_the_html_report_is_an_error_of_the_whole(plan: CoveragePlan) -> None:
    write(plan.workdir / ".coveragerc", "[html]\nextra_css = no_such.css\n")
    data = measure(plan, "test_a.py", "from shop import goods\n")
    with pytest.raises(PassmusterError, match=r"no coverage report: .*no_such\.css"):
        merge(plan, data)


def test_variables_of_coverage_do_not_reach_the_combining_process(
    plan: CoveragePlan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = measure(plan, "test_a.py", "from shop import goods\n")
    monkeypatch.setenv("COVERAGE_FILE", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("COVERAGE_PROCESS_START", str(tmp_path / "no such file"))
    monkeypatch.setenv("COVERAGE_DEBUG", "config,dataio")
    assert merge(plan, data).warnings == ()
    assert not (tmp_path / "elsewhere").exists()


def test_no_data_is_a_clear_error(plan: CoveragePlan) -> None:
    with pytest.raises(PassmusterError, match="no test file delivered coverage data"):
        merge(plan)


def test_data_that_measures_nothing_is_a_clear_error(plan: CoveragePlan) -> None:
    plan = replace(plan, source=("no_such_package",))
    data = str(plan.workdir.parent / "empty")
    subprocess.run(
        [
            sys.executable,
            "-c",
            f"import coverage; c = coverage.CoverageData({data!r}); c.add_lines({{}}); c.write()",
        ],
        check=True,
    )
    with pytest.raises(PassmusterError, match="no coverage report"):
        merge(plan, data)


def test_a_wrong_configuration_of_the_project_is_one_line(plan: CoveragePlan) -> None:
    data = measure(plan, "test_a.py", "from shop import goods\n")
    write(plan.workdir / ".coveragerc", "[run]\nplugins = no_such_plugin\n")
    with pytest.raises(PassmusterError, match=r"no coverage report: .*no_such_plugin") as caught:
        merge(plan, data)
    assert "\n" not in str(caught.value)


def test_an_interpreter_that_breaks_is_an_error_of_the_infrastructure(
    plan: CoveragePlan, tmp_path: Path
) -> None:
    data = measure(plan, "test_a.py", "from shop import goods\n")
    with pytest.raises(InfrastructureError, match="status 1"):
        merge(replace(plan, interpreter="/bin/false"), data)
    with pytest.raises(InfrastructureError, match="nowhere"):
        merge(replace(plan, interpreter=str(tmp_path / "nowhere")), data)


@given(st.floats(0, 100), st.integers(0, 4))
def test_percentages_are_displayed_as_coverage_does(percent: float, precision: int) -> None:
    assert display_percent(percent, precision=precision) == display_covered(percent, precision)


@given(st.floats(0, 100), st.integers(0, 3), st.sampled_from([0.0, 50.0, 79.5, 80.0, 99.99, 100.0]))
def test_a_required_percentage_is_compared_by_coverages_own_rule(
    percent: float, precision: int, demanded: float
) -> None:
    report = replace(REPORT, percent=percent, precision=precision)
    assert report.is_below(demanded) is should_fail_under(percent, demanded, precision)


def test_rows_are_read_with_branches_spaces_and_missing_lines() -> None:
    text = (
        "Name              Stmts   Miss Branch BrPart  Cover   Missing\n"
        "-------------------------------------------------------------\n"
        "shop/a 1 file.py     10      2      4      1    79%   3-4, 9->11\n"
        "TOTAL                10      2      4      1    79%\n"
        "\n"
        "1 empty file skipped.\n"
    )
    (row,) = read_rows(text)
    assert (row.path, row.percent_text) == ("shop/a 1 file.py", "79")


@pytest.mark.parametrize(
    ("key", "found"),
    [("goods.py", True), ("shop/goods.py", True), ("oods.py", False), ("*/goods.py", True), ("g*.py", True)],
)
def test_key_files_are_found_by_name_path_or_pattern(plan: CoveragePlan, key: str, found: bool) -> None:
    report = merge(replace(plan, key_files=(key,)), measure(plan, "test_a.py", "from shop import goods\n"))
    assert [row.path for row in report.rows] == (["shop/goods.py"] if found else [])
