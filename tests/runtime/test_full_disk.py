"""A real disk that is full, or has no inodes left: one message, and the next run finishes."""

import copy
import subprocess

import pytest

from stages.guards.disk import write_atomically
from stages.guards.errors import UserError
from tests.running import run_steps, text_pipeline


@pytest.fixture
def disk(tmp_path):
    """Mounts a small disk of the given options, or changes its options."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options):
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if place.is_mount():
            command = ["mount", "-o", f"remount,{options}", str(place)]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            pytest.skip("no disk can be mounted here")
        return place

    yield mount
    subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The steps, and the rows that a run without trouble makes."""
    folder = tmp_path_factory.mktemp("whole")
    steps = text_pipeline(folder, prompts=5, rounds=1)
    steps = {name: steps[name] for name in ("base", "requests", "answers", "revisions")}
    steps["report"] = {"stage": "report", "inputs": {"revisions": "revisions"}}
    _, done = run_steps(copy.deepcopy(steps), folder)
    return steps, done


@pytest.mark.parametrize(
    "options",
    [f"size={size}k" for size in (4, 40, 60, 100, 140, 180)]
    + [f"size=9m,nr_inodes={number}" for number in (2, 5, 8, 14, 20, 26)],
)
def test_nothing_is_lost(disk, whole, options):
    steps, done = whole
    place = disk(options)
    with pytest.raises(UserError, match=r"(cannot grow|cannot be written)"):
        run_steps(copy.deepcopy(steps), place)
        run_steps(copy.deepcopy(steps) | filler(steps), place)
    disk("size=30m,nr_inodes=9000")
    _, again = run_steps(copy.deepcopy(steps), place)
    for name in ("requests", "answers", "revisions"):
        assert again[name].rows() == done[name].rows()
    assert (again["report"].directory / "report.html").is_file()


def filler(steps):
    """More steps of the same kind, for a disk on which the first ones fit."""
    return {f"answers{n}": steps["answers"] | {"n": n} for n in range(3, 30)}


def test_the_last_file_of_a_run_needs_room_too(disk):
    place = disk("size=8k")
    with pytest.raises(UserError, match=r"(?s)cannot be written: No space left.*Fix: free"):
        write_atomically(place / "run.json", "x" * 9000)
    assert list(place.iterdir()) == [], "and leaves no half of it"
