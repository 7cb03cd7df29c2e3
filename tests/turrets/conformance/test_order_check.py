"""The orders that a turret must survive."""

from __future__ import annotations

import pytest

from smartmob.errors import InvalidInput
from smartmob.turrets.conformance.order_check import BROKEN_ORDERS
from smartmob.turrets.protocol import LONGEST_MESSAGE, decode_order


def test_broken_orders_are_broken() -> None:
    """None starts a run or ends a turret, and most of them cannot be read by ours either."""
    unread = 0
    for frame in BROKEN_ORDERS:
        assert len(frame) < LONGEST_MESSAGE
        try:
            _, order = decode_order(frame)
        except InvalidInput:
            unread += 1
            continue
        assert order.command in ("status_request", "set_transaction_context"), frame
    assert unread > len(BROKEN_ORDERS) / 2


def test_an_order_without_a_channel_is_for_all() -> None:
    """The frames of the check have the form that a turret must read."""
    assert decode_order(b' {"command": "stop", "msg": "x"}')[0] == ""
    with pytest.raises(InvalidInput):
        decode_order(b" not JSON")
