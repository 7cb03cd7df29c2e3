"""The scales on which the values of resources are compared."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.metrics.verdict.scales import SCALES


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(sorted(SCALES)))
def test_from_log_reverses_to_log(value: float, resource: str) -> None:
    """A value comes back from its logarithm, within the bounds of the scale."""
    scale = SCALES[resource]
    bounded = max(-1e15, min(value, 1e15))
    assert scale.from_log(scale.to_log(value)) == pytest.approx(bounded, rel=1e-9, abs=1e-9)
