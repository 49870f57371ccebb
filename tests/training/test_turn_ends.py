"""What a chat template writes after the end of a turn is neither learnt nor counted: by hand, with
templates of the shapes that are in use.
"""

import copy
import pickle
from dataclasses import replace

import pytest
from transformers import AutoTokenizer

from stages.generators.chat import encode_chat
from stages.runtime.models import find_model
from stages.training.likelihood import answer_logps
from stages.training.offline import dpo, kto, ranking, sft
from stages.training.offline.groups import into_groups, read_ratings
from stages.training.pair_data import read_pairs
from stages.training.reward_models import reward_model
from stages.training.reward_models.reward_examples import prepare_pairs
from stages.training.reward_models.scorer import Scorer
from stages.training.spans import IGNORED, learnt_tokens
from stages.training.turn_ends import cut_after_turns
from tests.tiny_model import TEMPLATE, build_tiny_model
from tests.training.conftest import pair, response
from tests.training.offline.test_groups import rating
from tests.training.small_reward_models import reward_model as small_reward_model

ASK = [{"role": "user", "content": "a question"}]
SAY = [{"role": "assistant", "content": "kind"}]
LEAD = "<|im_start|>user\na question<|im_end|>\n<|im_start|>assistant\n"
PHI = TEMPLATE + "{% if not add_generation_prompt %}<pad>{% endif %}"
BARE = TEMPLATE.replace("<|im_end|>\n", "<|im_end|>")
BLANKS = TEMPLATE.replace("<|im_end|>\n", "<|im_end|>\n\n \n")
PLAIN_TEXT = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
GENERATION = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content }}<|im_end|>\n{% endgeneration %}{% else %}"
    "{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer_of(folder, template=TEMPLATE):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = template
    return tokenizer


def ids_of(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize(
    "template, text",
    [
        (TEMPLATE, LEAD + "kind<|im_end|>"),
        (PHI, LEAD + "kind<|im_end|>"),
        (BLANKS, LEAD.replace("<|im_end|>\n", "<|im_end|>\n\n \n") + "kind<|im_end|>"),
        (BARE, LEAD.replace("<|im_end|>\n", "<|im_end|>") + "kind<|im_end|>"),
        # no token ends a turn, so the whole text stays
        (PLAIN_TEXT, "user: a question\nassistant: kind\n"),
    ],
)
def test_a_conversation_ends_with_the_end_of_its_last_turn(tiny, template, text):
    plain = tokenizer_of(tiny, template)
    lead = plain.apply_chat_template(ASK, add_generation_prompt=True, return_dict=False)
    whole = plain.apply_chat_template(ASK + SAY, return_dict=False)
    tokenizer = cut_after_turns(tokenizer_of(tiny, template))
    apply = tokenizer.apply_chat_template
    assert apply(ASK + SAY, return_dict=False) == ids_of(plain, text)
    assert apply(ASK + SAY, tokenize=False) == text
    both = apply(ASK + SAY, return_dict=True)
    assert both["input_ids"] == ids_of(plain, text)
    assert both["attention_mask"] == [1] * len(both["input_ids"])
    # what a model answers to is as it was
    assert apply(ASK, add_generation_prompt=True, return_dict=False) == lead
    assert apply(ASK, return_dict=False) == plain.apply_chat_template(ASK, return_dict=False)
    assert len(whole) >= len(ids_of(plain, text))
    assert encode_chat(tokenizer, ASK + SAY) == ids_of(plain, text)


def test_an_answer_may_hold_the_marks_of_the_template_and_end_in_blanks(tiny):
    tokenizer = cut_after_turns(tokenizer_of(tiny))
    for answer in ("a<|im_end|>\nb", "kind\n", "§§", "", "<|im_end|>\n"):
        turn = [{"role": "assistant", "content": answer}]
        ids = tokenizer.apply_chat_template(ASK + turn, return_dict=False)
        assert ids == ids_of(tokenizer, LEAD + answer + "<|im_end|>")


def test_the_variables_of_a_template_decide_what_follows_a_turn(tiny):
    template = TEMPLATE + "{% if tail is defined %}<pad>{{ tail }}{% endif %}"
    tokenizer = cut_after_turns(tokenizer_of(tiny, template))
    expected = ids_of(tokenizer, LEAD + "kind<|im_end|>")
    for variables in ({}, {"tail": "safe"}, {"tail": "the dog"}, {}):
        assert tokenizer.apply_chat_template(ASK + SAY, return_dict=False, **variables) == expected
    tokenizer.chat_template = BARE  # as when a trainer takes over another one
    assert tokenizer.apply_chat_template(ASK + SAY, tokenize=False).endswith("kind<|im_end|>")


def test_the_tokenizer_is_copied_sent_to_processes_and_saved_as_before(tiny, tmp_path):
    tokenizer = cut_after_turns(tokenizer_of(tiny))
    expected = tokenizer.apply_chat_template(ASK + SAY, return_dict=False)
    for other in (copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):
        assert other.apply_chat_template(ASK + SAY, return_dict=False) == expected
    tokenizer.save_pretrained(tmp_path / "saved")
    again = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert type(again) is type(tokenizer) and again.chat_template == TEMPLATE
    assert again.apply_chat_template(ASK + SAY, return_dict=False) == ids_of(
        again, LEAD + "kind<|im_end|>\n"
    )


def test_the_embedded_models_texts_are_what_they_were():
    plain = AutoTokenizer.from_pretrained("stages/world/checkpoint")
    cut = cut_after_turns(AutoTokenizer.from_pretrained("stages/world/checkpoint"))
    texts = [one.apply_chat_template(ASK + SAY + ASK + SAY, tokenize=False) for one in (plain, cut)]
    assert texts[0] == texts[1] and texts[0].endswith("<|end|>")


def test_between_turns_the_newline_stays_and_is_not_learnt(tiny):
    tokenizer = tokenizer_of(tiny)
    ids, labels = learnt_tokens(tokenizer, ASK, [*SAY, *ASK, *SAY])
    assert ids == ids_of(tokenizer, LEAD + "kind<|im_end|>\n" + LEAD + "kind<|im_end|>")
    learnt = [label for label in labels if label != IGNORED]
    assert learnt == 2 * ids_of(tokenizer, "kind<|im_end|>")


def logps_by_hand(folder, answer):
    """log pi of each token of the answer and of its end, by the plain forward pass."""
    import torch
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    lead, said = ids_of(tokenizer, LEAD), ids_of(tokenizer, f"{answer}<|im_end|>")
    with torch.no_grad():
        scores = network(input_ids=torch.tensor([lead + said])).logits[0].log_softmax(-1)
    return [scores[len(lead) + i - 1, token].item() for i, token in enumerate(said)]


def test_the_log_probability_of_one_word_is_that_of_the_word_and_its_end(
    tiny, artifact, context, monkeypatch
):
    """Also normalised by length, as RRHF and Stable Alignment compare answers."""
    import torch

    answers = ["kind", "the dog asks how do I build a safe cat"]
    by_hand = [logps_by_hand(tiny, answer) for answer in answers]
    assert len(by_hand[0]) == 2, "one word and the end"
    found = answer_logps(find_model(str(tiny)), [(ASK, answer) for answer in answers])
    assert found == pytest.approx([sum(logps) for logps in by_hand], abs=1e-4)

    rows = [rating(0, place, text, 2.0 - place) for place, text in enumerate(answers)]
    rows = [replace(row, prompt=ASK) for row in rows]
    inputs = {"model": artifact("base"), "ratings": artifact("ratings", rows)}
    groups, _ = into_groups(read_ratings(inputs)[0], 0, "here")
    for loss in ("rrhf", "stable_alignment"):
        config = ranking.Config(loss=loss, args={"max_length": 96}, eval_fraction=0)
        trainer = ranking.build_trainer(config, inputs["model"].model(), groups, context(loss))
        seen: list = []

        def note(*group, seen=seen):
            seen.append(group)
            return group[0].sum()

        monkeypatch.setattr(trainer, "group_loss", note)
        with torch.no_grad():
            trainer.compute_loss(trainer.model, trainer.data_collator([trainer.train_dataset[0]]))
        sums, lengths, _ = seen[0]
        assert lengths.tolist() == [len(logps) for logps in by_hand]
        means = [sum(logps) / len(logps) for logps in by_hand]
        assert (sums / lengths).tolist() == pytest.approx(means, abs=1e-4)


def test_every_trainer_of_trl_learns_the_answer_and_its_end_alone(tiny, artifact, context):
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    kind, harm = (ids_of(tokenizer, f"{text}<|im_end|>") for text in ("kind", "harm the dog"))
    base = artifact("base").model()
    args = {"max_length": 96, "per_device_train_batch_size": 2}
    pairs = {"pairs": artifact("pairs", [pair(i, "kind", "harm the dog") for i in range(2)])}
    preferences, _ = read_pairs(pairs["pairs"])
    row = build(dpo, dpo.Config(args=args, eval_fraction=0), base, preferences, context("dpo"))
    assert (row["chosen_ids"], row["rejected_ids"]) == (kind, harm)
    labelled, _ = kto.read_examples(pairs, None)
    trainer = kto.build_trainer(
        kto.Config(args=args, eval_fraction=0), base, labelled, context("kto")
    )
    for row in trainer.train_dataset:
        assert row["completion_ids"] == (kind if row["label"] else harm)


def build(stage, config, base, examples, context):
    return stage.build_trainer(config, base, examples, context).train_dataset[0]


@pytest.mark.parametrize("only_assistant", [False, True])
def test_supervised_tuning_does_not_learn_the_newline(tmp_path, artifact, context, only_assistant):
    folder = build_tiny_model(tmp_path / "marked")
    tokenizer = tokenizer_of(folder, GENERATION if only_assistant else PHI)
    tokenizer.save_pretrained(folder)
    base = find_model(str(folder))
    inputs = {"answers": artifact("answers", [response(0, "kind", "a question")])}
    examples, _ = sft.read_examples(inputs, "all")
    args = {"max_length": 96, "assistant_only_loss": only_assistant, "dataset_num_proc": 1}
    row = build(sft, sft.Config(args=args), base, examples, context())
    learnt = [label for label in row["labels"] if label != IGNORED]
    assert learnt == ids_of(tokenizer, "kind<|im_end|>")
    assert row["input_ids"] == ids_of(tokenizer, LEAD + "kind<|im_end|>")


def test_a_reward_model_reads_the_templates_whole_text_as_other_tools_do(artifact, context):
    """A scalar is read once, at the end, so nothing there is learnt or counted."""
    rows = [pair(i, "kind", "harm the dog", request="a question") for i in range(1)]
    inputs = {"model": artifact("base"), "pairs": artifact("pairs", rows)}
    config = reward_model.Config(args={"max_length": 96}, eval_fraction=0)
    examples, _, _ = reward_model.read(config, inputs)
    base = inputs["model"].model()
    fitting, _ = prepare_pairs(examples, reward_model.layout_of(config), base, config, context())
    trainer = reward_model.build_trainer(config, base, fitting, context())
    row = trainer.train_dataset[0]
    texts = [f"{LEAD}{answer}<|im_end|>\n" for answer in ("kind", "harm the dog")]
    expected = [ids_of(AutoTokenizer.from_pretrained(base.path), text) for text in texts]
    assert [row["chosen_ids"], row["rejected_ids"]] == expected
    assert fitting[0]["length"] == len(expected[1])


def test_a_scorer_reads_what_the_reward_model_was_trained_on(tiny, tmp_path):
    model = small_reward_model(tiny, tmp_path / "rm", principles=False)
    text = LEAD + "kind<|im_end|>\n"
    expected = ids_of(AutoTokenizer.from_pretrained(tiny), text)
    assert Scorer(model).encode([(ASK, "kind", ())]) == [tuple(expected)]
