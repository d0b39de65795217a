"""The HTML report in a real browser: loads nothing, fits a phone, works by keyboard and without a script."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from dispatcher.history.file_history import EarlierRun
from dispatcher.reporters.html.reporter import HtmlReporter
from passmuster.model.status import Status
from tests.e2e.support.browser import Browser, browser
from tests.e2e.support.outcome import Outcome
from tests.e2e.support.project import Project
from tests.support.report_page import no_history, rerun_command
from tests.support.report_runs import MIB, many_files, record, result, sample, told

FAILING = """\
import unittest

class Cart(unittest.TestCase):
    def test_total(self):
        print("</script><img src='https://example.com/x.png' onerror='window.harmed = 1'>")
        print("\\x1b[31mred\\x1b[0m <b>bold</b>")
        self.assertEqual(6, 7)
"""
FLAKY = """\
import pathlib, unittest

class Luck(unittest.TestCase):
    def test_luck(self):
        marker = pathlib.Path("was-here")
        lucky = marker.exists()
        marker.touch()
        self.assertTrue(lucky)
"""
PASSING = "import unittest\n\nclass Fine(unittest.TestCase):\n    def test_fine(self):\n        pass\n"


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(scope="module")
def ran(shared_project: Project) -> Outcome:
    """One run with a hostile failure, a second one, a flaky file and some that pass."""
    names = [
        f"tests/area/test_quite_a_long_name_of_a_file_that_passes_{number:02}.py" for number in range(12)
    ]
    shared_project.write(
        {
            "tests/test_cart.py": FAILING,
            "tests/test_empty.py": "raise SystemExit(3)\n",
            "tests/test_luck.py": FLAKY,
            **dict.fromkeys(names, PASSING),
        }
    )
    return shared_project.run("--report", "html", "--retries", "1", "-j", "2")


@pytest.fixture(scope="module")
def page(ran: Outcome, shared_project: Project) -> Path:
    (path,) = (shared_project.root / ".passmuster" / "runs").glob("*/report.html")
    return path


@pytest.fixture(scope="module")
def large_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of 10,000 files on four machines, of which some failed, with 19 earlier runs."""
    path = tmp_path_factory.mktemp("large") / "page.html"

    def earlier_runs(
        run_id: str, paths: Collection[str], or_unsteady: Collection[str]
    ) -> dict[str, tuple[EarlierRun, ...]]:
        runs = [
            EarlierRun(statuses=(Status.PASS,), duration_s=60.0 + number, peak_bytes=number * MIB)
            for number in range(19)
        ]
        return dict.fromkeys(paths, tuple(runs))

    reporter = HtmlReporter(
        path, runs_dir=path.parent, earlier_runs=earlier_runs, rerun=rerun_command, say=lambda line: None
    )
    for event in many_files(10_000, machines=4, failing_every=400):
        reporter.handle(event)
    return path


def test_the_console_says_where_the_page_is_after_all_else(ran: Outcome, page: Path) -> None:
    assert ran.code == 1
    assert ran.stdout.splitlines()[-3:] == [
        "tests/test_cart.py",
        "tests/test_empty.py",
        f"[INFO] Report: {page}",
    ]


def test_nothing_is_loaded_and_nothing_is_complained_of(window: Browser, page: Path) -> None:
    window.open(page)
    window.complaints(), window.requests()
    window.open(page)

    assert window.driver.title.startswith("2 of 15 files failed")
    assert window.complaints() == []
    requests = window.requests()
    assert page.as_uri() in requests
    assert [url for url in requests if url not in (page.as_uri(), "about:blank") and url[:5] != "data:"] == []


def test_what_slipped_into_the_page_could_neither_run_nor_load(window: Browser, page: Path) -> None:
    window.open(page)
    window.run("""
        const script = document.createElement("script");
        script.textContent = "window.harmed = 2";
        document.body.append(script);
        const image = document.createElement("img");
        image.src = "http://127.0.0.1:9/x.png";
        document.body.append(image);
    """)

    assert window.run("return window.harmed ?? null") is None
    refused = window.complaints()
    assert len([text for text in refused if "Content Security Policy" in text]) == 2, refused


def test_what_a_test_printed_is_text(window: Browser, page: Path) -> None:
    window.open(page)

    printed = window.run(
        "return [...document.querySelectorAll('#failures pre')].map((one) => one.textContent)"
    )
    assert any("</script><img src='https://example.com/x.png'" in text for text in printed)
    assert any("red <b>bold</b>" in text for text in printed)
    assert window.run("return document.images.length") == 0
    assert window.run("return window.harmed ?? null") is None


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("which", ["page", "large_page"])
def test_a_phone_does_not_scroll_sideways(
    window: Browser, request: pytest.FixtureRequest, which: str, dark: bool
) -> None:
    window.open(request.getfixturevalue(which), width=320, dark=dark)
    window.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    window.run("document.getElementById('zoom-in').click()")

    assert window.run("return document.documentElement.scrollWidth") == 320
    assert window.run("return document.querySelectorAll('#trends tbody tr').length") == (
        50 if "large" in which else 0
    )
    assert window.run("return document.getElementById('time-scroller').scrollWidth") > 320


@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_all_text_can_be_read_in_light_and_dark(window: Browser, page: Path, dark: bool, width: int) -> None:
    window.open(page, dark=dark, width=width)
    window.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    texts = window.run(CONTRASTS)

    assert len(texts) > 100
    assert [text for text in texts if text[0] < 4.5] == []
    background = window.run("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) < 200) is dark


def test_everything_can_be_reached_with_tab_and_is_seen_there(window: Browser, page: Path) -> None:
    window.open(page)
    window.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    wanted = window.run(REACHABLE)
    seen: list[str] = []
    for _ in range(len(wanted) + 20):
        window.press(Keys.TAB)
        name, ring = window.run(FOCUSED)
        if name in ("", *seen[:1]):
            break
        assert ring, f"no ring around {name}"
        seen.append(name)

    assert seen[0] == "a: Skip to the content"
    assert sorted(set(wanted) - set(seen)) == []


def test_a_failure_is_opened_and_closed_by_keyboard(window: Browser, page: Path) -> None:
    window.open(page)
    window.run("document.querySelectorAll('#failures .file > summary')[1].focus()")
    states = []
    for key in (Keys.ENTER, Keys.SPACE, Keys.ENTER):
        window.press(key)
        states.append(window.run("return document.querySelectorAll('#failures .file')[1].open"))

    assert states == [False, True, False]


def test_the_table_is_sorted_by_keyboard(window: Browser, page: Path) -> None:
    window.open(page)
    assert (
        window.run("return document.querySelector('[data-key=duration]').getAttribute('aria-sort')")
        == "descending"
    )
    window.run("document.querySelector('[data-key=name] button').focus()")
    window.press(Keys.ENTER)
    rising, order = names(window), sort_of(window)
    window.press(Keys.SPACE)

    assert order == "ascending"
    assert rising == sorted(rising)
    assert len(rising) == 15
    assert (names(window), sort_of(window)) == (rising[::-1], "descending")
    assert window.run("return document.querySelectorAll('[aria-sort]').length") == 1


@pytest.mark.parametrize("which", ["page", "large_page"])
def test_the_script_builds_the_same_rows_as_the_page_has(
    window: Browser, request: pytest.FixtureRequest, which: str
) -> None:
    window.open(request.getfixturevalue(which))
    body = "return document.querySelector('#files-table tbody').innerHTML.replaceAll('\\n', '')"
    before = window.run(body)
    window.run(
        "for (const key of ['name', 'duration']) document.querySelector(`[data-key=${key}] button`).click()"
    )

    assert window.run(body) == before


def test_the_table_is_filtered_by_text_and_by_verdict(window: Browser, large_page: Path) -> None:
    window.open(large_page)
    assert len(names(window)) == 50
    window.run("document.getElementById('files-find').focus()")
    window.press("feature_0777")
    count = "return document.querySelector('#files-count').textContent"
    window.wait_for(count, "10 of 10,000 files.")
    window.run("document.querySelector('input[value=failed]').click()")
    assert names(window) == []
    window.run("document.getElementById('files-find').select()")
    window.press(Keys.BACKSPACE)
    window.wait_for(count, "25 of 10,000 files.")
    assert len(names(window)) == 25
    window.run(
        "document.querySelector('input[value=all]').click(); document.getElementById('files-more').click()"
    )
    assert len(names(window)) == 550


def test_the_timeline_is_walked_by_keyboard_to_a_failure(window: Browser, page: Path) -> None:
    window.open(page)
    window.run("document.querySelector('#time-bars rect[tabindex=\"0\"]').focus()")
    read = "return document.getElementById('bar-details').innerText"
    texts = [window.run(read)]
    while "tests/test_cart.py" not in texts[-1]:
        window.press(Keys.ARROW_RIGHT)
        texts.append(window.run(read))
        assert texts[-1] != texts[-2], "the last bar, and none was that of the failure"

    assert "slot" in texts[-1]
    assert "fail" in texts[-1]
    assert "tests/test_cart.py" in window.run("return document.activeElement.getAttribute('aria-label')")
    window.run("document.querySelector('#failures .file').open = false")
    window.press(Keys.ENTER)
    assert window.run("return document.querySelector('#failures .file').open")
    assert "tests/test_cart.py" in window.run("return document.activeElement.innerText")


def test_the_timeline_is_zoomed_inside_its_own_window(window: Browser, page: Path) -> None:
    window.open(page)
    window.run("document.querySelector('#time-bars rect[tabindex=\"0\"]').focus()")
    width = "return document.getElementById('time-bars').clientWidth"
    before = window.run(width)
    window.press("+", "+")
    wide = window.run(width)
    window.press("0")

    assert wide > 3 * before
    assert window.run(width) == before


def test_memory_is_read_by_keyboard(window: Browser, page: Path) -> None:
    window.open(page)
    if not window.run("return document.getElementById('memory-chart') !== null"):
        assert "Not sampled" in window.run("return document.getElementById('memory').innerText")
        return
    window.run("document.getElementById('memory-chart').focus()")
    window.press(Keys.HOME)

    assert "running" in window.run("return document.getElementById('memory-details').innerText")


def test_the_charts_have_a_bar_for_each_attempt_and_a_curve_for_each_machine(
    window: Browser, large_page: Path
) -> None:
    window.open(large_page)
    count = "return document.querySelectorAll(arguments[0]).length"

    assert window.driver.execute_script(count, "#time-bars rect") == 10_000
    assert window.driver.execute_script(count, "#time-bars rect.is-fail") == 25
    assert window.driver.execute_script(count, "#time-bars .lane") == 16
    assert window.run(TEXTS.format(".gutter .machine")) == ["box-01", "box-02", "box-03", "box-04"]
    assert window.run(TEXTS.format(".gutter .slot")) == ["1", "2", "3", "4"] * 4
    assert window.driver.execute_script(count, ".chart .used") == 5
    places = (
        "[...document.querySelectorAll('#time-bars rect')].map((one) => parseFloat(one.getAttribute('x')))"
    )
    assert window.run(f"return Math.min(...{places})") == 0
    assert 99 < window.run(f"return Math.max(...{places})") < 100


@pytest.mark.parametrize("duration_s", [0.002, 0.7, 8.0, 100.0, 5000.0, 3_000_000.0])
def test_the_axes_have_few_short_labels_that_differ(
    window: Browser, tmp_path: Path, duration_s: float
) -> None:
    path = tmp_path / "page.html"
    reporter = HtmlReporter(
        path, runs_dir=tmp_path, earlier_runs=no_history, rerun=rerun_command, say=lambda line: None
    )
    one = record(result("t.py", duration=duration_s))
    for event in told(one, samples=[sample(duration_s / 2, 300 * MIB)], duration_s=duration_s):
        reporter.handle(event)
    window.open(path)

    for axis, most in (("#time-axis text", 14), ("#memory-chart .time", 6)):
        labels = window.run(TEXTS.format(axis))
        assert labels[0] == "0"
        assert 2 <= len(labels) <= most
        assert len(set(labels)) == len(labels)
        assert max(map(len, labels)) <= len("23h 59m")
    assert window.run(TEXTS.format("#memory-chart .size")) == ["128 MiB", "256 MiB", "384 MiB"]


def test_without_a_script_the_tables_are_there_and_nothing_that_does_not_work(
    window: Browser, page: Path, large_page: Path
) -> None:
    window.open(page, script=False)
    text = window.run("return document.body.innerText")

    assert "2 of 15 files failed" in text
    assert "AssertionError: 6 != 7" in text
    assert "tests/area/test_quite_a_long_name_of_a_file_that_passes_00.py" in text
    window.open(large_page, script=False)
    text = window.run("return document.body.innerText")
    assert "The chart needs JavaScript. The table of files has the times." in text
    assert "The charts need JavaScript. The table has the figures." in text
    assert "The other files need JavaScript." in text
    assert len(window.run("return [...document.querySelectorAll('#memory tbody tr')].map(String)")) == 12
    offered = (
        "return [...document.querySelectorAll('button, input, svg.chart, .scroller')]"
        ".filter((one) => one.checkVisibility()).length"
    )
    assert window.run(offered) == 0


def test_a_path_is_copied(window: Browser, page: Path) -> None:
    window.open(page)
    window.run("document.querySelector('.copy').focus()")
    window.press(Keys.ENTER)

    window.wait_for("return document.querySelector('.copy').textContent", "Copied")
    assert "tests/test_cart.py" in window.run(
        "return document.querySelector('.copy').getAttribute('aria-label')"
    )


@pytest.mark.parametrize("calm", [True, False])
def test_nothing_moves_for_who_does_not_want_it(window: Browser, page: Path, calm: bool) -> None:
    window.open(page, calm=calm)

    behaviour = window.run("return getComputedStyle(document.documentElement).scrollBehavior")
    assert behaviour == ("auto" if calm else "smooth")


def names(window: Browser) -> list[str]:
    """Return the files of the table, as they stand in it."""
    found: list[str] = window.run(
        "return [...document.querySelectorAll('#files-table tbody td.name > :first-child')]"
        ".map((one) => one.textContent)"
    )
    return found


def sort_of(window: Browser) -> str | None:
    """Return how the table says it is sorted by name."""
    found: str | None = window.run(
        "return document.querySelector('[data-key=name]').getAttribute('aria-sort')"
    )
    return found


TEXTS = "return [...document.querySelectorAll('{}')].map((one) => one.textContent)"

NAME = """
const name = (one) => one === document.body ? "" :
  one.tagName.toLowerCase() + ": "
  + (one.id || one.ariaLabel || one.textContent.trim().replace(/\\s+/g, " ").slice(0, 80));
"""

REACHABLE = (
    NAME
    + """
const all = document.querySelectorAll('a[href], button, summary, input:not([type=radio]), [tabindex="0"]');
return [...all].filter((one) => one.checkVisibility()).map(name);
"""
)

FOCUSED = (
    NAME
    + """
const one = document.activeElement, seen = one.type === "radio" ? one.nextElementSibling : one;
const style = getComputedStyle(seen);
const ringed = one.tagName === "rect" && parseFloat(style.strokeWidth) >= 2;
return [name(one), ringed || style.outlineStyle !== "none"];
"""
)

CONTRASTS = """
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
canvas.canvas.width = canvas.canvas.height = 1;
const channels = (color) => {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = color;
  canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
};
const luminance = (color) => {
  const [red, green, blue] = color.map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
const background = (element) => {
  for (let one = element; one; one = one.parentElement) {
    const color = channels(getComputedStyle(one).backgroundColor);
    if (color[3] === 255) return color;
  }
  return [255, 255, 255, 255];
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement, text = walker.currentNode.textContent.trim();
  if (!text || !element.checkVisibility() || element.closest(".unseen, .skip, script")) continue;
  const style = getComputedStyle(element);
  const color = channels(element.namespaceURI.endsWith("svg") ? style.fill : style.color);
  const [light, dark] = [luminance(color), luminance(background(element))].sort((a, b) => b - a);
  found.push([(light + 0.05) / (dark + 0.05), text.slice(0, 60), element.outerHTML.slice(0, 60)]);
}
return found;
"""
