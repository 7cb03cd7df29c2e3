"""The objects of Kubernetes for turrets as pods."""

from __future__ import annotations

import base64

import pytest

from smartmob.cli.kubernetes_job import SECRET_BYTES, JobPlan, job, listed, secret
from smartmob.errors import InvalidInput

PLAN = JobPlan("turrets-ab", "load", "smartmob:1", 5, [b"first", b"second"], 30.0)


def test_each_index_is_a_turret_and_is_done_once_its_results_are_confirmed() -> None:
    """Pods take the packages in turn, are started anew after a failure, and have an end."""
    found = job(PLAN)
    spec, pod = found["spec"], found["spec"]["template"]["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 5, 5)
    assert (pod["restartPolicy"], pod["automountServiceAccountToken"]) == ("Never", False)
    assert pod["containers"][0]["command"][-1] == (
        "exec smartmob turret --once --tar /turrets/turret-$((JOB_COMPLETION_INDEX % 2)).tar.gz"
    )
    assert spec["activeDeadlineSeconds"] > 30 and spec["ttlSecondsAfterFinished"] and spec["backoffLimit"]
    assert pod["securityContext"]["runAsNonRoot"] and pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"]
    assert pod["volumes"][0]["secret"]["secretName"] == found["metadata"]["name"] == "turrets-ab"


def test_the_secret_has_the_packages_and_is_deleted_with_the_job() -> None:
    """Nothing else is in it, and no token of the service leaves for the cluster."""
    found = secret(PLAN, "uid-1")
    assert {name: base64.b64decode(value) for name, value in found["data"].items()} == {
        "turret-0.tar.gz": b"first",
        "turret-1.tar.gz": b"second",
    }
    assert [(owner["kind"], owner["uid"]) for owner in found["metadata"]["ownerReferences"]] == [("Job", "uid-1")]
    assert [each["kind"] for each in listed(PLAN)["items"]] == ["Secret", "Job"]


def test_packages_that_are_too_large_for_a_secret_are_refused() -> None:
    """The error says where large files belong."""
    plan = JobPlan("a", "b", "c", 1, [bytes(SECRET_BYTES), b"x"], 1.0)
    with pytest.raises(InvalidInput, match="put large files into the image"):
        secret(plan)
