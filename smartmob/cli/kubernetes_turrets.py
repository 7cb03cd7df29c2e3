"""Turrets as the pods of a Job on a cluster of Kubernetes: created for a run, followed, and removed in every case."""

from __future__ import annotations

import asyncio
import importlib
import secrets
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click
import msgspec

from smartmob import __version__
from smartmob.cli import kubernetes_job, printing
from smartmob.cli.deploy import Deployment, DeploymentFailed, hq_address, open_project, ready_turrets, waiting_for
from smartmob.cli.kubernetes_job import JobPlan
from smartmob.client.http import RestClient
from smartmob.environment import environment
from smartmob.errors import InvalidInput, SettingsError
from smartmob.turrets.turret import configuration, package

_MOST_PODS = 10_000  # pods
_POLL_SECONDS = 1.0
_START_SECONDS = 600.0
"""Seconds in which all pods must have connected: a cluster may have to start machines and pull the image."""
_END_SECONDS = 60.0
"""Seconds that the pods get to end after the run, before the Job is removed."""
_PERMANENT_REASONS = ("ErrImageNeverPull", "InvalidImageName", "CreateContainerConfigError", "CreateContainerError")
_NOT_PULLED = ("ErrImagePull", "ImagePullBackOff")
_FAILED_PULLS = 5
"""Checks after which a pod whose image cannot be pulled is given up; the first failures may be the registry's."""

F = TypeVar("F", bound=Callable[..., Any])


class ClusterOptions(msgspec.Struct, frozen=True):
    """The options of `fire --kubernetes`. `pods` is None for one pod of each turret of the project."""

    namespace: str
    image: str
    pods: int | None
    render: bool


class Cluster(Protocol):
    """The part of a Kubernetes cluster that turrets need. All methods block, and raise DeploymentFailed."""

    def create_job(self, job: Mapping[str, Any]) -> str:
        """Create a Job; return its uid."""

    def create_secret(self, secret: Mapping[str, Any]) -> None:
        """Create a Secret."""

    def pods(self, name: str) -> list[dict[str, Any]]:
        """Return the pods of a Job."""

    def succeeded(self, name: str) -> int:
        """Return the number of pods of a Job that have succeeded."""

    def delete_job(self, name: str) -> None:
        """Delete a Job with its pods and its Secret."""


def with_cluster_options(command: F) -> F:
    """Add the options of a cluster to a command, which gets them as `cluster`, None without --kubernetes."""

    @wraps(command)
    def run(*args: Any, kubernetes: bool, **options: Any) -> Any:
        given = {name: options.pop(name) for name in ("namespace", "image", "pods", "render")}
        if not kubernetes and (given["pods"] or given["render"]):
            raise click.UsageError("--pods and --render need --kubernetes")
        if kubernetes and options["services"]:
            raise click.UsageError("--on and --kubernetes cannot be combined")
        if kubernetes and (options["search"] is not None or options["no_wait"]):
            raise click.UsageError("--kubernetes cannot be combined with --find-capacity or --no-wait")
        return command(*args, cluster=ClusterOptions(**given) if kubernetes else None, **options)

    for option in reversed((
        click.option("--kubernetes", is_flag=True, help="Run the turrets as pods of a Job, on the cluster of kubectl."),
        click.option("--namespace", default="default", show_default=True, help="With --kubernetes: namespace to use."),
        click.option(
            "--image", default=f"smartmob:{__version__}", show_default=True, help="With --kubernetes: image of pods."
        ),
        click.option("--pods", type=click.IntRange(1, _MOST_PODS), metavar="N",
                     help="With --kubernetes: total number of turrets.  [default: one of each of PROJECT]"),
        click.option("--render", is_flag=True, help="With --kubernetes: print the Secret and the Job, create nothing."),
    )):  # fmt: skip
        run = option(run)
    return run  # type: ignore[return-value]  # click keeps the type of what it decorates


@asynccontextmanager
async def deployed(
    rest: RestClient, options: ClusterOptions, project: Path, config_file: Path | None, address: str | None
) -> AsyncIterator[Deployment | None]:
    """Run the turrets of a project as pods, and remove them at the end of the block.

    All are connected to the headquarters of `rest` when the block begins. With `render` the objects are printed, and
    the block gets None. Raises InvalidInput, RemoteError and DeploymentFailed.
    """
    heard = await rest.get("/turrets")
    there = heard["headquarters"]
    if there is None:
        raise DeploymentFailed(f"{rest.url} is not a headquarters; start it with --hq (smartmob serve --hq)")
    reached = address or hq_address(there["host"], rest.url, ["http://a-pod"])
    goal = {"hq_address": reached, "hq_publisher": there["publish_port"], "hq_rc": there["rc_port"]}
    with tempfile.TemporaryDirectory(prefix="smartmob-fire-") as folder:
        temporary = Path(folder)
        unpacked, config = await asyncio.to_thread(open_project, project, config_file, temporary)
        turrets = await asyncio.to_thread(package.turrets, unpacked, config)
        given = configuration.read(config)
        if given.get("turrets_requirements"):
            raise InvalidInput("turrets_requirements are not installed in pods: give an --image that has them")
        pods = options.pods or len(turrets)
        packages = [await asyncio.to_thread(_packed, config.parent, turret | goal, temporary) for turret in turrets]
        name = f"turrets-{secrets.token_hex(4)}"
        seconds = float(given.get("run_time") or 0.0)
        plan = JobPlan(name, options.namespace, options.image, pods, packages[:pods], seconds)
        if options.render:
            printing.print_json(kubernetes_job.listed(plan))
            yield None
            return
        cluster = await asyncio.to_thread(_connected, options.namespace)
        known = {turret["uuid"] for turret in heard["turrets"]}
        wanted = Counter(str(turrets[index % len(turrets)]["name"]) for index in range(pods))
        async with _job(cluster, plan):
            await _until_ready(rest, cluster, plan, wanted, known)
            printing.say(f"Ready: {pods} pod{'s' if pods > 1 else ''} of the Job {name} in {options.namespace}")
            yield Deployment(unpacked, await asyncio.to_thread(waiting_for, config, pods, temporary), pods)
            await _until_ended(cluster, plan)


def _packed(project: Path, turret: Mapping[str, Any], temporary: Path) -> bytes:
    target = temporary / "packed.tar.gz"
    package.pack(project, turret, target)
    return target.read_bytes()


@asynccontextmanager
async def _job(cluster: Cluster, plan: JobPlan) -> AsyncIterator[None]:
    """Create the Job and its Secret, and delete both at the end of the block, also when that is cancelled."""
    kubernetes_job.secret(plan)  # a fault of the project is reported before anything is created
    try:
        uid = await asyncio.shield(asyncio.to_thread(cluster.create_job, kubernetes_job.job(plan)))
        await asyncio.shield(asyncio.to_thread(cluster.create_secret, kubernetes_job.secret(plan, uid)))
        yield
    finally:
        try:
            await asyncio.shield(asyncio.to_thread(cluster.delete_job, plan.name))
        except DeploymentFailed as error:
            printing.say(
                f"the Job {plan.name} is left behind: {error}. Remove it with "
                f"kubectl delete job {plan.name} --namespace {plan.namespace}"
            )


async def _until_ready(
    rest: RestClient, cluster: Cluster, plan: JobPlan, wanted: Counter[str], known: set[str]
) -> None:
    """Wait until all turrets are connected; raises DeploymentFailed when a pod cannot start or does not connect."""
    loop = asyncio.get_running_loop()
    deadline, failed_pulls = loop.time() + _START_SECONDS, 0
    while wanted - await ready_turrets(rest, known):
        pods = await asyncio.to_thread(cluster.pods, plan.name)
        problem, pulled = problem_of(pods)
        failed_pulls = 0 if pulled else failed_pulls + 1
        if problem and (pulled or failed_pulls >= _FAILED_PULLS):
            raise DeploymentFailed(f"the turrets cannot be started: {problem}")
        if loop.time() > deadline:
            raise _not_connected(pods, plan)
        await asyncio.sleep(_POLL_SECONDS)


def _not_connected(pods: Sequence[Mapping[str, Any]], plan: JobPlan) -> DeploymentFailed:
    running = sum(pod["phase"] == "Running" for pod in pods)
    return DeploymentFailed(
        f"{running} of {plan.pods} pods are running, but not all have connected within {_START_SECONDS:g} s. Use "
        "--hq-address to give the address at which the turrets can reach the headquarters"
    )


def problem_of(pods: Sequence[Mapping[str, Any]]) -> tuple[str, bool]:
    """Return why pods cannot run, or "", and whether their images could be pulled."""
    for pod in pods:
        if pod["phase"] == "Failed":
            return f"the pod {pod['name']} has failed: {pod['reason'] or 'see kubectl logs'}", True
        if pod["waiting"] in _PERMANENT_REASONS:
            return f"the pod {pod['name']} waits: {pod['waiting']}: {pod['reason']}", True
    for pod in pods:
        if pod["waiting"] in _NOT_PULLED:
            return f"the image of the pod {pod['name']} cannot be pulled: {pod['reason']}; name another --image", False
    return "", True


async def _until_ended(cluster: Cluster, plan: JobPlan) -> None:
    """Wait until all pods have succeeded, for a bounded time, and say how many have."""
    loop = asyncio.get_running_loop()
    deadline, done = loop.time() + _END_SECONDS, -1
    while done < plan.pods and loop.time() < deadline:
        done = await asyncio.to_thread(cluster.succeeded, plan.name)
        if done < plan.pods:
            await asyncio.sleep(_POLL_SECONDS)
    printing.say(f"{done} of {plan.pods} pods have ended with all of their results confirmed")


def _connected(namespace: str) -> Cluster:
    """Return the cluster of the configuration of kubectl, or of the pod in which this runs."""
    try:
        client, config = (importlib.import_module(f"kubernetes.{name}") for name in ("client", "config"))
    except ImportError:
        raise SettingsError(
            "fire --kubernetes needs the package kubernetes: pip install 'smartmob[kubernetes]'; or use --render"
        ) from None
    try:
        given = environment().get("KUBECONFIG")
        if given or Path("~/.kube/config").expanduser().exists():
            config.load_kube_config(config_file=given)
        else:
            config.load_incluster_config()
    except Exception as error:
        raise SettingsError(f"no cluster of Kubernetes is configured: {error}") from None
    return ApiCluster(client, namespace)


class ApiCluster:
    """The API server of a cluster, by the official client."""

    def __init__(self, client: Any, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._batch, self._core = client.BatchV1Api(), client.CoreV1Api()

    def create_job(self, job: Mapping[str, Any]) -> str:
        """Create a Job; return its uid."""
        return str(self._call(self._batch.create_namespaced_job, body=job).metadata.uid)

    def create_secret(self, secret: Mapping[str, Any]) -> None:
        """Create a Secret."""
        self._call(self._core.create_namespaced_secret, body=secret)

    def pods(self, name: str) -> list[dict[str, Any]]:
        """Return the pods of a Job: their names, phases, and why they wait or have failed."""
        found = self._call(self._core.list_namespaced_pod, label_selector=f"batch.kubernetes.io/job-name={name}")
        return [_pod(pod) for pod in found.items]

    def succeeded(self, name: str) -> int:
        """Return the number of pods of a Job that have succeeded."""
        return int(self._call(self._batch.read_namespaced_job_status, name=name).status.succeeded or 0)

    def delete_job(self, name: str) -> None:
        """Delete a Job; its pods and its Secret are deleted with it. A missing Job is not an error."""
        try:
            self._batch.delete_namespaced_job(name, self._namespace, propagation_policy="Background")
        except self._client.ApiException as error:
            if error.status != 404:
                raise DeploymentFailed(_reason(error)) from None
        except Exception as error:
            raise DeploymentFailed(str(error)) from None

    def _call(self, function: Callable[..., Any], **options: Any) -> Any:
        try:
            return function(namespace=self._namespace, **options)
        except self._client.ApiException as error:
            raise DeploymentFailed(f"the cluster refuses it: {_reason(error)}") from None
        except Exception as error:  # of its HTTP client, which has errors of many classes
            raise DeploymentFailed(f"the cluster cannot be reached: {error}") from None


def _reason(error: Any) -> str:
    return str(error.body or error.reason or error.status)[:500]


def _pod(pod: Any) -> dict[str, Any]:
    states = [status.state for status in pod.status.container_statuses or () if status.state is not None]
    waiting = next((state.waiting for state in states if state.waiting is not None), None)
    ended = next((state.terminated for state in states if state.terminated is not None), None)
    reason = pod.status.message or (waiting.message if waiting is not None else None)
    if reason is None and ended is not None:
        reason = f"exit code {ended.exit_code}"
    return {
        "name": pod.metadata.name,
        "phase": pod.status.phase or "",
        "waiting": "" if waiting is None else waiting.reason or "",
        "reason": reason or "",
    }
