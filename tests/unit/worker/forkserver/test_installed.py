"""How a change of installed packages is noticed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from worker.forkserver.installed import installed, package_folders


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "venv" / "lib" / "python3.11" / "site-packages"
    folder.mkdir(parents=True)
    return folder


def identity(site: Path) -> str:
    return installed(str(site.parents[2] / "bin" / "python"), "3.11.7").identity


def test_an_installed_package_makes_another_identity(site: Path) -> None:
    first = identity(site)
    assert identity(site) == first

    (site / "shelf-1.0.dist-info").mkdir()
    second = identity(site)
    (site / "link.pth").write_text("/one")
    third = identity(site)
    (site / "link.pth").write_text("/two")

    assert len({first, second, third, identity(site)}) == 4


def test_another_interpreter_is_another_identity(site: Path) -> None:
    names = {
        installed("/usr/bin/python3", "3.11.2", [str(site)]).identity,
        installed("/usr/bin/python3", "3.11.3", [str(site)]).identity,
        installed("/usr/bin/python4", "3.11.2", [str(site)]).identity,
    }

    assert len(names) == 3


def test_an_environment_has_its_own_packages_and_the_systems_if_it_says_so(site: Path) -> None:
    settings = site.parents[2] / "pyvenv.cfg"
    python = str(site.parents[2] / "bin" / "python")
    settings.write_text("home = /opt/base/bin\ninclude-system-site-packages = false\n")
    assert list(package_folders(python, "3.11.7")) == [str(site)]

    settings.write_text("home = /opt/base/bin\ninclude-system-site-packages = true\n")
    folders = list(package_folders(python, "3.11.7"))
    assert str(site) in folders
    assert "/opt/base/lib/python3.11/site-packages" in folders


def test_the_packages_of_this_interpreter_are_found() -> None:
    version = ".".join(str(number) for number in sys.version_info[:3])

    found = installed(sys.executable, version)

    assert any((Path(folder) / "pytest").is_dir() for folder in found.folders)
