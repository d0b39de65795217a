"""The manifests of `deploy/kubernetes`, and what Kubernetes would start by them, on this machine instead."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "deploy" / "kubernetes"


def read_objects(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a manifest."""
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def find_object(kind: str) -> dict[str, Any]:
    """Return the only object of a kind."""
    objects = [one for path in sorted(FOLDER.rglob("*.yaml")) for one in read_objects(path)]
    [found] = [one for one in objects if one["kind"] == kind]
    return found


def pod_of(kind: str) -> dict[str, Any]:
    """Return the pod that a Deployment or a Job starts."""
    spec: dict[str, Any] = find_object(kind)["spec"]["template"]["spec"]
    return spec


def container_of(kind: str) -> dict[str, Any]:
    """Return the only container of a pod."""
    [container] = pod_of(kind)["containers"]
    return dict(container)


def variables_of(container: Mapping[str, Any]) -> dict[str, str]:
    """Return the container's own environment variables."""
    assert container["envFrom"] == [{"configMapRef": {"name": find_object("ConfigMap")["metadata"]["name"]}}]
    assert "env" not in container
    return dict(find_object("ConfigMap")["data"])


class LocalContainer:
    """A container's command line and environment, with other paths and another broker.

    Args:
        kind: of the object that starts it.
        folder: a new folder for what is mounted.
        url: replaces the broker's address, without its password.
        secrets: the contents of the Secret by key.
    """

    def __init__(self, kind: str, folder: Path, *, url: str, secrets: Mapping[str, str]) -> None:
        container, pod = container_of(kind), pod_of(kind)
        moved = {container_path: folder / container_path.strip("/") for container_path in _mounts(container)}
        for place in moved.values():
            place.mkdir(parents=True)
        [secret] = [one["name"] for one in pod["volumes"] if "secret" in one]
        for key, text in secrets.items():
            (moved[_mount_of(container, secret)] / key).write_text(text)
            (moved[_mount_of(container, secret)] / key).chmod(0o440)
        commands = folder / "bin"
        commands.mkdir()
        entrypoint = (REPOSITORY / "docker" / "entrypoint").read_text()
        assert "home=/opt/passmuster\n" in entrypoint
        (commands / "passmuster").write_text(
            entrypoint.replace("home=/opt/passmuster\n", f"home={REPOSITORY}\n")
        )
        (commands / "passmuster").chmod(0o755)
        environ = {name: _moved(text, moved) for name, text in variables_of(container).items()}
        self.environ = {**environ, "PASSMUSTER_BROKER_URL": url, "PATH": f"{commands}:/usr/bin:/bin"}
        self.command = ["passmuster", *(_moved(word, moved) for word in container["args"])]
        self.probes: dict[str, list[str]] = {
            name: container[name]["exec"]["command"] for name in container if name.endswith("Probe")
        }


def _mounts(container: Mapping[str, Any]) -> list[str]:
    return [mount["mountPath"] for mount in container["volumeMounts"]]


def _mount_of(container: Mapping[str, Any], volume: str) -> str:
    [path] = [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == volume]
    return str(path)


def _moved(text: str, places: Mapping[str, Path]) -> str:
    for path, place in places.items():
        if text == path or text.startswith(f"{path}/"):
            return f"{place}{text.removeprefix(path)}"
    return text
