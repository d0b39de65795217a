"""The compose file: it is one, it lets nobody in, and it holds no secret. No container is started."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.compose import FILE, REPOSITORY, Compose, make_secrets, why_no_compose

WHY_NOT = why_no_compose()
needs_compose = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)

NAMES = ("passmuster_secret", "redis_password")


@needs_compose
def test_the_file_is_understood_with_all_its_profiles(tmp_path: Path) -> None:
    services = Compose(tmp_path / "checkout").config()["services"]

    assert sorted(services) == ["dispatcher", "flower", "redis", "worker"]


@needs_compose
def test_every_service_has_as_few_rights_as_it_needs(tmp_path: Path) -> None:
    for name, service in Compose(tmp_path / "checkout").config()["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["read_only"], name
        assert service["user"].partition(":")[0] not in ("", "0", "root"), name
        assert service["security_opt"] == ["no-new-privileges:true"], name


@needs_compose
def test_ports_are_open_to_this_machine_alone(tmp_path: Path) -> None:
    services = Compose(tmp_path / "checkout").config()["services"]
    ports = {name: port["host_ip"] for name, service in services.items() for port in service.get("ports", ())}

    assert ports == {"redis": "127.0.0.1", "flower": "127.0.0.1"}


@needs_compose
def test_no_secret_is_in_what_containers_are_started_with(tmp_path: Path) -> None:
    compose = Compose(tmp_path / "checkout")
    text = json.dumps(compose.config())

    for name in NAMES:
        assert (compose.secrets / name).read_text().strip() not in text
        assert str(compose.secrets / name) in text


@needs_compose
def test_only_what_signs_or_verifies_messages_gets_the_secret(tmp_path: Path) -> None:
    services = Compose(tmp_path / "checkout").config()["services"]
    given = {name for name, service in services.items() if "passmuster_secret" in json.dumps(service)}

    assert given == {"worker", "dispatcher"}


def start_flower(**environ: str) -> str:
    program = [sys.executable, str(FILE.parent / "docker" / "flower_app.py")]
    return subprocess.run(program, env=environ, capture_output=True, text=True, check=False).stderr


def test_flower_starts_without_the_secret() -> None:
    # Only its image contains Flower: here, Celery does not know the command.
    assert "No such command 'flower'" in start_flower(PASSMUSTER_BROKER_URL="redis://192.0.2.1:6379/0")


def test_flower_without_a_broker_ends_with_one_line() -> None:
    problem = "flower: no broker was given: use --broker URL, or set PASSMUSTER_BROKER_URL\n"
    assert start_flower() == problem


@needs_compose
def test_a_limit_is_memory_and_no_swap(tmp_path: Path) -> None:
    worker = Compose(tmp_path / "checkout", WORKER_MEMORY="700m", WORKER_CPUS="1.5").config()["services"][
        "worker"
    ]

    assert worker["mem_limit"] == worker["memswap_limit"] == str(700 << 20)
    assert worker["cpus"] == 1.5


@needs_compose
def test_without_secrets_it_says_how_to_make_them(tmp_path: Path) -> None:
    compose = Compose(tmp_path / "checkout")
    del compose.environ["PASSMUSTER_SECRETS"]

    assert "make them by scripts/make_secrets" in compose.call("up", status=1)


def test_ports_are_written_with_an_address_of_this_machine() -> None:
    ports = re.findall(r"^ *ports: (.*)$", FILE.read_text(encoding="utf-8"), re.MULTILINE)

    assert len(ports) == 2
    assert all(line.startswith('["127.0.0.1:${PASSMUSTER_') for line in ports)


def test_secrets_are_made_for_their_owner_alone_and_kept(tmp_path: Path) -> None:
    folder = make_secrets(tmp_path / "checkout")
    made = {name: (folder / name).read_text() for name in NAMES}
    subprocess.run([tmp_path / "checkout" / "scripts" / "make_secrets"], check=True)

    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(re.fullmatch("[0-9a-f]{64}", text) for text in made.values())
    assert len(set(made.values())) == len(NAMES)
    assert made == {name: (folder / name).read_text() for name in NAMES}
    settings = (tmp_path / "checkout" / ".env").read_text().splitlines()
    assert settings.count("PASSMUSTER_SECRETS=./secrets") == 1


@pytest.mark.parametrize("name", [".env", "secrets/"])
def test_secrets_are_neither_committed_nor_part_of_the_image(name: str) -> None:
    for ignored in (".gitignore", ".dockerignore"):
        lines = (REPOSITORY / ignored).read_text(encoding="utf-8").splitlines()
        assert f"/{name}" in lines or "*" in lines, ignored
        assert f"!{name.rstrip('/')}" not in lines, ignored
