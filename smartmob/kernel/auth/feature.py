"""The composition of the tokens. They belong to the kernel, but have routes and background tasks like a feature."""

from __future__ import annotations

from smartmob.kernel.auth import routes
from smartmob.kernel.auth.store import TokenStore
from smartmob.kernel.auth.token_service import TokenService
from smartmob.kernel.features import Dependencies, Feature


def build(dependencies: Dependencies) -> Feature[TokenService]:
    """Return the feature that makes, lists and revokes tokens."""
    service = TokenService(TokenStore(dependencies.database), dependencies.tokens, dependencies.bus)
    return Feature(
        routes.table(service, dependencies.bodies),
        background_tasks={"tokens-refresh": service.run_refresh},
        start=service.load,
        service=service,
    )
