"""Tokens that other services on the same database make and revoke."""

from __future__ import annotations

from typing import Any

from smartmob.kernel.access import keeper
from tests.kernel.access.test_routes import OWN, make, status
from tests.waiting import until


async def test_another_service_on_the_same_database(with_settings: Any, tmp_path: Any, monkeypatch: Any) -> None:
    """It notices by itself what was made and revoked elsewhere."""
    monkeypatch.setattr(keeper, "_REFRESH_SECONDS", 0.01)
    one = await with_settings(token="own-secret")
    two = await with_settings(token="own-secret", data_dir=tmp_path / "two")
    read = await make(one, "wall", "read")

    async def seen(wanted: int) -> None:
        async def there() -> bool:
            return await status(two, "GET", "/jobs", read) == wanted

        await until(there)

    await seen(200)
    assert await status(one, "DELETE", "/tokens/wall", OWN) == 204
    await seen(401)
