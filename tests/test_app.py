"""The composition root: the whole service, started and stopped in this process."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from smartmob.app import Service, build
from smartmob.errors import DatabaseError, StartupError
from smartmob.feature_settings import DatabaseSettings
from smartmob.kernel.http.server import serve
from smartmob.kernel.runtime.datadir import DataDirectory
from smartmob.metrics.events import MetricsStored
from smartmob.settings import Settings
from tests.conftest import running
from tests.metrics.samples import metric
from tests.turrets.conftest import QUICK
from tests.waiting import until


@pytest.fixture(name="admin")
async def _admin(database_url: str) -> AsyncIterator[Any]:
    """Return a separate connection to the database of the service."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture(name="embedded_settings")
def _embedded_settings(reachable_path: Path) -> Settings:
    """Return settings without a database URL, for an embedded database."""
    return Settings(port=0, data_dir=reachable_path / "data", database=DatabaseSettings(patience=2.0))


async def _is_only_connection(admin: Any) -> bool:
    others = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid() "
        # Nodes of Citus watch each other.
        "AND backend_type = 'client backend' AND NOT starts_with(application_name, 'citus_')"
    )
    return await admin.fetchval(others) == 0


async def _ready(client: Any) -> tuple[int, dict[str, str]]:
    async with client.get("/ready") as response:
        return response.status, (await response.json(content_type=None))["checks"]


async def _serve(service: Service, settings: Settings) -> None:
    """Serve as the command line does; for starts that fail."""
    await serve(
        service.app,
        service.gate,
        settings,
        on_stop=service.announce_stop,
        force_stop=service.force_stop,
        drain=service.drain,
    )


class TestBuild:
    """A service that was built and not started."""

    def test_build_starts_nothing(self, tmp_path: Path) -> None:
        """`build` creates no folder, opens no connection and starts no task."""
        settings = Settings(data_dir=tmp_path / "data", database=DatabaseSettings(url="postgresql://nowhere.invalid/x"))

        service = build(settings)

        assert list(tmp_path.iterdir()) == []
        assert service.tasks.names() == []
        assert service.embedded is None

    def test_without_a_url_the_database_is_embedded(self, tmp_path: Path) -> None:
        """Without a URL the service has a database in its data directory."""
        service = build(Settings(data_dir=tmp_path / "data"))

        assert service.embedded is not None
        assert service.embedded.home == tmp_path / "data" / "postgres"
        service.force_stop()

    def test_force_stop_without_an_embedded_database_does_nothing(self, settings: Settings) -> None:
        """With an external database there is nothing to stop."""
        build(settings).force_stop()

    def test_the_document_needs_no_running_service(self, settings: Settings) -> None:
        """The document has the routes of the kernel and of the features before the start."""
        paths = build(settings).document["paths"]

        assert {"/health", "/metrics", "/metrics/", "/contexts/"} <= set(paths)


class TestRunning:
    """A service that runs."""

    async def test_a_started_service_is_ready(self, settings: Settings) -> None:
        """All readiness checks pass after the start."""
        async with running(build(settings)) as client:
            assert await _ready(client) == (
                200,
                {"service": "ok", "database": "ok", "disk": "ok", "tasks": "ok", "migrations": "ok"},
            )

    async def test_every_task_is_supervised(self, settings: Settings) -> None:
        """All background tasks of all features are started again when they die."""
        service = build(replace(settings, turrets=QUICK))
        async with running(service):
            assert "turrets-results" in service.tasks.names()
            assert service.tasks.names() == service.tasks.supervised()

    async def test_a_dead_task_fails_readiness(self, settings: Settings) -> None:
        """Readiness fails, with the name of the task, while a supervised task is dead."""

        async def die() -> None:
            raise ValueError

        service = build(settings)
        async with running(service) as client:
            service.tasks.supervise("watch", die)
            await until(service.tasks.dead)
            status, checks = await _ready(client)

        assert status == 503
        assert "watch" in checks["tasks"]

    async def test_a_stopping_service_is_not_ready(self, settings: Settings) -> None:
        """After `announce_stop` the readiness check fails."""
        service = build(settings)
        async with running(service) as client:
            service.announce_stop()

            status, checks = await _ready(client)

        assert (status, checks["service"]) == (503, "stopping")

    async def test_missing_migrations_fail_readiness(self, settings: Settings, admin: Any) -> None:
        """A database in an older state fails the check of migrations."""
        async with running(build(settings)) as client:
            await admin.execute("DELETE FROM schema_migrations")

            status, checks = await _ready(client)

        assert status == 503
        assert "missing; restart the service" in checks["migrations"]

    async def test_missing_tables_fail_readiness(self, settings: Settings, admin: Any) -> None:
        """A database without tables fails the check of migrations with a reason."""
        async with running(build(settings)) as client:
            # A table cannot be dropped while the service uses it; its schema can get another name at any time.
            await admin.execute("ALTER SCHEMA public RENAME TO away; CREATE SCHEMA public")

            async def told() -> bool:
                status, checks = await _ready(client)
                return status == 503 and checks["migrations"] != "ok" and checks["database"] == "ok"

            await until(told)
        await admin.execute("DROP SCHEMA public; ALTER SCHEMA away RENAME TO public")

    async def test_metrics_with_and_without_a_slash_differ(self, client: Any) -> None:
        """`/metrics` is for Prometheus and `/metrics/` for the clients of the test metrics."""
        async with client.get("/metrics") as response:
            assert response.content_type == "text/plain"
        async with client.get("/metrics/") as response:
            assert response.status == 204

    async def test_every_feature_needs_the_token(self, with_settings: Any) -> None:
        """Routes of all features need the token."""
        client = await with_settings(token="abc")

        for path in ("/metrics/", "/api/v1/contexts/", "/openapi.json", "/unknown"):
            assert (await client.get(path)).status == 401
        assert (await client.get("/contexts/", headers={"Authorization": "Bearer abc"})).status == 204

    async def test_allowed_host_names_are_accepted(self, with_settings: Any) -> None:
        """Names of the setting `allow_host` are accepted, others are not."""
        client = await with_settings(allow_host=("lab.example",))

        assert (await client.get("/health", headers={"Host": "lab.example:443"})).status == 200
        assert (await client.get("/health", headers={"Host": "other.example"})).status == 403

    async def test_the_setting_limits_bodies(self, with_settings: Any) -> None:
        """A body above `max_body` gets 413."""
        client = await with_settings(max_body=2000)

        async with client.post("/metrics/", data=b"x" * 2001) as response:
            assert response.status == 413

    async def test_events_are_published_after_the_commit(self, settings: Settings) -> None:
        """Events on the bus count the rows that were stored."""
        service = build(settings)
        heard: list[MetricsStored] = []
        service.bus.subscribe(MetricsStored, heard.append)
        async with running(service) as client:
            await client.post("/metrics/", json=[metric(), metric()])
            await client.post("/metrics/", json=metric())

        assert sum(event.count for event in heard) == 3

    async def test_requests_are_logged(self, settings: Settings) -> None:
        """Each finished request reaches the access log."""
        lines: list[Any] = []
        async with running(build(settings, lines.extend)) as client:
            await client.get("/health", headers={"X-Request-Id": "id-1"})
            await client.get("/unknown")

        assert [(line[0], line[1], line[2]) for line in lines] == [("GET", "/health", 200), ("GET", "/unknown", 404)]
        assert lines[0][4] == "id-1"


class TestStop:
    """A service that was stopped, or could not start."""

    async def test_a_stop_leaves_nothing_running(self, settings: Settings, admin: Any) -> None:
        """Tasks have ended, connections are closed, the data directory is free, and accepted data is stored."""
        service = build(settings)
        async with running(service) as client:
            answers = await asyncio.gather(*(client.post("/metrics/", json=metric()) for _ in range(20)))
            assert service.tasks.names()

        assert {response.status for response in answers} == {201}
        assert service.tasks.names() == []
        # A connection's process at the database ends after its client has closed it, in its own time.
        await until(lambda: _is_only_connection(admin))
        folder = DataDirectory(settings.data_dir)
        folder.hold()
        folder.release()

    async def test_a_second_service_on_a_data_directory_is_refused(self, settings: Settings) -> None:
        """The second service fails with an error, and the first one continues."""
        async with running(build(settings)) as client:
            with pytest.raises(StartupError, match="in use by another smartmob service"):
                await _serve(build(settings), settings)

            assert (await _ready(client))[0] == 200

    async def test_a_refused_database_login_frees_the_data_directory(
        self, settings: Settings, database_url: str
    ) -> None:
        """The start fails with the error of the database, and the data directory is free again."""
        wrong = replace(settings, database=DatabaseSettings(url=re.sub("//[^/@]+@", "//nobody@", database_url)))

        with pytest.raises(DatabaseError, match="the database refuses the service"):
            await _serve(build(wrong), wrong)

        async with running(build(settings)) as client:
            assert (await _ready(client))[0] == 200


async def test_an_embedded_database_keeps_its_data_and_is_stopped(embedded_settings: Settings) -> None:
    """It needs nothing but a folder: what is stored is there at the next start, and no server stays behind.

    Not even when a start fails, as with a database that a newer version has changed.
    """
    first = build(embedded_settings)
    assert first.embedded is not None
    async with running(first) as client:
        assert (await client.post("/metrics/", json=metric())).status == 201
        assert (await _ready(client))[0] == 200
    assert first.embedded.pid() is None

    second = build(embedded_settings)
    async with running(second) as client:
        async with client.get("/metrics/count") as response:
            assert await response.json() == {"count": 1}
        connection = await asyncpg.connect(
            host=str(embedded_settings.data_dir / "postgres" / "socket"), user="smartmob", database="smartmob"
        )
        await connection.execute(
            "INSERT INTO schema_migrations (room, number, name, checksum) VALUES ('metrics', 9999, 'x', 'x')"
        )
        await connection.close()

    third = build(embedded_settings)
    assert third.embedded is not None
    with pytest.raises(DatabaseError, match="newer smartmob"):
        await _serve(third, embedded_settings)
    assert third.embedded.pid() is None
