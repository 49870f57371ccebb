"""The training code on the smallest scale: packing, gradients, export."""

import random

import pytest
import torch

from stages.world.pretraining.curriculum import EVERYTHING
from stages.world.pretraining.lessons.catalogue import draw_lesson
from stages.world.pretraining.model import Body, to_llama
from stages.world.pretraining.optimizer import Optimizer, orthogonalize
from stages.world.pretraining.packing import encode_turns, make_batch, pack_lesson
from stages.world.pretraining.parallel import Workers, set_gradients
from stages.world.pretraining.tokenizer import LABELS, train_tokenizer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(lessons=800)


def test_labels_are_single_tokens(tokenizer):
    assert all(len(tokenizer.encode(label, add_special_tokens=False)) == 1 for label in LABELS)


def test_encoding_agrees_with_the_chat_template(tokenizer):
    rng = random.Random(0)
    for _ in range(50):
        for turns in draw_lesson(rng, EVERYTHING)[1]:
            messages = [{"role": turn.role, "content": turn.content} for turn in turns]
            text = tokenizer.apply_chat_template(messages, tokenize=False)
            assert encode_turns(tokenizer, turns)[0] == tokenizer.encode(
                text, add_special_tokens=False
            )


def test_a_packed_branch_gets_the_logits_of_its_own_conversation(tokenizer):
    torch.manual_seed(0)
    body = Body(len(tokenizer)).eval()
    llama = to_llama(body, tokenizer, torch.float32).eval()
    rng = random.Random(1)
    lessons = [draw_lesson(rng, EVERYTHING) for _ in range(99)]
    lesson = next(lesson for name, lesson in lessons if name == "judge" and len(lesson) > 1)
    packed = pack_lesson(rng, tokenizer, lesson)
    branches = torch.tensor(packed.branches)
    order = torch.arange(len(branches))
    mask = (order[:, None] >= order) & (
        (branches == 0)[None] | (branches[:, None] == branches[None])
    )
    states = body(
        torch.tensor([packed.tokens]), torch.tensor([packed.positions]), mask[None], order
    )
    logits = states @ body.embedding.weight.T
    for number, turns in enumerate(lesson, start=1):
        own = torch.tensor([encode_turns(tokenizer, turns)[0]])
        expected = llama(own).logits[0, -1]
        last = int(order[branches == number][-1])
        assert torch.allclose(logits[last], expected, atol=1e-3)


def test_gradients_do_not_depend_on_the_number_of_workers(tokenizer):
    batch = make_batch(random.Random(2), tokenizer, EVERYTHING, 4, 320)
    gradients = []
    for count in (1, 2):
        torch.manual_seed(0)
        body = Body(len(tokenizer))
        set_gradients(Workers(count), body, batch)
        gradients.append([parameter.grad for parameter in body.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


def test_a_few_steps_lower_the_loss_and_the_state_can_be_restored(tokenizer):
    torch.manual_seed(0)
    body, workers = Body(len(tokenizer)), Workers(1)
    optimizer = Optimizer(body)
    batch = make_batch(random.Random(3), tokenizer, EVERYTHING, 2, 320)
    losses = []
    for _ in range(6):
        losses.append(set_gradients(workers, body, batch))
        optimizer.step(workers, 1.0)
    assert losses[-1] < losses[0] - 0.5
    other = Optimizer(body)
    other.load_state(optimizer.state())
    assert all(torch.equal(value, other.state()[key]) for key, value in optimizer.state().items())


def test_orthogonalized_updates_have_singular_values_near_one():
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalize(torch.randn(192, 96)))
    assert values.min() > 0.5 and values.max() < 1.4


@pytest.mark.long
def test_a_run_exports_a_loadable_model_and_can_be_resumed(tmp_path, monkeypatch, capsys):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from stages.world.pretraining import pretrain

    monkeypatch.setattr(pretrain, "INTERVAL", 1)
    pretrain.pretrain(3000, 1, tmp_path / "work", tmp_path / "model", False, 1, compiled=False)
    pretrain.pretrain(6000, 1, tmp_path / "work", tmp_path / "model", True, 1, compiled=False)
    assert "done after 2 steps" in capsys.readouterr().out
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model", local_files_only=True)
    saved_tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model", local_files_only=True)
    assert len(saved_tokenizer) == model.config.vocab_size
