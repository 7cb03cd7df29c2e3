"""How the tokens are put together of what the house gives: like a room, though they belong to the kernel."""

from __future__ import annotations

from smartmob.kernel.access import routes
from smartmob.kernel.access.keeper import TokenKeeper
from smartmob.kernel.access.store import TokenStore
from smartmob.kernel.rooms import House, Room


def build(house: House) -> Room:
    """Return what makes, lists and revokes tokens."""
    keeper = TokenKeeper(TokenStore(house.database), house.tokens)
    return Room(
        routes.table(keeper, house.bodies), works={"tokens-refresh": keeper.refresh_for_ever}, start=keeper.load
    )
