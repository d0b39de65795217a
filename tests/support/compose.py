"""`docker compose` with the repository's own file, under a name and with secrets of its own."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
FILE = REPOSITORY / "docker-compose.yml"
PROFILES = ("run", "flower")
CALL_S = 500.0


def why_no_compose() -> str:
    """Return why `docker compose` cannot be had; empty: it can."""
    reason = os.environ.get("NO_CONTAINER_ENGINE", "")
    if not reason and _fails("docker", "compose", "version"):
        reason = "docker compose does not run"
    return f"no container engine: {reason}; see scripts/with_docker" if reason else ""


def why_no_engine() -> str:
    """Return why no container can be started; empty: it can."""
    why = why_no_compose()
    if not why and _fails("docker", "version"):
        why = "no container engine: none answers; see scripts/with_docker"
    return why


def make_secrets(folder: Path) -> Path:
    """Make the secrets as a user would, in a checkout that holds nothing else; return their folder."""
    (folder / "scripts").mkdir(parents=True)
    script = shutil.copy(REPOSITORY / "scripts" / "make_secrets", folder / "scripts")
    subprocess.run([script], check=True, stdout=subprocess.DEVNULL)
    return folder / "secrets"


class Compose:
    """Containers of one name.

    Args:
        folder: for the secrets; must not exist.
        files: further files, besides the compose file.
        settings: variables of the compose file, without `PASSMUSTER_`.
    """

    def __init__(self, folder: Path, *files: str, **settings: str) -> None:
        self.name = f"pm-test-{secrets.token_hex(4)}"
        self.secrets = make_secrets(folder)
        self._files = [word for file in (FILE.name, *files) for word in ("-f", str(REPOSITORY / file))]
        ours = {
            "SECRETS": str(self.secrets),
            "IMAGE": self.name,
            "REDIS_PORT": "0",
            "FLOWER_PORT": "0",
            **settings,
        }
        kept = {
            name: os.environ[name] for name in os.environ if not name.startswith(("PASSMUSTER_", "COMPOSE_"))
        }
        python = os.environ.get("PASSMUSTER_PYTHON")
        self.environ = {
            **kept,
            **({} if python is None else {"PASSMUSTER_PYTHON": python}),
            **{f"PASSMUSTER_{name}": value for name, value in ours.items()},
        }

    def command(self, *words: str) -> list[str]:
        """Return a call of `docker compose`."""
        # Not the `.env` of whoever works in this checkout.
        where = [
            "--project-directory",
            str(REPOSITORY),
            "--env-file",
            "/dev/null",
            "--project-name",
            self.name,
        ]
        profiles = [word for profile in PROFILES for word in ("--profile", profile)]
        return ["docker", "compose", *self._files, *where, *profiles, *words]

    def call(self, *words: str, status: int = 0) -> str:
        """Call `docker compose`; return both streams."""
        return _output(self.command(*words), self.environ, status)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Call `docker compose` and do not wait."""
        return subprocess.Popen(
            self.command(*words),
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )

    def docker(self, *words: str, status: int = 0) -> str:
        """Call `docker`; return both streams."""
        return _output(["docker", *words], self.environ, status)

    def config(self) -> dict[str, Any]:
        """Return what `docker compose` makes of the file."""
        found = json.loads(self.call("config", "--format", "json"))
        assert isinstance(found, dict)
        return found

    def containers(self, service: str = "") -> list[str]:
        """Return the containers, also those that have ended, of one service or of all."""
        service_label = ["--filter", f"label=com.docker.compose.service={service}"] if service else []
        return self.docker("ps", "-aq", "--no-trunc", *self._label(), *service_label).split()

    def place(self, service: str, port: int) -> str:
        """Return where a container's port is on this machine, as `host:port`."""
        return self.call("port", service, str(port)).strip()

    def inspect(self, container: str, form: str) -> str:
        """Return what the engine knows of a container."""
        return self.docker("inspect", "-f", form, container).strip()

    def close(self) -> None:
        """Remove everything, and look whether anything is left."""
        self.call("down", "--volumes", "--remove-orphans", "--timeout", "10")
        # By their names: the same image may have another one, and be in use under that.
        images = self.docker(
            "images", "--format", "{{.Repository}}", "--filter", f"reference={self.name}*"
        ).split()
        if images:
            self.docker("rmi", *images)
        left = [
            self.docker(kind, "ls", "-q", *self._label(), *(["-a"] if kind == "container" else []))
            for kind in ("container", "volume", "network")
        ]
        assert left == ["", "", ""]

    def _label(self) -> list[str]:
        return ["--filter", f"label=com.docker.compose.project={self.name}"]


def _fails(*words: str) -> bool:
    try:
        ended = subprocess.run(words, check=False, capture_output=True, timeout=CALL_S)
    except OSError:
        return True
    return ended.returncode != 0


def _output(command: list[str], environ: dict[str, str], status: int) -> str:
    ended = subprocess.run(
        command,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=CALL_S,
        check=False,
    )
    assert ended.returncode == status, ended.stdout
    return ended.stdout
