"""A real browser for pages: Chromium without a window, driven by its own driver, without any network."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.support.ui import WebDriverWait

LOAD_TIMEOUT_S = 60.0

NAMES = ("chromium", "chromium-browser", "google-chrome")
"""What the browser is called on Debian, elsewhere, and on the machines of some CI."""

ARGUMENTS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


@dataclass(frozen=True, slots=True)
class Browser:
    """One window.

    Args:
        driver: what drives it.
    """

    driver: webdriver.Chrome

    def open(
        self, path: Path, *, width: int = 1280, dark: bool = False, script: bool = True, calm: bool = True
    ) -> None:
        """Open a page anew.

        Args:
            path: the file.
            width: pixels of the window; below 500 it is a phone's.
            dark: whether the user prefers dark colours.
            script: whether scripts run.
            calm: whether the user prefers that nothing moves.
        """
        self.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not script})
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {
                "features": [
                    {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
                    {"name": "prefers-reduced-motion", "value": "reduce" if calm else "no-preference"},
                ]
            },
        )
        self.driver.get("about:blank")  # Else a link to a part of the same page would not load it again.
        self.driver.get(path.as_uri())

    def run(self, script: str, *arguments: object) -> Any:
        """Run a script in the page and return what it returns."""
        return self.driver.execute_script(script, *arguments)

    def wait_for(self, script: str, wanted: object) -> None:
        """Wait until a script in the page returns what is wanted."""
        found: list[Any] = []

        def is_there(_: object) -> bool:
            found[:] = [self.run(script)]
            return bool(found == [wanted])

        with contextlib.suppress(TimeoutException):
            WebDriverWait(self.driver, 10.0, poll_frequency=0.05).until(is_there)
        assert found == [wanted]

    def press(self, *keys: str) -> None:
        """Press keys, one after the other, wherever the focus is."""
        ActionChains(self.driver, duration=0).send_keys(*keys).perform()

    def complaints(self) -> list[str]:
        """Return what the browser has complained of since the last call: errors, refused loads."""
        return [str(entry["message"]) for entry in self._log("browser")]

    def requests(self) -> list[str]:
        """Return what pages have asked for since the last call."""
        messages = [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        sent = [one["params"] for one in messages if one["method"] == "Network.requestWillBeSent"]
        return [params["request"]["url"] for params in sent]

    def _log(self, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.driver.get_log(kind)  # type: ignore[no-untyped-call]
        return found


@contextmanager
def browser(directory: Path) -> Iterator[Browser]:
    """Start a browser that keeps all it has in `directory`, and end it.

    Where there is none the test is skipped: CI installs one and does not allow that.
    """
    chromium = next(filter(None, map(shutil.which, NAMES)), None)
    chromedriver = shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        pytest.skip("no browser")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (*ARGUMENTS, f"--user-data-dir={directory}"):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium's needs a user who is not root.
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = Service(chromedriver, env={**os.environ, "HOME": str(directory)})
    driver = webdriver.Chrome(options=options, service=service)
    try:
        driver.set_page_load_timeout(LOAD_TIMEOUT_S)
        driver.set_script_timeout(LOAD_TIMEOUT_S)
        yield Browser(driver)
    finally:
        driver.quit()
