"""The Kubernetes objects for turrets as pods: a Secret with their packages, and an Indexed Job. No I/O."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import msgspec

from smartmob.errors import InvalidInput

SECRET_BYTES = 1024 * 1024
"""The maximum size of the data of a Secret (Kubernetes API, v1 Secret)."""
_KEPT_SECONDS = 3600
"""Seconds after its end for which a Job is kept, unless `fire` has removed it earlier."""
_WAITING_SECONDS = 1800
"""Seconds beside those of the run, in which pods must start and deliver results; then the Job ends them."""
_RETRIES = 3
"""Pods that are restarted after a failure, such as the loss of a machine."""
_USER = 10001  # the user of the image
_FOLDER = "/turrets"
_PART_OF = {"app.kubernetes.io/name": "smartmob", "app.kubernetes.io/component": "turret"}


class JobPlan(msgspec.Struct, frozen=True):
    """Turrets as pods: `packages` are used in turn by `pods` pods, which end with a run of at most `seconds`."""

    name: str
    namespace: str
    image: str
    pods: int
    packages: Sequence[bytes]
    seconds: float


def secret(plan: JobPlan, owner_uid: str | None = None) -> dict[str, Any]:
    """Return the Secret, which is deleted with the Job `owner_uid`. Raises InvalidInput when it is too large."""
    size = sum(map(len, plan.packages))
    if size > SECRET_BYTES:
        raise InvalidInput(
            f"the packages of the turrets have {size} bytes, but a Secret of Kubernetes has at most {SECRET_BYTES}; "
            "put large files into the image"
        )
    metadata = _metadata(plan)
    if owner_uid is not None:
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": plan.name, "uid": owner_uid}
        metadata["ownerReferences"] = [owner]
    data = {_file(index): base64.b64encode(packed).decode() for index, packed in enumerate(plan.packages)}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": "Opaque",
        "immutable": True,
        "data": data,
    }


def job(plan: JobPlan) -> dict[str, Any]:
    """Return the Job: one turret for each index, whose pod succeeds when the headquarters has confirmed its results."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(plan),
        "spec": {
            "completionMode": "Indexed",
            "completions": plan.pods,
            "parallelism": plan.pods,
            "backoffLimit": _RETRIES,
            "activeDeadlineSeconds": int(plan.seconds) + _WAITING_SECONDS,
            "ttlSecondsAfterFinished": _KEPT_SECONDS,
            "template": {"metadata": {"labels": dict(_PART_OF)}, "spec": _pod(plan)},
        },
    }


def listed(plan: JobPlan) -> dict[str, Any]:
    """Return both as a list, which `kubectl apply -f` takes as JSON."""
    return {"apiVersion": "v1", "kind": "List", "items": [secret(plan), job(plan)]}


def _metadata(plan: JobPlan) -> dict[str, Any]:
    return {"name": plan.name, "namespace": plan.namespace, "labels": dict(_PART_OF)}


def _file(index: int) -> str:
    return f"turret-{index}.tar.gz"


def _pod(plan: JobPlan) -> dict[str, Any]:
    # The index of the pod, which Kubernetes sets, chooses the package.
    number = f"$((JOB_COMPLETION_INDEX % {len(plan.packages)}))"
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "turret",
                "image": plan.image,
                "command": ["sh", "-c", f"exec smartmob turret --once --tar {_FOLDER}/turret-{number}.tar.gz"],
                "volumeMounts": [
                    {"name": "packages", "mountPath": _FOLDER, "readOnly": True},
                    {"name": "temporary", "mountPath": "/tmp"},  # noqa: S108  # of the container
                ],
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
        "volumes": [
            {"name": "packages", "secret": {"secretName": plan.name, "defaultMode": 0o440}},
            {"name": "temporary", "emptyDir": {}},
        ],
    }
