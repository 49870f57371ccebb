"""A few kills and a few full disks of the large target, `make fuzz`, drawn anew each time."""

import argparse
import random

import pytest

from tests.fuzz import disks, kills
from tests.fuzz.lane import Report, show

OPTIONS = argparse.Namespace(kills=8, sizes=4)


@pytest.fixture
def seed() -> int:
    return random.SystemRandom().randrange(10**6)


def passes(report: Report) -> None:
    if not report.tried:
        pytest.skip("this machine lets nobody mount")
    show([report])
    assert not report.failed


@pytest.mark.long
def test_killed_runs_end_like_whole_ones(seed):
    passes(kills.run(seed, OPTIONS))


@pytest.mark.long
def test_runs_on_full_disks_go_on_when_there_is_room(seed):
    passes(disks.run(seed, OPTIONS))
