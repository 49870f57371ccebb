"""The lane itself counts what it should; and a little of every kind, drawn anew each time."""

import os
import random
import time

import pytest

from stages.guards.errors import UserError
from tests.fuzz.kind import Kind, Wrong
from tests.fuzz.kinds import KINDS, load
from tests.fuzz.lane import show, summary, try_kind

FIXED = 11


def hostile(draws, folder):
    """Ten fates, one after the other."""
    fate = int(folder.name)
    if fate == 1:
        raise UserError("not so", where="here", fix="do this")
    if fate == 2:
        raise Wrong("this was no constitution")
    if fate == 3:
        return {}["nothing"]
    if fate == 4:
        time.sleep(60)
    if fate == 5:
        os._exit(3)
    if fate == 6:
        return str(len(bytearray(2**40)))
    if fate == 7:
        raise SystemExit(2)
    if fate == 8:
        raise SystemExit(1)
    if fate == 9:
        print("Traceback (most recent call last):\n  asyncio: never retrieved")
    return "fine"


def test_what_may_become_of_an_input(tmp_path, capsys):
    report = try_kind("fates", Kind(10, hostile, deadline=0.6), 7, range(10), quiet=True)
    assert report.counts == {
        "accepted": 1,
        "refused": 2,
        "wrong": 1,
        "traceback": 3,
        "hang": 1,
        "crash": 1,
        "memory": 1,
    }
    by_number = {finding["number"]: finding for finding in report.findings}
    assert sorted(by_number) == [2, 3, 4, 5, 6, 8, 9]
    assert "KeyError" in by_number[3]["place"]
    assert "hostile" in by_number[4]["detail"], "the stack of what hung"
    assert report.failed == 7
    show([report])
    assert "python -m tests.fuzz fates --seed 7 --only 2" in capsys.readouterr().out
    report.write(tmp_path)
    assert "| fates | 7 | 10 | 1 | 2 | 4 | 1 | 1 | 1 |" in summary(tmp_path)


LANES = {"models": pytest.mark.slow, "options": pytest.mark.long, "secrets": pytest.mark.long}
"""Of kinds that load torch, or run whole pipelines."""


@pytest.mark.parametrize("name", [pytest.param(name, marks=LANES.get(name, ())) for name in KINDS])
def test_a_little_of_every_kind(name):
    """The large counts: `make fuzz`."""
    kind = load(name)
    for seed in (FIXED, random.SystemRandom().randrange(10**6)):
        report = try_kind(name, kind, seed, range(4), seconds=0.3, quiet=True)
        show([report])
        assert report.failed == 0, f"python -m tests.fuzz {name} --seed {seed}"
