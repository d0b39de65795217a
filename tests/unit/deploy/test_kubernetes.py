"""The manifests for Kubernetes: valid, without needless rights, and true to the code's constants."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from dispatcher.config.settings import SETTINGS
from passmuster.wire.broker import parse_broker
from passmuster.wire.broker_keys import DEMAND_KEY
from tests.support.kubernetes import (
    FOLDER,
    REPOSITORY,
    container_of,
    find_object,
    pod_of,
    read_objects,
    variables_of,
)
from worker.queue.command_line import ROWS, WORDS
from worker.queue.shutdown import EXIT_S, TERM_S

SCHEMA = json.loads(Path(__file__).with_name("kubernetes_schema.json").read_text(encoding="utf-8"))
DEFINITIONS = {
    "Deployment": "io.k8s.api.apps.v1.Deployment",
    "Job": "io.k8s.api.batch.v1.Job",
    "ConfigMap": "io.k8s.api.core.v1.ConfigMap",
}
MANIFESTS = [path for path in sorted(FOLDER.rglob("*.yaml")) if path.name != "kustomization.yaml"]
PODS = pytest.mark.parametrize("kind", ["Deployment", "Job"])


def problems(manifest: dict[str, Any]) -> list[str]:
    schema = {"$ref": f"#/$defs/{DEFINITIONS[manifest['kind']]}", "$defs": SCHEMA["$defs"]}
    return [
        f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(manifest)
    ]


def number_after(option: str, words: list[str]) -> float:
    return float(words[words.index(option) + 1].rstrip("s"))


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_objects_are_valid(kind: str) -> None:
    assert problems(find_object(kind)) == []


def test_the_schema_finds_mistakes() -> None:
    deployment = find_object("Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    deployment["spec"]["replicas"] = "three"

    assert len(problems(deployment)) == 2


def test_each_manifest_is_part_of_one_kustomization() -> None:
    listed = []
    for path in FOLDER.rglob("kustomization.yaml"):
        [made] = read_objects(path)
        listed += [(path.parent / name).resolve() for name in made["resources"]]

    assert sorted(listed) == sorted([*MANIFESTS, FOLDER / "workers"])


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl")
@pytest.mark.parametrize(
    ("folder", "kinds"),
    [
        ("workers", ["ConfigMap", "Deployment"]),
        ("run", ["Job"]),
        ("keda", ["ConfigMap", "Deployment", "ScaledObject", "TriggerAuthentication"]),
    ],
)
def test_kustomize_builds_them(folder: str, kinds: list[str]) -> None:
    built = subprocess.run(
        ["kubectl", "kustomize", str(FOLDER / folder)], check=True, capture_output=True, text=True
    )

    objects = {one["kind"]: one for one in yaml.safe_load_all(built.stdout)}
    assert sorted(objects) == kinds
    assert not [text for one in objects.values() if one["kind"] in DEFINITIONS for text in problems(one)]
    if folder == "keda":
        assert "replicas" not in objects["Deployment"]["spec"]  # KEDA's number would be reset by every apply.


@PODS
def test_a_pod_has_as_few_rights_as_it_needs(kind: str) -> None:
    pod, container = pod_of(kind), container_of(kind)

    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert {kind for volume in pod["volumes"] for kind in volume} == {"name", "emptyDir", "secret"}


@PODS
def test_variables_are_those_that_the_programs_read(kind: str) -> None:
    rows = ROWS if kind == "Deployment" else SETTINGS
    known = {name for row in rows for name in row.variables}

    assert variables_of(container_of(kind)).keys() - known == {"HOME"}


def test_secrets_are_files_with_the_names_that_make_secrets_gives(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    script = shutil.copy(REPOSITORY / "scripts" / "make_secrets", tmp_path / "scripts")
    subprocess.run([script], check=True, capture_output=True)
    variables = variables_of(container_of("Deployment"))
    [auth] = find_object("TriggerAuthentication")["spec"]["secretTargetRef"]
    named = {Path(text).name for name, text in variables.items() if name.endswith("_FILE")}

    assert {path.name for path in (tmp_path / "secrets").iterdir()} == named
    assert auth["key"] in named
    # KEDA sends the password as it is.
    assert not [path for path in (tmp_path / "secrets").iterdir() if path.read_text().endswith("\n")]
    assert not parse_broker(variables["PASSMUSTER_BROKER_URL"], source="").password


def test_a_worker_has_the_time_that_it_gives_running_files() -> None:
    grace_s = number_after("--grace-period", container_of("Deployment")["args"])

    assert grace_s >= 600
    assert pod_of("Deployment")["terminationGracePeriodSeconds"] > grace_s + TERM_S + EXIT_S


def test_the_autoscaler_watches_the_list_of_this_broker() -> None:
    [trigger] = find_object("ScaledObject")["spec"]["triggers"]
    address = parse_broker(variables_of(container_of("Deployment"))["PASSMUSTER_BROKER_URL"], source="")
    limits = container_of("Deployment")["resources"]["limits"]
    slots = min(int(limits["cpu"]), int(limits["memory"].removesuffix("Gi")) // 2)

    assert trigger["metadata"] == {
        "address": f"{address.host}:{address.port}",
        "databaseIndex": str(address.database),
        "listName": DEMAND_KEY,
        "listLength": str(slots),
    }
    assert (
        find_object("ScaledObject")["spec"]["scaleTargetRef"]["name"]
        == (find_object("Deployment")["metadata"]["name"])
    )


def test_the_commands_are_those_of_the_image() -> None:
    entrypoint = (REPOSITORY / "docker" / "entrypoint").read_text()
    worker, run = container_of("Deployment"), container_of("Job")

    for words in (worker["args"], run["args"], worker["readinessProbe"]["exec"]["command"][1:]):
        assert re.search(rf"^ *.*{re.escape(words[0])}\b.*\) ", entrypoint, re.MULTILINE), words[0]
    health = " ".join(worker["readinessProbe"]["exec"]["command"])
    assert worker["livenessProbe"]["exec"]["command"][-1].startswith(f"{health} || ")
    assert not WORDS.parse(worker["args"][1:]).unknown
