"""Turrets as pods: the official client against a scripted API server whose pods are processes."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from smartmob.cli.deploy import DeploymentFailed
from smartmob.cli.kubernetes_turrets import ClusterOptions, deployed, problem_of
from smartmob.cli.project_package import pack_project
from smartmob.client.http import RestClient
from smartmob.errors import InvalidInput, SettingsError
from tests.acceptance.commands import environment
from tests.cli.test_deploy import _project
from tests.turrets.conftest import _lab
from tests.turrets.runs import until_over

__all__ = ["_lab"]


class ApiServer:
    """The part of the API server that turrets need; it runs the command of each index once its Secret is there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.jobs: dict[str, Any] = {}
        self.deleted: list[str] = []
        self.pods: list[asyncio.subprocess.Process] = []
        self.waiting = ""
        self.refuses = False
        app = web.Application()
        jobs = "/apis/batch/v1/namespaces/load/jobs"
        app.router.add_post(jobs, self._create_job)
        app.router.add_post("/api/v1/namespaces/load/secrets", self._create_secret)
        app.router.add_get("/api/v1/namespaces/load/pods", self._pods)
        app.router.add_get(jobs + "/{name}/status", self._status)
        app.router.add_delete(jobs + "/{name}", self._delete)
        self.server = TestServer(app)

    async def _create_job(self, request: web.Request) -> web.Response:
        job = await request.json()
        if self.refuses:
            return web.json_response({"kind": "Status", "message": "jobs are forbidden"}, status=403)
        job["metadata"]["uid"] = "uid-1"
        self.jobs[job["metadata"]["name"]] = job
        return web.json_response(job, status=201)

    async def _create_secret(self, request: web.Request) -> web.Response:
        secret = await request.json()
        assert secret["metadata"]["ownerReferences"][0]["uid"] == "uid-1"
        for name, packed in secret["data"].items():
            (self.folder / name).write_bytes(base64.b64decode(packed))
        spec = self.jobs[secret["metadata"]["name"]]["spec"]
        line = spec["template"]["spec"]["containers"][0]["command"][-1]
        line = line.replace("smartmob turret", f"{sys.executable} -m smartmob turret").replace(
            "/turrets", str(self.folder)
        )
        for index in range(0 if self.waiting else spec["completions"]):
            env = environment(JOB_COMPLETION_INDEX=str(index))
            self.pods.append(await asyncio.create_subprocess_exec("sh", "-c", line, env=env))
        return web.json_response(secret, status=201)

    async def _pods(self, request: web.Request) -> web.Response:
        assert re.fullmatch(r"batch\.kubernetes\.io/job-name=turrets-\w+", request.query["labelSelector"])
        phases = {None: "Running", 0: "Succeeded"}
        pods = [
            {"metadata": {"name": f"p-{index}"}, "status": {"phase": phases.get(pod.returncode, "Failed")}}
            for index, pod in enumerate(self.pods)
        ]
        if self.waiting:
            state = {"waiting": {"reason": self.waiting, "message": "no such image"}}
            status = {"name": "turret", "image": "", "imageID": "", "ready": False, "restartCount": 0, "state": state}
            pods = [{"metadata": {"name": "p-0"}, "status": {"phase": "Pending", "containerStatuses": [status]}}]
        return web.json_response({"kind": "PodList", "apiVersion": "v1", "items": pods})

    async def _status(self, request: web.Request) -> web.Response:
        succeeded = sum(pod.returncode == 0 for pod in self.pods)
        return web.json_response(self.jobs[request.match_info["name"]] | {"status": {"succeeded": succeeded}})

    async def _delete(self, request: web.Request) -> web.Response:
        self.deleted.append(request.match_info["name"])
        if self.jobs.pop(request.match_info["name"], None) is None:
            return web.json_response({"kind": "Status", "reason": "NotFound"}, status=404)
        return web.json_response({"kind": "Status", "status": "Success"})


@pytest.fixture(name="cluster")
async def _cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ApiServer]:
    """Return a running API server, which is the one of the configuration of kubectl."""
    folder = tmp_path / "secret"
    folder.mkdir()
    made = ApiServer(folder)
    await made.server.start_server()
    context = {"cluster": "c", "user": "u"}
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "x", "contexts": [{"name": "x", "context": context}],
        "clusters": [{"name": "c", "cluster": {"server": str(made.server.make_url(""))}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }  # fmt: skip
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    yield made
    for pod in made.pods:
        if pod.returncode is None:
            pod.kill()
        await pod.wait()
    await made.server.close()


OPTIONS = ClusterOptions("load", "smartmob:1", 3, render=False)


async def test_pods_fire_and_end_once_their_results_are_confirmed(
    lab: Any, cluster: ApiServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three pods take two turrets in turn; each ends with 0, and the Job is deleted."""
    project = _project(tmp_path / "p", 2)
    async with RestClient(f"http://127.0.0.1:{lab.server.port}") as rest:
        async with deployed(rest, OPTIONS, project, None, "127.0.0.1") as sent:
            assert sent is not None
            assert json.loads(sent.config_file.read_text())["min_turrets"] == sent.turrets == 3
            names = sorted(turret["name"] for turret in (await rest.get("/turrets"))["turrets"])
            assert names == ["t0", "t0", "t1"]
            package = await asyncio.to_thread(pack_project, sent.folder, sent.config_file)
            run = await rest.post_bytes("/turret-runs", package, "application/gzip")
            await until_over(lab, run["id"])
        found = await rest.get(f"/turret-runs/{run['id']}")
    assert found["state"] == "finished"
    assert [pod.returncode for pod in cluster.pods] == [0, 0, 0]
    assert len(cluster.deleted) == 1 and not cluster.jobs
    assert "3 of 3 pods have ended with all of their results confirmed" in capsys.readouterr().err


async def test_what_cannot_run_is_told_and_nothing_is_left(lab: Any, cluster: ApiServer, tmp_path: Path) -> None:
    """An image that cannot be pulled, a cluster that refuses, and requirements, which pods do not install."""
    project = _project(tmp_path / "p", 1)
    async with RestClient(f"http://127.0.0.1:{lab.server.port}") as rest:

        async def said() -> str:
            with pytest.raises((DeploymentFailed, InvalidInput)) as failed:
                async with deployed(rest, OPTIONS, project, None, "127.0.0.1"):
                    pytest.fail("it has begun")
            return str(failed.value)

        cluster.waiting = "ErrImageNeverPull"
        assert "the pod p-0 waits: ErrImageNeverPull: no such image" in await said()
        assert not cluster.jobs
        cluster.refuses = True
        assert "the cluster refuses it" in await said()
        config = json.loads((project / "config.json").read_text())
        (project / "config.json").write_text(json.dumps(config | {"turrets_requirements": ["thing"]}))
        assert "give an --image that has them" in await said()


async def test_the_objects_can_be_printed_without_a_cluster(
    lab: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are a list in JSON, which kubectl applies."""
    options = ClusterOptions("load", "smartmob:1", None, render=True)
    project = _project(tmp_path / "p", 2)
    async with RestClient(f"http://127.0.0.1:{lab.server.port}") as rest:
        with pytest.raises(InvalidInput, match="a turret on a-pod cannot reach the headquarters"):
            async with deployed(rest, options, project, None, None):
                pytest.fail("it has begun")
        async with deployed(rest, options, project, None, "10.0.0.1") as sent:
            assert sent is None
    secret, job = json.loads(capsys.readouterr().out)["items"]
    assert (job["spec"]["completions"], len(secret["data"])) == (2, 2)


async def test_without_a_cluster_the_error_says_so(lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration of kubectl is found."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    async with RestClient(f"http://127.0.0.1:{lab.server.port}") as rest:
        with pytest.raises(SettingsError, match="no cluster of Kubernetes is configured"):
            async with deployed(rest, OPTIONS, _project(tmp_path / "p", 1), None, "127.0.0.1"):
                pytest.fail("it has begun")


def test_the_problem_of_pods() -> None:
    """The first that cannot be solved by waiting; an image that cannot be pulled may be there a moment later."""
    good = {"name": "a", "phase": "Running", "waiting": "", "reason": ""}
    assert problem_of([good, good | {"waiting": "ContainerCreating"}]) == ("", True)
    pulled = problem_of([good | {"waiting": "ImagePullBackOff", "reason": "r"}])
    assert pulled == ("the image of the pod a cannot be pulled: r; name another --image", False)
    assert problem_of([good | {"phase": "Failed", "reason": "exit code 1"}]) == (
        "the pod a has failed: exit code 1",
        True,
    )
