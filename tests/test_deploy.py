"""deploy/: what can be known of it without a Kubernetes cluster. With GANLIB_KUBERAY_CRD naming KubeRay's
ray.io_rayjobs.yaml, the manifest is also validated against that."""

import importlib.util
import os
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from pipelines.runs.composition import composition
from pipelines.runs.params import parse_params

ROOT = Path(__file__).parents[1]


@pytest.fixture
def manifests() -> dict[str, dict[str, Any]]:
    return {each["kind"]: each for each in yaml.safe_load_all((ROOT / "deploy/rayjob.yaml").read_text())}


def pods(job: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = job["spec"]["rayClusterSpec"]
    return [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def test_what_the_job_starts_is_there_and_composes(manifests: dict[str, dict[str, Any]],
                                                   monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    entrypoint = manifests["RayJob"]["spec"]["entrypoint"]
    modules = re.findall(r"python -m ([\w.]+)", entrypoint)
    assert modules and all(importlib.util.find_spec(module) for module in modules)
    (choices,) = re.findall(r"pipelines\.compose ([^;]*)", entrypoint)
    params = parse_params(composition(choices.split()))
    assert params.run.training.batch_size % params.cluster.workers == 0

    (group,) = manifests["RayJob"]["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    cores = int(container["resources"]["requests"]["cpu"])
    assert cores % params.cluster.cpus_per_worker == 0  # a worker is whole on one node
    assert group["replicas"] * cores == params.cluster.workers * params.cluster.cpus_per_worker
    assert group["minReplicas"] == group["replicas"] == group["maxReplicas"]


def test_versions_and_names_agree(manifests: dict[str, dict[str, Any]]):
    job, dockerfile = manifests["RayJob"], (ROOT / "deploy/Dockerfile").read_text()
    assert job["apiVersion"] == "ray.io/v1"
    version = job["spec"]["rayClusterSpec"]["rayVersion"]
    assert f"ray=={version}" in (ROOT / "constraints.txt").read_text().splitlines()
    claim = manifests["PersistentVolumeClaim"]["metadata"]["name"]
    for pod in pods(job):
        (container,) = pod["containers"]
        assert f"-t {container['image']} " in dockerfile and f"WORKDIR {container['workingDir']}" in dockerfile
        assert f"--uid {pod['securityContext']['runAsUser']} " in dockerfile
        assert [volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"]] == [claim]
        # What has to last, and what all nodes have to see, lies on the volume.
        assert {"/app/data", "/app/runs"} == {mount["mountPath"] for mount in container["volumeMounts"]}
    copied = re.findall(r"^COPY --chown=ganlib (.*) \S+$", dockerfile, re.MULTILINE)
    assert all((ROOT / name).exists() for names in copied for name in names.split())


@pytest.mark.skipif("GANLIB_KUBERAY_CRD" not in os.environ, reason="GANLIB_KUBERAY_CRD names no file")
def test_the_manifest_is_what_kuberay_takes(manifests: dict[str, dict[str, Any]]):
    resource = yaml.safe_load(Path(os.environ["GANLIB_KUBERAY_CRD"]).read_text())
    job = manifests["RayJob"]
    assert resource["spec"]["names"]["kind"] == job["kind"]
    schemas = {version["name"]: version["schema"]["openAPIV3Schema"] for version in resource["spec"]["versions"]}
    jsonschema.validate(job, strict(schemas[job["apiVersion"].split("/")[1]]))


def strict(schema: Any) -> Any:
    """The schema, which now refuses what it does not know: Kubernetes would leave it out and say nothing."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: strict(value) for key, value in schema.items()}
    if isinstance(closed.get("properties"), dict) and "type" in closed:
        closed.setdefault("additionalProperties", False)
    return closed
