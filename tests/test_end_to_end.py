"""Whole pipelines on the embedded model: real generation and training, no row is lost."""

import signal
import subprocess
import sys
import time

import pytest

from tests.embedded import ROOT, TINY, calls_in, run_config
from tests.training.killed import count_steps

SHARED = ROOT.parent / "shared" / "data"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (ROOT / "stages/world/checkpoint/model.safetensors").exists(),
        reason="no embedded model",
    ),
]


def killed_when(command, is_time):
    """Start a run and kill it (SIGKILL) at a moment."""
    run = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 480
    while run.poll() is None and not is_time():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert run.poll() is None, run.stderr.read()
    run.send_signal(signal.SIGKILL)
    run.wait()


def test_the_demo_in_small_killed_while_it_writes_and_while_it_trains(tmp_path, monkeypatch):
    """Until it trains on preferences, with the real vLLM, which serves what SFT has made, too."""
    settings = [*TINY, "model.dpo.max_steps=12", "++model.dpo.save_steps=1"]
    command = [sys.executable, "run.py", f"runs_dir={tmp_path}", *settings]
    killed_when(command, lambda: calls_in(tmp_path / "calls.sqlite") >= 40)
    assert not list(tmp_path.glob("artifacts/revisions-*/manifest.json"))
    saved = "artifacts/rl_cai-*/checkpoints/checkpoint-*/complete"
    killed_when(command, lambda: list(tmp_path.glob(saved)))
    steps = count_steps(monkeypatch)
    planned, done = run_config(tmp_path, "generator=transformers", *settings)
    assert steps[0] > 1 and steps[-1] == 12
    reused = {plan.step.name for plan in planned if plan.artifact}
    assert {"answers", "revisions", "sl_cai", "pairs"} <= reused and "rl_cai" not in reused
    whole("answers", [f"{prompt.id}-0" for prompt in done["red_team"].rows()], done)
    whole(
        "revisions",
        [f"{row.id}-r{n}" for row in done["answers"].rows() for n in (1, 2, 3, 4)],
        done,
    )
    policies = done["evaluation"].metrics["policies"]
    assert list(policies) == ["base", "sl_cai", "rl_cai"]
    assert all(policies[name]["responses"] + policies[name]["dropped"] >= 16 for name in policies)
    assert (done["report"].directory / "report.html").read_text().startswith("<!doctype html>")
    assert done["rl_cai"].model().content != done["sl_cai"].model().content
    for step in ("sl_cai", "rl_cai"):
        files = {path.suffix for path in done[step].directory.rglob("*")}
        assert ".safetensors" in files and not files & {".pt", ".bin"}
        assert not (done[step].directory / "checkpoints").exists()
    planned, _ = run_config(tmp_path, *settings)
    assert all(p.artifact for p in planned), "a second run computes nothing"


def whole(step, expected, done):
    """Every expected row is there once and in order, or was dropped with a reason."""
    made = [row.id for row in done[step].rows()]
    lost = sum(done[step].manifest.dropped.values())
    assert (
        made == [name for name in expected if name in set(made)]
        and len(made) >= len(expected) - 4 * lost
    )


@pytest.mark.long
@pytest.mark.parametrize("name", ["hhh", "cai", "self_align", "rots", "schwartz"])
def test_every_shipped_set_asks_for_revisions(tmp_path_factory, name):
    """What follows the revisions is the same for all of them; the demo and its methods test it."""
    root = tmp_path_factory.getbasetemp() / "sets"  # one store: the answers are shared
    root.mkdir(exist_ok=True)
    goal = [f"constitution.name={name}", "until=revisions"]
    few = ["data.red_team.arguments.count=4", "data.helpful.arguments.count=1"]
    _, done = run_config(root, "generator=transformers", *goal, *TINY, *few)
    drawn = {row.principle for row in done["revisions"].rows()}
    assert len(drawn) > 3


@pytest.mark.long
@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not here")
def test_real_requests_go_through_to_the_end(tmp_path):
    """12 red-team dialogues of hh-rlhf and 12 XSTest prompts: every row of every step is accounted
    for.
    """
    files = [
        "data=files",
        f"data.red_team.source={SHARED / 'hh_rlhf/harmless_base_test.jsonl.gz'}",
        "data.red_team.column=chosen",
        "data.red_team.limit=12",
        f"data.helpful.source={SHARED / 'hh_rlhf/helpful_test.jsonl.gz'}",
        "data.helpful.column=chosen",
        "data.helpful.limit=4",
        f"data.held_out.source={SHARED / 'xstest/xstest_prompts.csv'}",
        "data.held_out.limit=12",
    ]
    _, done = run_config(
        tmp_path, "generator=transformers", *(o for o in TINY if not o.startswith("data.")), *files
    )

    def accounted(step: str, source: str, each: int = 1) -> None:
        made = done[step].rows()
        lost = sum(done[step].manifest.dropped.values())
        assert len(made) + lost * each == each * len(done[source].rows()), step

    assert len(done["red_team"].rows()) == len(done["held_out"].rows()) == 12
    accounted("answers", "red_team")
    accounted("revisions", "answers", each=4)
    accounted("base_held_out", "held_out")
    samples = len(done["samples"].rows()) + sum(done["samples"].manifest.dropped.values())
    assert samples == 2 * (len(done["red_team"].rows()) + len(done["helpful"].rows()))
    assert (done["report"].directory / "report.html").exists()
