"""The scales on which metrics of tests are compared: units, logarithms, and the least change that matters."""

from __future__ import annotations

import math
from typing import NamedTuple

from smartmob.metrics.model import BENCHMARK

_LARGEST_VALUE = 1e15
"""Values are limited to this absolute value, in the unit of the resource, so that all results are finite numbers."""


class Scale(NamedTuple):
    """The scale on which the values of a resource are compared.

    Below `linear_below` the logarithmic scale becomes linear. `least_change` is the change that matters by default.
    Both are in `unit`. `has_shift` is whether a busy machine multiplies the values of all tests by one factor.
    `benchmarks` is the scale of benchmarks, whose values can be far smaller than those of tests; None: the same.
    """

    unit: str
    linear_below: float
    least_change: float
    has_shift: bool
    benchmarks: Scale | None = None

    def of(self, kind: str) -> Scale:
        """Return the scale of the tests of this `kind`."""
        return (self.benchmarks or self) if kind == BENCHMARK else self

    def to_log(self, value: float) -> float:
        """Return the logarithm of a value; near zero the scale is linear, so that negative values have one too."""
        bounded = max(-_LARGEST_VALUE, min(value, _LARGEST_VALUE))
        return math.copysign(math.log1p(abs(bounded) / self.linear_below), bounded)

    def from_log(self, log: float) -> float:
        """Return the value that has this logarithm."""
        return math.copysign(math.expm1(abs(log)) * self.linear_below, log)


_TIME = Scale("s", 1e-4, 0.001, has_shift=True, benchmarks=Scale("s", 1e-10, 0.0, has_shift=True))


SCALES = {
    "total_time": _TIME,
    "user_time": _TIME,
    "kernel_time": _TIME,
    "cpu_usage": Scale("cores", 0.01, 0.05, has_shift=True),
    # A busy machine does not make all tests use more memory.
    "mem_usage": Scale("MB", 1.0, 1.0, has_shift=False, benchmarks=Scale("MB", 1e-6, 0.0, has_shift=False)),
}
"""The scale of each resource, by the name of the field of a metric."""
