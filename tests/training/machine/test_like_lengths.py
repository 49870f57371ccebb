"""Rows of like length together: PPO's losses and gradients are those of batches as wide as the
longest row.
"""

import pytest

from stages.runtime.rows import Prompt
from tests.training.online.test_ppo_trainer import built, nudge, whole


@pytest.fixture
def inputs(artifact):
    rows = []
    for i in range(16):
        text = "the cat asks " * (1 + i * 7 % 5) + str(i)
        rows.append(Prompt(id=f"p{i}", messages=[{"role": "user", "content": text}], kind="k"))
    return {"model": artifact("base"), "prompts": artifact("prompts", rows)}


@pytest.fixture
def trainer_and_rows(inputs, context):
    options = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4}
    trainer, rows = built(inputs, context(), **options, num_iterations=2)
    generate = trainer._generate

    def cut(prompts):
        """Completions of 1 to 8 tokens, in an order that is not the prompts'."""
        prompt_ids, completion_ids, *others = generate(prompts)
        short = [ids[: 1 + i * 5 % 8] for i, ids in enumerate(completion_ids)]
        return (prompt_ids, short, *others)

    trainer._generate = cut
    trainer.current_gradient_accumulation_steps = 4
    nudge(trainer.ref_model, 0.02, 1)
    return trainer, rows


def gradients(trainer, batches):
    """The loss of an update and all its gradients."""
    models = [trainer.model, *trainer.value_models.values()]
    for model in models:
        model.zero_grad()
    losses = []
    for batch in batches:
        loss = trainer._compute_loss(trainer.model, batch)
        loss.backward()
        losses.append(loss.item())
    weights = [weight for model in models for weight in model.parameters()]
    return sum(losses), [weight.grad.clone() for weight in weights]


def test_a_rollout_is_read_as_in_one_piece(trainer_and_rows):
    """Log-probabilities and values of trimmed groups equal those of a plain forward pass."""
    import torch

    trainer, rows = trainer_and_rows
    assert trainer.trims
    batch = trainer._generate_and_score_completions(rows)
    mask = batch["completion_mask"].bool()
    assert len(set(batch["prompt_mask"].sum(1).tolist())) > 3
    assert len(set(mask.sum(1).tolist())) > 3
    ids, attention = whole(batch)
    width = mask.size(1)
    with torch.no_grad():
        for model, name in (
            (trainer.model, "old_per_token_logps"),
            (trainer.ref_model, "ref_per_token_logps"),
        ):
            logits = model(input_ids=ids, attention_mask=attention).logits.log_softmax(-1)
            plain = logits[:, :-1].gather(2, ids[:, 1:, None])[..., 0][:, -width:]
            torch.testing.assert_close(batch[name][mask], plain[mask], atol=1e-5, rtol=1e-5)
        plain = trainer.value_models["reward"](ids, attention)[:, -width - 1 : -1]
        torch.testing.assert_close(batch["reward_values"][mask], plain[mask], atol=1e-5, rtol=1e-5)


def test_an_update_learns_the_same_from_rows_of_like_length(trainer_and_rows):
    import torch
    from trl.trainer.utils import split_tensor_dict

    from stages.training.machine.like_lengths import sort_rollout

    trainer, rows = trainer_and_rows
    wide = split_tensor_dict(trainer._generate_and_score_completions(rows), 4)
    nudge(trainer.model, 0.01, 2)
    nudge(trainer.value_models["reward"], 0.02, 3)
    loss, expected = gradients(trainer, wide)
    narrow = sort_rollout(wide, 4)
    new_loss, new = gradients(trainer, narrow)
    assert new_loss == pytest.approx(loss, abs=1e-5)
    for one, other in zip(expected, new, strict=True):
        torch.testing.assert_close(other, one, atol=1e-5, rtol=1e-4)
    tokens = [sum(whole(batch)[0].numel() for batch in batches) for batches in (wide, narrow)]
    assert tokens[1] < 0.9 * tokens[0]
    rows_of = [sorted(tuple(ids) for b in some for ids in texts(b)) for some in (wide, narrow)]
    assert rows_of[0] == rows_of[1]


def texts(batch):
    """The tokens of each row, without padding."""
    ids, attention = whole(batch)
    return [row[seen.bool()].tolist() for row, seen in zip(ids, attention, strict=True)]


def test_rows_stay_in_their_update(trainer_and_rows):
    from trl.trainer.utils import split_tensor_dict

    from stages.training.machine.like_lengths import sort_rollout

    trainer, rows = trainer_and_rows
    wide = split_tensor_dict(trainer._generate_and_score_completions(rows), 4)
    narrow = sort_rollout(wide, 2)
    for start in (0, 2):
        before, after = (
            sorted(tuple(ids) for batch in batches[start : start + 2] for ids in texts(batch))
            for batches in (wide, narrow)
        )
        assert before == after


@pytest.mark.parametrize(
    ("options", "window"),
    [({}, 4), ({"top_entropy_quantile": 0.5}, 1), ({"loss_type": "bnpo"}, 1)],
)
def test_rows_stay_in_a_batch_that_a_loss_looks_at_as_a_whole(inputs, context, options, window):
    """Tokens of the highest entropy are those of a batch: exchanged rows would change which."""
    import torch
    from trl.trainer.utils import split_tensor_dict

    from stages.training.machine.like_lengths import sort_rollout

    batches = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4}
    trainer, rows = built(inputs, context(), **batches, **options, num_iterations=2)
    trainer.current_gradient_accumulation_steps = 4
    wide = split_tensor_dict(trainer._generate_and_score_completions(rows), 4)
    narrow = sort_rollout(wide, 1 if trainer._needs_own_rows() else 4)
    stays = [sorted(map(tuple, texts(batch))) for batch in wide]
    assert (stays == [sorted(map(tuple, texts(batch))) for batch in narrow]) == (window == 1)
    loss, expected = gradients(trainer, wide)
    new_loss, new = gradients(trainer, narrow)
    assert new_loss == pytest.approx(loss, abs=1e-5)
    for one, other in zip(expected, new, strict=True):
        torch.testing.assert_close(other, one, atol=1e-5, rtol=1e-4)


def test_the_trainer_sorts_what_it_learns_from_and_scores_no_prompt(trainer_and_rows, monkeypatch):
    import torch
    from trl.trainer import utils

    trainer, rows = trainer_and_rows
    scored = []
    apply = utils._ChunkedLogProbFunction.apply
    monkeypatch.setattr(
        utils._ChunkedLogProbFunction,
        "apply",
        lambda hidden, *others: scored.append(len(hidden)) or apply(hidden, *others),
    )
    trainer._step = 0
    first = trainer._prepare_inputs(rows)
    assert first is trainer._buffered_inputs[0]
    lengths = [len(ids) for batch in trainer._buffered_inputs for ids in texts(batch)]
    assert lengths == sorted(lengths)
    scored.clear()
    trainer._compute_loss(trainer.model, first)
    assert scored == [first["completion_mask"].sum().item()]
    assert not utils._use_triton(torch.device("cpu"))  # other trainers of the process score all
    trainer._step = 1
    assert trainer._prepare_inputs(rows) is trainer._buffered_inputs[1]


def test_prompts_are_grouped_where_half_is_padding():
    from stages.training.machine.like_lengths import group_by_length

    assert group_by_length([5, 4, 5, 3]) == [[3, 1, 0, 2]]
    assert group_by_length([9, 1, 8, 1]) == [[1, 3, 2, 0]]
    assert group_by_length([9, 1, 2, 1]) == [[1, 3], [2, 0]]


def test_each_prompt_gets_its_own_completion(trainer_and_rows, monkeypatch):
    """The completion repeats its prompt's length, so that a row out of place would show."""
    from trl import GRPOTrainer

    trainer, _ = trainer_and_rows
    calls = []

    def answer(self, prompt_ids, *others):
        calls.append(len(prompt_ids))
        return [[len(ids)] for ids in prompt_ids], None

    monkeypatch.setattr(GRPOTrainer, "_generate_single_turn", answer)
    prompts = [[7] * length for length in (9, 1, 2, 1)]
    assert trainer._generate_single_turn(prompts, None, {}, 1) == ([[9], [1], [2], [1]], None)
    assert calls == [2, 2]


def test_where_padding_matters_nothing_is_cut_off(trainer_and_rows):
    """Values, in groups too, are those of one forward pass; batches stay as TRL splits them."""
    import torch

    trainer, rows = trainer_and_rows
    trainer.trims = False
    trainer._step = 0
    trainer._prepare_inputs(rows)
    for batch in trainer._buffered_inputs:
        ids, attention = whole(batch)
        assert ids.shape == whole(trainer._buffered_inputs[0])[0].shape
        width = batch["completion_ids"].size(1)
        with torch.no_grad():
            plain = trainer.value_models["reward"](ids, attention)[:, -width - 1 : -1]
            values = trainer.values_before_tokens("reward", batch, size=3)
        torch.testing.assert_close(values, plain, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_positions_that_padding_moves_are_noticed(dtype):
    import torch
    from transformers import GPT2Config, GPT2Model, LlamaConfig, LlamaModel, set_seed

    from stages.training.machine.like_lengths import ignores_padding

    set_seed(0)
    sizes = {"vocab_size": 16, "hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2}
    rotary = LlamaModel(LlamaConfig(**sizes, intermediate_size=16))
    assert ignores_padding(rotary.to(getattr(torch, dtype)))
    learnt = GPT2Model(GPT2Config(vocab_size=16, n_embd=16, n_head=2, n_layer=2))
    learnt = learnt.to(getattr(torch, dtype))
    assert not ignores_padding(learnt) and learnt.training
