"""How the tokens are put together of what the dependencies gives: like a feature, though they belong to the kernel."""

from __future__ import annotations

from smartmob.kernel.auth import routes
from smartmob.kernel.auth.store import TokenStore
from smartmob.kernel.auth.token_service import TokenService
from smartmob.kernel.features import Dependencies, Feature


def build(dependencies: Dependencies) -> Feature:
    """Return what makes, lists and revokes tokens."""
    keeper = TokenService(TokenStore(dependencies.database), dependencies.tokens)
    return Feature(
        routes.table(keeper, dependencies.bodies),
        background_tasks={"tokens-refresh": keeper.refresh_for_ever},
        start=keeper.load,
    )
