"""A small suite of tests, as both sides of an experiment have it."""

from __future__ import annotations

from pathlib import Path

WORK = """
def work(number):
    total = 0
    for each in range(number):
        total += each * each
    return total
"""

SUITE = """
import time
import unittest

import pytest
from work import work

@pytest.fixture
def thing():
    yield [1]

@pytest.mark.parametrize("number", [1000, 2000])
def test_compute(number):
    assert work(number) >= 0

def test_fixture(thing):
    thing.append(2)
    assert thing == [1, 2]

def test_waits():
    time.sleep(0.001)

def test_only_once(called=[]):
    called.append(1)
    assert called == [1]

class TestOld(unittest.TestCase):
    def setUp(self):
        self.value = 1

    def test_old(self):
        self.value += 1
        self.assertEqual(self.value, 2)

def test_skipped():
    pytest.skip("not here")

def test_fails():
    assert False
"""


def write_suite(folder: Path, work: str = WORK) -> Path:
    """Write the suite into a folder, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "work.py").write_text(work)
    (folder / "test_work.py").write_text(SUITE)
    return folder
