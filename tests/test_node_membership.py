"""The settings with which a service joins another one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from smartmob import node_membership
from smartmob.errors import SettingsError
from smartmob.feature_settings import JoinSettings
from smartmob.settings import Settings
from tests.nodes.conftest import AUTHORIZED, AddNode, Lab, _add_node, _lab
from tests.waiting import until

__all__ = ["_add_node", "_lab"]


def test_without_an_address_nothing_is_joined() -> None:
    """It is the default."""
    assert node_membership.membership(Settings()) is None


def test_labels_without_a_value_have_an_empty_one(tmp_path: Path) -> None:
    """The token is read from its file, and the key lies in the data directory."""
    token = tmp_path / "token"
    token.write_text("secret\n")
    join = JoinSettings(url="https://lab:8080", name="rack7", token_file=token, labels=("gpu", "rack=7", "a=b"))
    member = node_membership.membership(replace(Settings(), data_dir=tmp_path, join=join))
    assert member is not None
    assert (member.name, member.token, member.key_file) == ("rack7", "secret", tmp_path / "node.json")
    assert member.labels == {"gpu": "", "rack": "7", "a": "b"}


@pytest.mark.parametrize("url", ["lab:8080", "ftp://lab", "", "//lab"])
def test_an_address_without_a_scheme_is_refused(url: str) -> None:
    """The error shows what is expected."""
    with pytest.raises(SettingsError, match="expected an address such as https://lab:8080"):
        node_membership.membership(replace(Settings(), join=JoinSettings(url=url)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "a b"}, "--name"),
        ({"labels": ("a b",)}, "--label"),
        ({"labels": ("a=b=c",)}, "--label"),
        ({"name": "a\n"}, "--name"),
    ],
)
def test_a_name_or_label_that_the_service_would_refuse_is_refused_here(changes: Any, said: str) -> None:
    """The error names the option and what it takes."""
    with pytest.raises(SettingsError, match=said):
        node_membership.membership(replace(Settings(), join=JoinSettings(url="http://lab", **changes)))


def test_the_file_of_the_token_may_be_removed_after_joining(tmp_path: Path) -> None:
    """It is missed only as long as there is no key."""
    join = JoinSettings(url="http://lab", name="rack7", token_file=tmp_path / "none")
    settings = replace(Settings(), data_dir=tmp_path, join=join)
    with pytest.raises(SettingsError, match="cannot read"):
        node_membership.membership(settings)
    (tmp_path / "node.json").write_text("{}")
    member = node_membership.membership(settings)
    assert member is not None and member.token is None


async def test_a_service_that_has_joined_sends_its_events_jobs_and_load(lab: Lab, add_node: AddNode) -> None:
    """The lab has each of them once, as of a light node, and the service keeps its own."""
    url, own = await add_node("rack7"), {"Authorization": "Bearer of the node"}
    async with aiohttp.ClientSession(headers=own) as session:
        wanted = {"app": "app", "node": "web.0", "process_type": "web", "source_url": "http://127.0.0.1:9/none.tar"}
        async with session.post(f"{url}/create-process", json=wanted) as answer:
            assert answer.status == 201, await answer.text()
        async with session.post(f"{url}/commands/exec", json=["exit 4"]) as answer:
            assert '"exit_code":4' in await answer.text()
        async with session.post(f"{url}/delete-process/app.web.0") as answer:
            assert answer.status == 200
        async with session.get(f"{url}/jobs") as answer:
            [kept] = (await answer.json())["jobs"]

    async def told() -> Any:
        events = (await lab.get("/api/v1/nodes/rack7/process-events"))["events"]
        return events if any(event["kind"] == "deleted" for event in events) else None

    events = await until(told)
    assert events[0]["kind"] == "created"
    assert len({event["id"] for event in events}) == len(events)

    async def ended() -> Any:
        jobs = (await lab.get("/api/v1/nodes/rack7/jobs"))["jobs"]
        return jobs if any(job["record"]["ended_at"] for job in jobs) else None

    [job] = await until(ended)
    assert (job["job_id"], job["record"]["exit_code"]) == (kept["id"], 4)

    async def measured() -> Any:
        async with lab.client.get("/hosts/rack7", headers=AUTHORIZED) as answer:
            return answer.status == 200 and (await answer.json())["latest"]

    await until(measured)
