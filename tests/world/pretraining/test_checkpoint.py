"""The shipped checkpoint loads without the network and does its work."""

import subprocess
import sys

import pytest

from stages.world import CHECKPOINT

needs_checkpoint = pytest.mark.skipif(
    not (CHECKPOINT / "config.json").exists(), reason="no checkpoint yet"
)


def test_a_run_of_the_world_imports_neither_torch_nor_its_pretraining():
    program = (
        "import sys, stages.world; from stages.world import check, mixed; mixed(3); "
        "sys.exit(any(name in sys.modules for name in "
        "('torch', 'transformers', 'stages.world.pretraining')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@needs_checkpoint
def test_the_checkpoint_is_small_and_plain():
    assert sum(file.stat().st_size for file in CHECKPOINT.iterdir()) < 16 * 2**20
    assert not {file.suffix for file in CHECKPOINT.iterdir()} & {".bin", ".py", ".pkl"}


@pytest.mark.slow
@needs_checkpoint
def test_the_checkpoint_answers_in_well_formed_sentences():
    from stages.world import check, mixed
    from stages.world.pretraining.exams.inference import converse, load
    from stages.world.pretraining.wordings import VALUE_ANSWERS

    model = load(CHECKPOINT)
    for label in ("A", "B", "Yes", "No", *VALUE_ANSWERS.values()):
        assert len(model.tokenizer.encode(label, add_special_tokens=False)) == 1
    texts = [row["messages"][0]["content"] for row in mixed(64, 0, "seen")]
    answers = model.answer([converse(text) for text in texts])
    truths = [check(text, answer) for text, answer in zip(texts, answers, strict=True)]
    assert sum(truth.well_formed for truth in truths) > 40
    encoded = model.tokenizer.apply_chat_template(
        [
            {"role": "user", "content": "Hi."},
            {"role": "assistant", "content": "Thanks for asking."},
        ],
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    assert 0 < sum(encoded["assistant_masks"]) < len(encoded["assistant_masks"])
