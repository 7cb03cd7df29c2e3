"""The manifests for Kubernetes: they fit its schemas, and what they name is there."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from smartmob import __version__
from smartmob.app import build
from smartmob.cli.main import group
from smartmob.settings import OPTIONS, Settings
from tests.interop.dockerfile import stages
from tests.interop.environments import DEPLOY, python_with

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
MANIFESTS = [found for file in sorted(FOLDER.glob("*.yaml")) for found in yaml.safe_load_all(file.read_text())]
PODS = {found["kind"]: found["spec"]["template"] for found in MANIFESTS if "template" in found.get("spec", {})}

pytestmark = pytest.mark.interop

each_pod = pytest.mark.parametrize("pod", PODS.values(), ids=PODS)


def _of(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(found for found in MANIFESTS if found["kind"] == kind)
    return found


def _containers() -> Iterator[dict[str, Any]]:
    for pod in PODS.values():
        yield from pod["spec"]["containers"]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("version", ["1.28", "1.37"])
def test_they_fit_the_schemas(version: str) -> None:
    """Each document is what an old and a new Kubernetes take, with no field that they do not know."""
    validate = python_with(DEPLOY).with_name("kubernetes-validate")
    words = [validate, "--strict", "--kubernetes-version", version, *sorted(FOLDER.glob("*.yaml"))]
    done = subprocess.run(words, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert (done.stdout + done.stderr).count(" passed ") == len(MANIFESTS)


@pytest.mark.timeout(900)
def test_a_wrong_field_of_a_manifest_is_found(tmp_path: Path) -> None:
    """A field with a wrong name is found: the test above can fail."""
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text((FOLDER / "smartmob.yaml").read_text().replace("readinessProbe", "readynessProbe"))
    validate = python_with(DEPLOY).with_name("kubernetes-validate")

    assert subprocess.run([validate, "--strict", wrong], capture_output=True, check=False).returncode != 0


def test_the_manifests_contain_each_needed_object() -> None:
    """There is a service with an address and a folder, a migration, what reports machines, and a secret."""
    assert {found["kind"] for found in MANIFESTS} == {
        *("Deployment", "Service", "PersistentVolumeClaim", "Job", "DaemonSet", "Secret"),
    }


@each_pod
def test_a_selector_finds_only_its_own_pods(pod: dict[str, Any]) -> None:
    """A selector finds the pods of its own owner, and those of no other."""
    own = next(found for found in MANIFESTS if found.get("spec", {}).get("template") is pod)
    if own["kind"] != "Job":
        labels = own["spec"]["selector"]["matchLabels"]
        assert [other for other in PODS.values() if labels.items() <= other["metadata"]["labels"].items()] == [pod]
    service = _of("Service")["spec"]["selector"].items()
    assert (service <= pod["metadata"]["labels"].items()) == (own["kind"] == "Deployment")


@each_pod
def test_no_more_rights_than_needed(pod: dict[str, Any]) -> None:
    """It runs as the image's user, without capabilities, on a root that cannot be written, and knows no cluster."""
    spec = pod["spec"]
    assert f"{spec['securityContext']['runAsUser']}:{spec['securityContext']['runAsGroup']}" in (
        stages(ROOT / "Dockerfile")[""].texts("USER")
    )
    assert spec["automountServiceAccountToken"] is False
    for container in spec["containers"]:
        context = container["securityContext"]
        assert (context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"]) == (False, True)
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]


@each_pod
def test_variables_of_the_cluster_stay_out(pod: dict[str, Any]) -> None:
    """For a Service `smartmob` Kubernetes would set SMARTMOB_PORT to an address; the manifest turns that off."""
    assert pod["spec"]["enableServiceLinks"] is False


@each_pod
def test_mounted_secrets_and_folders_are_defined(pod: dict[str, Any]) -> None:
    """Every file of a secret that is named is in the template, and every folder that is mounted is a volume."""
    spec, kept = pod["spec"], _of("Secret")["stringData"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    items = {item["path"] for item in volumes["secret"]["secret"]["items"]}
    assert {item["key"] for item in volumes["secret"]["secret"]["items"]} <= set(kept)
    for container in spec["containers"]:
        assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
        texts = [entry["value"] for entry in container["env"] if "value" in entry] + container.get("args", [])
        named = {text.rpartition("/run/secrets/smartmob/")[2] for text in texts if "/run/secrets/smartmob/" in text}
        assert named == items


def test_variables_of_the_manifests_are_settings_that_exist() -> None:
    """Variables are settings that exist; the agent's options are its own."""
    known = {option.variable for option in OPTIONS} | {"NODE_NAME"}
    used = {entry["name"] for container in _containers() for entry in container["env"]}
    assert used <= known
    name, *words = _of("DaemonSet")["spec"]["template"]["spec"]["containers"][0]["args"]
    command = group.get_command(click.Context(group), name)
    assert command is not None
    assert command.make_context(name, words).params["name"] == "$(NODE_NAME)"


def test_probes_ask_routes_that_need_no_token() -> None:
    """The paths that are asked are routes that answer without a token."""
    container = _of("Deployment")["spec"]["template"]["spec"]["containers"][0]
    probes = [container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")]
    assert probes == ["/health", "/health", "/ready"]
    assert set(probes) <= set(build(Settings(data_dir=Path("nowhere"))).document["paths"])


def test_the_image_has_the_version_of_the_package() -> None:
    """The image is that of this version."""
    assert {container["image"] for container in _containers()} == {f"smartmob:{__version__}"}
