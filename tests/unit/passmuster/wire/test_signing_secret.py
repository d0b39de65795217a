"""When a secret is required, and the warnings about weak protection."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from passmuster.model.errors import ConfigurationError
from passmuster.wire.broker import BrokerAddress, parse_broker
from passmuster.wire.signing_secret import require_secret, secret_warnings

GOOD = "0123456789abcdef"


def address(url: str) -> BrokerAddress:
    return parse_broker(url, source="--broker")


@pytest.mark.parametrize(
    ("url", "who"),
    [
        ("redis://:geheim@host", "other machines"),
        ("redis://:geheim@127.0.0.1", "other users of this machine"),
        ("rediss://:geheim@localhost", "other users of this machine"),
    ],
)
def test_every_broker_behind_a_port_needs_a_secret(url: str, who: str) -> None:
    require_secret(address(url), GOOD)
    with pytest.raises(
        ConfigurationError, match=f"can be reached from {who}.*set PASSMUSTER_SECRET"
    ) as caught:
        require_secret(address(url), "")
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("mode", "is_private"), [(0o700, True), (0o755, True), (0o775, False), (0o777, False)]
)
def test_a_socket_is_trusted_if_only_its_owner_can_connect(
    tmp_path: Path, mode: int, is_private: bool
) -> None:
    path = tmp_path / "redis.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        path.chmod(mode)
        if is_private:
            require_secret(address(f"redis+socket://{path}"), "")
        else:
            with pytest.raises(ConfigurationError, match="other users of this machine"):
                require_secret(address(f"redis+socket://{path}"), "")


def test_a_socket_of_another_user_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "redis.sock"
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        path.chmod(0o700)
        os.chown(path, owner or 12345, -1)
        with pytest.raises(ConfigurationError, match="other users of this machine"):
            require_secret(address(f"redis+socket://{path}"), "")


def test_two_secrets_may_be_valid_at_once_but_not_three() -> None:
    require_secret(address("redis://host"), f"{GOOD}\n{GOOD}")
    with pytest.raises(ConfigurationError, match="the secret has 3 lines"):
        require_secret(address("redis://host"), f"{GOOD}\n{GOOD}\n{GOOD}")


def test_sufficient_protection_causes_no_warning(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.touch(0o600)

    assert secret_warnings(address("redis://localhost"), GOOD, file=file) == ()
    assert secret_warnings(address("rediss://host"), GOOD, file=None) == ()
    assert secret_warnings(address("redis+socket:///a.sock"), "", file=None) == ()


@pytest.mark.parametrize("secret", ["short", f"{GOOD}\nshort"])
def test_a_short_secret_causes_a_warning(secret: str) -> None:
    (line,) = secret_warnings(address("redis://localhost"), secret, file=None)

    assert line.startswith("the secret in PASSMUSTER_SECRET has 5 characters")
    assert "short" not in line


def test_a_secret_file_that_all_users_can_read_causes_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.touch()
    file.chmod(0o644)
    is_reachable = all(folder.stat().st_mode & 0o001 for folder in file.parents)

    found = secret_warnings(address("redis://localhost"), GOOD, file=file)

    assert bool(found) is is_reachable
    tmp_path.chmod(0o700)
    assert secret_warnings(address("redis://localhost"), GOOD, file=file) == ()


def test_a_secret_file_below_directories_that_all_users_can_enter_causes_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "secret"
    file.touch()
    file.chmod(0o644)
    tmp_path.chmod(0o755)
    monkeypatch.setattr(Path, "parents", property(lambda _: [tmp_path]))

    (line,) = secret_warnings(address("redis://localhost"), GOOD, file=file)

    assert line == f"all users of this machine can read the secret in {file}: run `chmod 600` on it"


def test_an_unencrypted_connection_to_another_machine_causes_a_warning() -> None:
    (line,) = secret_warnings(address("redis://:geheim@host"), GOOD, file=None)

    assert line.startswith("the connection to redis://host:6379/0 is not encrypted")
