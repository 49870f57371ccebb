"""What trainings do about a chat template that refuses rows, and about libraries' warnings."""

import json
import logging
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from stages.guards.errors import UserError
from stages.runtime.artifacts import Result, finish_artifact
from stages.runtime.calls import Engines
from stages.runtime.rows import Prompt
from stages.training.examples import drop_cut_thoughts
from stages.training.likelihood import answer_logps
from stages.training.model_files import load_tokenizer
from stages.training.offline import chain_of_hindsight, dpo, kto, ranking, sft
from stages.training.online.trl_stages import GRPO
from stages.training.reward_models import reward_model, score
from stages.training.session import model_session
from tests.chat_templates import NO_SYSTEM, build_tokenizer
from tests.tiny_model import TEMPLATE
from tests.training.conftest import pair, response
from tests.training.offline.test_groups import rating

STRICT = (
    NO_SYSTEM + "{% for m in messages[1:] %}{% if m.role == messages[loop.index0].role %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}{% endfor %}" + TEMPLATE
)
ARGS = {"per_device_train_batch_size": 2, "max_steps": 1, "learning_rate": 1e-3}
TWICE = [{"role": "user", "content": "how do I"}, {"role": "user", "content": "help"}]
RULED = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "how do I help"}]
REFUSED = "the model's chat template refuses its turns"


@pytest.fixture
def strict(tiny, tmp_path):
    """The tiny model with a template that knows no system turn and wants turns to alternate."""

    def make(name="strict", template=STRICT):
        path = tmp_path / f"{name}-model"
        shutil.copytree(tiny, path)
        (path / "chat_template.jinja").write_text(template)
        folder = tmp_path / name
        folder.mkdir()
        result = Result(metrics={"model_path": str(path), "revision": None})
        return finish_artifact(folder, name, {}, result, {})

    return make


def pairs_of(prompts):
    rows = [pair(i, f"a kind answer {i}", f"harm {i}") for i in range(8)]
    odd = [replace(pair(20 + i, "kind", "harm"), prompt=p) for i, p in enumerate(prompts)]
    return [*rows, *odd]


def trained(stage, options, inputs, here):
    return stage.STAGE.run(stage.STAGE.config(**options), inputs, here)


OFFLINE = {
    "dpo": (dpo, {"args": ARGS, "eval_fraction": 0.0}, 1),
    "held-out": (dpo, {"args": ARGS, "eval_fraction": 0.4}, 1),
    "sft": (sft, {"args": ARGS}, 1),
    "kto": (kto, {"args": ARGS, "eval_fraction": 0.0}, 2),
    "reward": (reward_model, {"args": ARGS, "eval_fraction": 0.2}, 1),
    "hindsight": (chain_of_hindsight, {"args": ARGS, "eval_fraction": 0.0}, 2),
}


@pytest.mark.parametrize("name", OFFLINE)
def test_rows_that_the_template_refuses_are_dropped_and_counted(name, strict, artifact, context):
    stage, options, each = OFFLINE[name]
    inputs = {"model": strict(), "pairs": artifact("pairs", pairs_of([TWICE, RULED]))}
    result = trained(stage, options, inputs, context())
    reasons = [row.reason for row in result.dropped]
    turns = "user, user, assistant"
    if name == "hindsight":
        turns = "user, user, assistant, user, assistant"
    assert reasons.count(f"{REFUSED} ({turns})") == each
    assert reasons.count(f"{REFUSED} ({turns.replace('user', 'system', 1)})") == each
    assert len(reasons) == 2 * each
    details = {row.detail for row in result.dropped}
    assert "Roles must alternate" in details
    assert any("no system role; model.merge_system=true" in detail for detail in details)


def test_held_out_chains_and_groups_are_read_too(strict, artifact, context):
    odd = []
    for number in range(6):
        prompt = [*TWICE, {"role": "user", "content": f"number {number}"}]
        odd.append(replace(pair(20 + number, f"kind {number}", "harm"), prompt=prompt))
    inputs = {"model": strict(), "pairs": artifact("pairs", [*pairs_of([]), *odd])}
    options = {"args": ARGS, "eval_fraction": 0.5}
    result = trained(chain_of_hindsight, options, inputs, context())
    held = [row for row in result.dropped if " " not in row.id]  # chains have longer ids
    assert held and all(row.reason.startswith(REFUSED) for row in held)
    ratings = [rating(i // 2, i % 2, f"answer {i}", float(i)) for i in range(8)]
    for place in range(2):
        ratings.append(replace(rating(9, place, f"odd {place}", float(place)), prompt=TWICE))
    groups = {"model": inputs["model"], "ratings": artifact("ratings", ratings)}
    options = {"args": ARGS, "loss": "rrhf", "eval_fraction": 0.2}
    ranked = trained(ranking, options, groups, context("ranked"))
    assert sum(row.reason.startswith(REFUSED) for row in ranked.dropped) == 2


def test_online_prompts_are_dropped_and_counted(strict, artifact, context):
    prompts = [
        Prompt(id=f"p{i}", messages=[{"role": "user", "content": f"help {i}"}], kind="k")
        for i in range(4)
    ]
    prompts.append(Prompt(id="twice", messages=TWICE, kind="k"))
    inputs = {"model": strict(), "prompts": artifact("prompts", prompts)}
    args = {**ARGS, "per_device_train_batch_size": 4, "num_generations": 2}
    args |= {"max_completion_length": 4}
    letters = {"a": {"term": "python", "function": "tests.training.rewarding:early_letters"}}
    result = GRPO.run(GRPO.config(rewards=letters, args=args), inputs, context())
    assert [(row.id, row.reason) for row in result.dropped] == [
        ("twice", f"{REFUSED} (user, user)")
    ]
    only = {**inputs, "prompts": artifact("only", prompts[-1:])}
    with pytest.raises(UserError, match=r"refuses its turns \(user, user\).*Roles must alternate"):
        GRPO.run(GRPO.config(rewards=letters, args=args), only, context("none"))


def test_where_all_rows_are_refused_the_message_names_one_and_the_option(strict, artifact, context):
    rows = [replace(pair(i, f"kind {i}", "harm"), prompt=RULED) for i in range(3)]
    inputs = {"model": strict(), "pairs": artifact("pairs", rows)}
    for stage in (dpo, reward_model):
        with pytest.raises(UserError, match="all 3 were refused") as caught:
            trained(stage, {"args": ARGS}, inputs, context(stage.__name__))
        assert "row q0" in caught.value.where
        assert "model.merge_system=true" in caught.value.what


@pytest.mark.parametrize("name", ["dpo", "sft", "reward", "hindsight"])
def test_merged_rows_are_trained_on_as_they_are_generated(name, strict, artifact, context):
    """The same weights as from rows that hold the merged turn."""
    from safetensors.torch import load_file

    stage, options, _ = OFFLINE[name]
    both = [{"role": "user", "content": "be kind\n\nhow do I help"}]
    model = strict()
    weights = []
    for number, (prompt, merge) in enumerate([(RULED, True), (both, False)]):
        here = context(f"run{number}")
        here.engines = Engines("none", {"merge_system": True} if merge else {})
        rows = [replace(pair(i, f"kind {i}", f"harm {i}"), prompt=prompt) for i in range(4)]
        inputs = {"model": model, "pairs": artifact(f"pairs{number}", rows)}
        result = trained(
            stage, options | ({"eval_fraction": 0.0} if name == "reward" else {}), inputs, here
        )
        assert not result.dropped
        weights.append(load_file(here.directory / "model" / "model.safetensors"))
    assert all(weights[0][key].equal(weights[1][key]) for key in weights[0])


def test_scores_and_log_probabilities_of_refused_rows_are_missing(
    strict, artifact, context, tmp_path
):
    base = strict()
    rows = [pair(i, f"kind {i}", f"harm {i}") for i in range(4)]
    inputs = {"model": base, "pairs": artifact("pairs", rows)}
    trained(reward_model, {"args": ARGS, "eval_fraction": 0.0}, inputs, context("rm"))
    folder = tmp_path / "scorer"
    folder.mkdir()
    facts = Result(metrics={"model_path": str(tmp_path / "rm" / "model"), "revision": None})
    scorer = finish_artifact(folder, "scorer", {}, facts, {})
    answers = [response(0, "kind"), replace(response(1, "kind"), prompt=TWICE)]
    given = {"model": scorer, "answers": artifact("answers", answers)}
    result = score.run(score.Config(), given, context("score"))
    assert [row.response_id for row in result.rows] == ["r0"]
    (lost,) = result.dropped
    assert (
        lost.reason == f"{REFUSED} (user, user, assistant)"
        and lost.detail == "Roles must alternate"
    )
    again = score.run(score.Config(), given, context("again"))  # from the store
    assert again.dropped == result.dropped
    long = {**given, "answers": artifact("long", [response(2, "kind " * 600)])}
    (cut,) = score.run(score.Config(), long, context("long")).dropped
    assert cut.reason == "longer than the reward model's context"
    model = base.model()
    logps = answer_logps(model, [(TWICE, "kind"), ([TWICE[1]], "kind")])
    assert logps[0] is None and logps[1] < 0


def test_the_end_of_a_turn_becomes_a_stop_token_of_the_trained_model(strict, artifact, context):
    """Training learns the template's end of turn; whoever samples the policy stops there."""
    base = strict("eos", TEMPLATE)
    path = Path(base.model().path)
    for name in ("config.json", "generation_config.json"):
        settings = json.loads((path / name).read_text())
        (path / name).write_text(json.dumps(settings | {"eos_token_id": 0}))
    tokenizer = json.loads((path / "tokenizer_config.json").read_text())
    (path / "tokenizer_config.json").write_text(json.dumps(tokenizer | {"eos_token": "<pad>"}))
    here = context()
    inputs = {"model": base, "answers": artifact("answers", [response(0, "kind")])}
    result = trained(sft, {"args": ARGS}, inputs, here)
    saved = json.loads((here.directory / "model" / "generation_config.json").read_text())
    assert sorted(saved["eos_token_id"]) == [0, 2]  # <pad> and <|im_end|>
    (line,) = [text for text in result.metrics["warnings"] if "no stop token" in text]
    assert "<|im_end|>" in line and result.metrics["warnings"][line] == 1


def test_a_template_that_opens_no_answer_is_refused_in_training(strict, artifact, context):
    closed = TEMPLATE.partition("{% if add_generation_prompt %}")[0]
    inputs = {"model": strict("closed", closed), "pairs": artifact("pairs", pairs_of([]))}
    with pytest.raises(UserError, match="add_generation_prompt"):
        trained(dpo, {"args": ARGS}, inputs, context())
    # A reward model reads whole conversations, and needs no opening.
    trained(reward_model, {"args": ARGS, "eval_fraction": 0.0}, inputs, context("rm"))


def test_lengths_are_those_of_the_template_that_is_trained_on(strict, artifact, context, tmp_path):
    wordy = tmp_path / "wordy.jinja"
    wordy.write_text("{{ 'the cat ' * 50 }}" + TEMPLATE)
    args = {**ARGS, "max_length": 60, "chat_template_path": str(wordy)}
    inputs = {
        "model": strict("plain", TEMPLATE),
        "answers": artifact("answers", [response(0, "kind")]),
    }
    with pytest.raises(UserError, match="longer than max_length"):
        trained(sft, {"args": args}, inputs, context())
    assert load_tokenizer(inputs["model"].model(), args).chat_template == wordy.read_text()
    with pytest.raises(UserError, match=r"no\.jinja: no such template"):
        load_tokenizer(inputs["model"].model(), {"chat_template_path": str(tmp_path / "no.jinja")})


def test_a_tokenizer_that_cannot_pad_is_refused_or_pads_with_its_end(strict, artifact, context):
    base = strict("unpadded", TEMPLATE)
    path = Path(base.model().path) / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps(settings | {"pad_token": None}))
    inputs = {"model": base, "answers": artifact("answers", [response(0, "kind")])}
    result = trained(sft, {"args": ARGS}, inputs, context())
    assert any("no pad token" in text for text in result.metrics["warnings"])
    path.write_text(json.dumps(settings | {"pad_token": None, "eos_token": None}))
    with pytest.raises(UserError, match="neither a pad token nor an end token"):
        load_tokenizer(base.model(), {})


def test_warnings_of_libraries_are_printed_once_and_counted(context, capsys):
    from stages.guards.console import open_console

    here = context("warned")
    here.console = open_console(stderr=True)
    trl = logging.getLogger("trl.trainer.sft_trainer")
    before = (logging.getLogger("trl").level, list(logging.getLogger("trl").handlers))
    with model_session(here) as log:
        for row in range(3):
            trl.warning("Mismatch between tokenized prompt and the start of row %d", row)
        logging.getLogger("transformers.trainer").warning("special tokens were updated")
        trl.info("nothing to worry about")
        warnings.warn("a row was truncated", UserWarning, stacklevel=1)
        warnings.warn("use another name", DeprecationWarning, stacklevel=1)
        assert not logging.getLogger("trl").propagate
    assert log.counts == {
        "Mismatch between tokenized prompt and the start of row 0": 3,
        "special tokens were updated": 1,
        "a row was truncated": 1,
    }
    shown = capsys.readouterr().err
    assert shown.count("Mismatch") == 1 and "warned: warning: a row was truncated" in shown
    assert "another name" not in shown and "worry" not in shown
    assert (logging.getLogger("trl").level, list(logging.getLogger("trl").handlers)) == before


def test_trls_own_warning_about_prefixes_reaches_the_metrics(strict, artifact, context):
    """A template that opens thoughts in the prompt only: TRL learns answers without them."""
    thinking = TEMPLATE.replace(
        "<|im_start|>assistant\n{% endif %}", "<|im_start|>assistant\n<think>\n{% endif %}"
    )
    assert thinking != TEMPLATE
    inputs = {
        "model": strict("thinking", thinking),
        "answers": artifact("answers", [response(0, "kind")]),
    }
    result = trained(sft, {"args": ARGS}, inputs, context())
    texts = " ".join(result.metrics["warnings"])
    assert "is not a prefix of the tokenized prompt+completion" in texts
    assert "opens each answer with '<think>'" in texts
    plain = {**inputs, "model": strict("quiet", TEMPLATE)}
    assert "warnings" not in trained(sft, {"args": ARGS}, plain, context("quiet-run")).metrics


def test_a_template_that_cuts_thoughts_costs_their_rows_and_not_in_silence():
    """What `with_thoughts` joins must reach the training, or be dropped and counted."""
    thinking = "<think>\nwhy\n</think>\n\nyes"
    examples = [
        {"id": name, "prompt": [], "completion": [{"role": "assistant", "content": text}]}
        for name, text in (("thinking", thinking), ("plain", "yes"))
    ]
    for shape, kept in (
        ("qwen3", ["plain"]),
        ("deepseek-r1", ["plain"]),
        ("zephyr", ["thinking", "plain"]),
    ):
        whole, dropped = drop_cut_thoughts(examples, build_tokenizer(shape), {}, ["</think>"])
        assert [example["id"] for example in whole] == kept
        reasons = [(row.id, row.reason) for row in dropped]
        lost = [("thinking", "the model's chat template leaves out thoughts")]
        assert reasons == (lost if len(kept) == 1 else [])
