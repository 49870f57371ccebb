"""A published model of the embedded world answers again as it did in its run."""

import shutil
from pathlib import Path

import pytest

from stages.card import __main__ as command
from stages.runtime.generator_registry import open_generator
from tests.card.scripted_run import write_run
from tests.runs_on_disk import NEWER

CHECKPOINT = Path("stages/world/checkpoint")


async def open_transformers(name, model, options):
    return await open_generator("transformers", model, options)


def copy_checkpoint(folder: Path) -> None:
    shutil.copytree(CHECKPOINT, folder)


@pytest.mark.slow
def test_an_embedded_model_is_verified_from_scratch(tmp_path, capsys):
    sampling = {"temperature": 1.0, "max_tokens": 40}

    def answers(model):
        inputs = {"prompts": "held_out", "model": model}
        return {"stage": "respond", "inputs": inputs, "sampling": sampling}

    steps = {
        "base": {"stage": "model", "path": str(CHECKPOINT)},
        "held_out": {
            "stage": "prompts",
            "source": "stages.world:red_team",
            "arguments": {"count": 12, "seed": 3, "split": "seen"},
        },
        "base_answers": answers("base"),
        "policy": {"stage": "sft", "inputs": {"model": "base", "answers": "base_answers"}},
        "policy_answers": answers("policy"),
        "evaluation": {
            "stage": "evaluate",
            "inputs": {"base": "base_answers", "policy": "policy_answers"},
            "constitution": {"name": "world"},
            "ground_truth": "stages.world:check",
        },
    }
    root = tmp_path / "runs"
    write_run(root, steps, copy_checkpoint, open_transformers, "transformers")
    run, out = str(root / "logs" / NEWER), str(tmp_path / "card")
    assert command.main([run, "--out", out]) == 0
    capsys.readouterr()
    assert command.main(["verify", out, "--run", run, "--model", "--requests", "8"]) == 0
    shown = capsys.readouterr().out
    assert "8 of 8 are equal word for word" in " ".join(shown.split())
    assert "recomputed policy_answers" in shown and "any_violation from scratch" in shown
