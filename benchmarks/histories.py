"""Histories of test suites whose truth is known: noise as it is on real machines, and changes of known size."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

Session = dict[str, float]


@dataclass(frozen=True, slots=True)
class Test:
    """A simulated test: how long it takes, how much that varies, and how much it feels a busy machine."""

    name: str
    seconds: float
    noise: float
    coupling: float


@dataclass(frozen=True, slots=True)
class Suite:
    """A simulated suite on one machine.

    - Tests take 2 ms to 10 s and vary by 0.5 to 15 %, both spread evenly over the logarithm.
    - Noise is Student's t with 4 degrees of freedom, and one value in 50 is longer by up to a factor of 2.
    - Each session is shifted as a whole by 4 % (standard deviation), and one in ten by 15 to 50 % on top.
    - A test feels half to all of such a shift; one in seven sleeps or waits, and feels nothing.
    """

    tests: tuple[Test, ...]
    random: random.Random = field(repr=False)

    @classmethod
    def of(cls, seed: int, tests: int = 1_000) -> Suite:
        """Return a suite; the same seed gives the same one with the same sessions."""
        source = random.Random(seed)
        made = []
        for number in range(tests):
            coupling = 0.0 if source.random() < 1 / 7 else source.uniform(0.5, 1.1)
            seconds = math.exp(source.uniform(math.log(0.002), math.log(10.0)))
            noise = math.exp(source.uniform(math.log(0.005), math.log(0.15)))
            made.append(Test(f"test_{number}", seconds, noise, coupling))
        return cls(tuple(made), source)

    def session(self, factors: Session | None = None, shift: float | None = None) -> Session:
        """Return the measurements of the next session; `factors` change tests, `shift` changes the machine."""
        source = self.random
        if shift is None:
            shift = source.gauss(0.0, 0.04)
            if source.random() < 0.1:
                shift += math.log(source.uniform(1.15, 1.5))
        factors = factors or {}
        return {test.name: test.seconds * factors.get(test.name, 1.0) * self._noise(test, shift) for test in self.tests}

    def _noise(self, test: Test, shift: float) -> float:
        source = self.random
        degrees = 4
        student = source.gauss(0.0, 1.0) / math.sqrt(source.gammavariate(degrees / 2, 2) / degrees)
        outlier = math.log(source.uniform(1.2, 2.0)) if source.random() < 0.02 else 0.0
        return math.exp(test.noise * student / math.sqrt(2) + test.coupling * shift + outlier)

    def changes(self, sizes: Sequence[float], each: int) -> Session:
        """Return `each` tests that become slower by each size, by name, with their factors."""
        chosen = self.random.sample(self.tests, each * len(sizes))
        return {test.name: 1.0 + sizes[number % len(sizes)] for number, test in enumerate(chosen)}
