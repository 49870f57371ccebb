import json
import shutil
from dataclasses import replace

import pytest

from stages.guards.errors import UserError
from stages.preferences import best_of
from stages.runtime.models import find_model
from stages.training.model_files import load_model
from stages.training.offline import sft
from stages.training.progress import curve
from tests.training.conftest import pair, response, revision
from tests.training.offline.test_groups import rating

ARGS = {"per_device_train_batch_size": 4, "max_steps": 4, "learning_rate": 1e-3, "max_length": 96}


def test_rows_of_every_kind_are_read_and_dropped_rows_are_counted(artifact):
    inputs = {
        "model": artifact("base"),
        "helpful": artifact(
            "helpful", [response(0, "kind"), response(1, "kind"), response(2, "  ")]
        ),
        "revisions": artifact("revisions", [revision(0, 1, "first"), revision(0, 2, "second")]),
        "pairs": artifact("pairs", [pair(0, "chosen", "rejected")]),
    }
    examples, dropped = sft.read_examples(inputs, "all")
    assert {e["completion"][0]["content"] for e in examples} == {
        "kind",
        "first",
        "second",
        "chosen",
    }
    assert [(d.id, d.reason) for d in dropped] == [("r1", "duplicate"), ("r2", "empty completion")]
    last, dropped = sft.read_examples(inputs, "last")
    assert {e["completion"][0]["content"] for e in last} == {"kind", "second", "chosen"}
    assert ("r0.1", "not the last revision") in [(d.id, d.reason) for d in dropped]


def test_every_revision_is_learnt_and_no_first_answer(artifact):
    """systems.md section 15, item 1: K rows a red-team request and two a helpful one, none y_0."""
    chains = [revision(n, k, f"text {n} {k}") for n in range(3) for k in range(1, 5)]
    helpful = []
    for number in range(10, 14):
        helpful += [response(number, f"one {number}"), response(number + 10, f"two {number}")]
    inputs = {
        "model": artifact("base"),
        "revisions": artifact("revisions", chains),
        "helpful": artifact("helpful", helpful),
    }
    examples, dropped = sft.read_examples(inputs, "all")
    assert len(examples) == 4 * 3 + 2 * 4 and not dropped
    learnt = {example["completion"][0]["content"] for example in examples}
    assert not learnt & {row.original for row in chains}


def test_no_rows_is_reported_with_the_inputs_name(artifact):
    inputs = {"model": artifact("base"), "helpful": artifact("answers", [response(0, " ")])}
    with pytest.raises(UserError, match=r"(?s)'helpful' \(step 'answers'\).*Fix:"):
        sft.read_examples(inputs, "all")


def test_truncated_weights_are_reported(tiny, tmp_path):
    folder = tmp_path / "trained-12345678" / "model"
    shutil.copytree(tiny, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(
        UserError, match=rf"(?s)weights are damaged.*delete {folder.parent} and run again"
    ):
        load_model(find_model(str(folder)), "float32", {})


def test_only_the_answer_and_the_end_of_its_turn_are_learnt(artifact, context):
    row = response(0, "the kind answer")
    inputs = {"model": artifact("base"), "answers": artifact("answers", [row])}
    examples, _ = sft.read_examples(inputs, "all")
    trainer = sft.build_trainer(sft.Config(args=ARGS), inputs["model"].model(), examples, context())
    batch = next(iter(trainer.get_train_dataloader()))
    decode = trainer.processing_class.decode
    learnt = batch["labels"][0] != -100
    assert decode(batch["input_ids"][0][learnt]) == "the kind answer<|im_end|>"
    assert (batch["labels"][0][learnt] == batch["input_ids"][0][learnt]).all()
    assert row.prompt[0]["content"] in decode(batch["input_ids"][0][~learnt])


@pytest.mark.parametrize("lora", [None, {"r": 2, "target_modules": ["q_proj", "v_proj"]}])
def test_a_trained_model_is_a_whole_model_in_the_base_models_type(
    artifact, context, lora, tiny, tmp_path
):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    half = tmp_path / "half"
    AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.bfloat16).save_pretrained(half)
    AutoTokenizer.from_pretrained(tiny).save_pretrained(half)
    base = artifact("base", model=half)
    rows = [response(i, f"{'kind ' * (i % 3 + 1)}answer {i}") for i in range(12)] + [
        response(99, "x", "y " * 200)
    ]
    here = context()
    args = ARGS | {"learning_rate": 1e-2}
    result = sft.run(
        sft.Config(args=args, lora=lora),
        {"model": base, "answers": artifact("answers", rows)},
        here,
    )
    assert result.metrics["n"] == 12
    assert [(d.id, d.reason) for d in result.dropped] == [("r99", "longer than max_length")]
    assert [p["step"] for p in result.metrics["history"]] == [1, 2, 3, 4]
    assert result.metrics["history"][-1]["loss"] < result.metrics["history"][0]["loss"]
    saved = here.directory / "model"
    assert not (here.directory / "checkpoints").exists()
    assert not [
        f
        for f in saved.rglob("*")
        if f.suffix in (".bin", ".pt", ".pth", ".pkl") or f.name.startswith("adapter")
    ]
    written = json.loads((saved / "config.json").read_text())
    assert written == json.loads((half / "config.json").read_text())
    assert find_model(str(saved)).content != find_model(str(half)).content
    again = AutoModelForCausalLM.from_pretrained(saved)
    assert again.dtype == torch.bfloat16
    assert (
        AutoTokenizer.from_pretrained(saved).chat_template
        == AutoTokenizer.from_pretrained(half).chat_template
    )


def test_a_diverged_training_is_stopped_and_explained(artifact, context):
    rows = [response(i, f"answer {i}") for i in range(8)]
    inputs = {"model": artifact("base"), "answers": artifact("answers", rows)}
    with pytest.raises(UserError, match=r"diverged"):
        sft.run(
            sft.Config(args=ARGS | {"learning_rate": 1e30, "max_grad_norm": 0}), inputs, context()
        )


def test_a_model_without_a_chat_template_is_refused(artifact, context, tmp_path):
    from tests.tiny_model import build_tiny_model

    base = artifact("base", model=build_tiny_model(tmp_path / "bare", template=False))
    with pytest.raises(UserError, match="chat template"):
        sft.run(
            sft.Config(args=ARGS),
            {"model": base, "answers": artifact("answers", [response(0, "kind")])},
            context(),
        )


def test_a_long_curve_is_thinned_to_means():
    log = [{"step": i + 1, "loss": float(i)} for i in range(1001)] + [
        {"step": 1001, "eval_loss": 1.0}
    ]
    points = curve(log)
    assert len(points) <= 200
    assert points[0] == {"step": 6, "loss": 2.5}
    assert points[-1]["step"] == 1001


def test_raft_with_one_sample_is_sft_on_the_samples(artifact, context):
    """Best-of-n is RAFT's only step of its own; n = 1 must change nothing, down to what the trainer
    reads.
    """
    answers = [
        replace(
            response(i, f"kind answer {i}"),
            prompt_id=f"p{i}",
            finish_reason="length" if i == 3 else "stop",
        )
        for i in range(6)
    ]
    rated = [
        replace(rating(i, 0, row.response, float(-i)), response_id=row.id, prompt=row.prompt)
        for i, row in enumerate(answers)
    ]
    samples = artifact("answers", answers)
    best = best_of.run(
        best_of.Config(), {"ratings": artifact("ratings", rated), "responses": samples}, context()
    )
    kept = {"model": artifact("base"), "best": artifact("best", best.rows)}
    assert sft.read_examples(kept, "all") == sft.read_examples(
        {"model": kept["model"], "best": samples}, "all"
    )
