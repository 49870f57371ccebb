"""What is learnt of a chat template when a model is opened, for the shapes that are in use."""

import pytest

from stages.generators.chat import (
    ChatOptions,
    TemplateRefusal,
    encode_chat,
    merge_system,
    render_chat,
)
from stages.generators.examination import examine_chat
from stages.generators.rendering import Renderer
from stages.guards.errors import UserError
from tests.chat_templates import SHAPES, build_tokenizer
from tests.embedded import ROOT

ASK = {"role": "user", "content": "Name a river."}
SAY = {"role": "assistant", "content": "The Elbe."}
RULE = {"role": "system", "content": "Be brief."}

# By shape: the token that ends a turn, whether the tokenizer's own end token is it, and what stands
# before an option.
CLOSED = "<think>\n\n</think>\n\n"
EXPECTED = {
    "chatml": ("<|im_end|>", True, ""),
    "llama3": ("<|eot_id|>", False, ""),
    "mistral": ("</s>", True, ""),
    "gemma": ("<end_of_turn>", False, ""),
    "zephyr": ("</s>", True, ""),
    "phi3": ("<|end|>", False, ""),
    "qwen3": ("<|im_end|>", True, CLOSED),
    "deepseek-r1": ("<|end_of_sentence|>", True, CLOSED),
    "channels": ("<|return|>", True, "<|channel|>final<|message|>"),
}


def stops_of(tokenizer):
    return {tokenizer.eos_token_id}


@pytest.mark.parametrize("name", SHAPES)
def test_the_end_of_a_turn_is_a_stop_token_of_every_shape(name):
    tokenizer = build_tokenizer(name)
    end, is_known, _ = EXPECTED[name]
    found = examine_chat(tokenizer, stops_of(tokenizer))
    token = tokenizer.convert_tokens_to_ids(end)
    assert found.end_token == token
    assert found.extra_stops == (() if is_known else (token,))
    assert any("no stop token" in line for line in found.warnings) is not is_known
    # Where the model's generation config names it, nothing is said.
    quiet = examine_chat(tokenizer, {*stops_of(tokenizer), token})
    assert not quiet.extra_stops and not any("no stop token" in line for line in quiet.warnings)


@pytest.mark.parametrize("name", SHAPES)
def test_an_option_stands_where_the_template_puts_an_answer(name):
    tokenizer = build_tokenizer(name)
    renderer = Renderer(tokenizer, 512, ChatOptions(), stops_of(tokenizer))
    question = tokenizer.decode(renderer.question([ASK]))
    opening = EXPECTED[name][2]
    assert question.endswith(opening) and question.count("<think>") == question.count("</think>")
    plain = tokenizer.decode(renderer.prompt([ASK]))
    if not opening:
        assert question == plain
    # The option is the token that follows, whatever stands before it.
    (token,) = renderer.option_ids(["A"])
    assert tokenizer.decode([token]) == "A"


def test_thoughts_stay_closed_before_an_option_where_the_user_wants_them_in_answers():
    tokenizer = build_tokenizer("qwen3")
    options = ChatOptions(template_arguments={"enable_thinking": True})
    renderer = Renderer(tokenizer, 512, options)
    assert tokenizer.decode(renderer.question([ASK])).endswith(f"assistant\n{CLOSED}")
    assert tokenizer.decode(renderer.prompt([ASK])).endswith("assistant\n")


def test_a_prefilled_opening_is_part_of_the_answer():
    tokenizer = build_tokenizer("deepseek-r1")
    renderer = Renderer(tokenizer, 512, ChatOptions())
    assert renderer.prefilled == "<think>\n"
    assert any("opens each answer with '<think>'" in line for line in renderer.chat.warnings)
    assert Renderer(build_tokenizer("chatml"), 512, ChatOptions()).prefilled == ""
    # A mark of the user's own, with words behind it.
    template = SHAPES["chatml"].template.replace("assistant\n' }}", "assistant\n[T]Well,' }}")
    other = build_tokenizer("chatml", template=template)
    marked = Renderer(other, 512, ChatOptions(thought_marks=[("[T]", "[/T]")]))
    assert marked.prefilled == "[T]Well,"
    assert other.decode(marked.question([ASK])).endswith("[T]Well,\n\n[/T]\n\n")


def test_marks_that_are_special_tokens_stay_in_the_text():
    tokenizer = build_tokenizer("channels")
    written = "<|channel|>analysis<|message|>hm<|end|><|channel|>final<|message|>42<|return|>"
    ids = tokenizer(written, add_special_tokens=False)["input_ids"]
    assert Renderer(tokenizer, 512, ChatOptions()).text(ids) == "analysishmfinal42"
    marks = [("<|channel|>analysis<|message|>", "<|channel|>final<|message|>")]
    renderer = Renderer(tokenizer, 512, ChatOptions(thought_marks=marks), stops_of(tokenizer))
    text = "<|channel|>analysis<|message|>hm<|channel|>final<|message|>42"
    assert renderer.text(ids) == text and renderer.marks_are_special


@pytest.mark.parametrize("name", ["chatml", "zephyr", "gemma", "deepseek-r1"])
def test_a_template_that_opens_no_answer_is_refused_with_what_to_add(name):
    head, _, _ = SHAPES[name].template.rpartition("{% if add_generation_prompt %}")
    tokenizer = build_tokenizer(name, template=head)
    with pytest.raises(UserError, match="add_generation_prompt") as caught:
        examine_chat(tokenizer, stops_of(tokenizer), where="/models/some")
    assert caught.value.where == "/models/some"
    # What the message says to add mends it.
    addition = caught.value.fix.partition("folder: ")[2]
    mended = build_tokenizer(name, template=head + addition)
    examine_chat(mended, stops_of(mended))
    opened = render_chat(mended, [ASK], lead_in=True)
    assert render_chat(mended, [ASK, SAY]).startswith(opened)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{% for m in messages %}{{ m.role }}{% endfor %}", "leaves out the user turn in silence"),
        ("{{ messages[0].content }}", "leaves out the assistant turn in silence"),
        ("{{ messages[0].content + 3 }}", "cannot write a request"),
        ("{{ raise_exception('never') }}", "cannot write a request and its answer: never"),
    ],
)
def test_a_template_that_cannot_work_at_all_is_refused(template, words):
    tokenizer = build_tokenizer("chatml", template=template)
    with pytest.raises(UserError, match=words):
        examine_chat(tokenizer, stops_of(tokenizer))


def test_what_is_unusual_about_the_first_token_is_said():
    def lines(name, **arguments):
        tokenizer = build_tokenizer(name, **arguments)
        return " ".join(examine_chat(tokenizer, stops_of(tokenizer)).warnings)

    assert "the tokenizer would add another: Credo reads one" in lines("llama3")
    assert "the chat template does not" in lines("zephyr")  # that shape writes none
    doubled = "{{ bos_token }}" + SHAPES["llama3"].template
    assert "with two '<|begin_of_text|>'" in lines("llama3", template=doubled)
    assert "begin" not in lines("llama3", bos=False) and "begin" not in lines("chatml")
    tokenizer = build_tokenizer("llama3")
    ids = encode_chat(tokenizer, [ASK], lead_in=True)
    assert ids.count(tokenizer.bos_token_id) == 1
    assert ids == tokenizer.apply_chat_template(
        [ASK], add_generation_prompt=True, return_dict=False
    )


def test_a_model_without_a_template_or_an_end_of_turn():
    bare = build_tokenizer("chatml", template="")
    (line,) = examine_chat(bare, stops_of(bare)).warnings
    assert "no chat template" in line and "transcript" in line
    text = "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}"
    text += "{% if add_generation_prompt %}assistant: {% endif %}"
    plain = build_tokenizer("chatml", template=text)
    found = examine_chat(plain, stops_of(plain))
    assert found.end_token is None and "no token of its own" in found.warnings[0]


def test_a_mark_behind_other_words_is_no_safe_stop():
    template = SHAPES["chatml"].template.replace("'<|im_end|>\n'", "' over<|im_end|>\n'")
    tokenizer = build_tokenizer("chatml", template=template, eos="<|im_start|>")
    found = examine_chat(tokenizer, stops_of(tokenizer))
    assert not found.extra_stops and any("may run on" in line for line in found.warnings)


def test_warnings_are_shown_once(capsys):
    tokenizer = build_tokenizer("gemma")
    for _ in range(3):
        Renderer(tokenizer, 512, ChatOptions(), stops_of(tokenizer), "/models/gemma-once")
    shown = capsys.readouterr().err
    assert shown.count("<end_of_turn>") == 1 and "/models/gemma-once" in shown


@pytest.mark.parametrize(
    ("name", "turns", "roles", "words"),
    [
        ("gemma", [RULE, ASK], "system, user", "no system role"),
        ("mistral", [ASK, ASK, SAY], "user, user, assistant", "take turns"),
        ("mistral", [ASK, SAY, SAY], "user, assistant, assistant", "take turns"),
        ("gemma", [SAY, ASK], "assistant, user", "take turns"),
        ("gemma", [ASK, SAY] * 4 + [SAY], "user, assistant, user, assistant, user, assistant, ...",
         "take turns"),
    ],
)  # fmt: skip
def test_refused_turns_are_a_rows_failure(name, turns, roles, words):
    with pytest.raises(TemplateRefusal) as caught:
        encode_chat(build_tokenizer(name), turns, lead_in=True)
    assert caught.value.reason == f"the model's chat template refuses its turns ({roles})"
    assert words in caught.value.detail
    assert ("merge_system" in caught.value.detail) is (turns[0] is RULE)


def test_a_template_that_ignores_the_system_turn_refuses_it():
    silent = "{% for m in messages if m.role != 'system' %}{{ '<|im_start|>' + m.role + '\n' "
    silent += "+ m.content + '<|im_end|>\n' }}{% endfor %}"
    silent += "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    tokenizer = build_tokenizer("chatml", template=silent)
    with pytest.raises(TemplateRefusal, match="leaves out the system turn in silence"):
        render_chat(tokenizer, [RULE, ASK])
    merged = ChatOptions(merge_system=True).variables()
    assert "Be brief.\n\nName a river." in render_chat(tokenizer, [RULE, ASK], merged)


def test_system_turns_are_merged_into_the_user_turn_that_follows():
    both = {"role": "user", "content": "Be brief.\n\nName a river."}
    rule = {"role": "user", "content": "Be brief."}
    after = {"role": "user", "content": "Name a river.\n\nBe brief."}
    assert merge_system([RULE, ASK]) == [both]
    assert merge_system([RULE, ASK, SAY, RULE, ASK]) == [both, SAY, both]
    assert merge_system([RULE, SAY, ASK]) == [rule, SAY, ASK]
    assert merge_system([ASK, RULE, SAY]) == [after, SAY]
    assert merge_system([ASK, RULE]) == [after]
    assert (
        merge_system([RULE, RULE, ASK])[0]["content"] == "Be brief.\n\nBe brief.\n\nName a river."
    )
    assert merge_system([ASK, SAY]) == [ASK, SAY]
    gemma = build_tokenizer("gemma")
    merged = ChatOptions(merge_system=True).variables()
    assert render_chat(gemma, [RULE, ASK], merged) == render_chat(gemma, [both])


def test_merge_system_is_not_a_variable_of_the_template():
    template = "{{ merge_system is defined }}" + SHAPES["chatml"].template
    tokenizer = build_tokenizer("chatml", template=template)
    merged = ChatOptions(merge_system=True).variables()
    assert render_chat(tokenizer, [ASK], merged).startswith("False")
    with pytest.raises(UserError, match="merge_system cannot be set"):
        ChatOptions(template_arguments={"merge_system": True}).variables()


OPENING = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
TURN = "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
EACH = "{% for m in messages %}" + TURN + "{% endfor %}"
FIRST_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}"
    "{% for m in messages if m.role in ['user', 'assistant'] %}" + TURN + "{% endfor %}"
)


@pytest.mark.parametrize(
    ("roles", "lost"),
    [
        (["system", "user"], ""),
        (["user", "assistant", "system", "user"], "system"),
        (["system", "system", "user"], "system"),
        (["user", "assistant", "tool", "user"], "tool"),
    ],
)
def test_a_turn_that_is_left_out_in_silence_wherever_it_stands(roles, lost):
    tokenizer = build_tokenizer("chatml", template=FIRST_SYSTEM + OPENING)
    turns = [{"role": role, "content": f"word {role}"} for role in roles]
    if not lost:
        assert "word system" in render_chat(tokenizer, turns)
        return
    with pytest.raises(TemplateRefusal, match=f"leaves out the {lost} turn in silence"):
        render_chat(tokenizer, turns)


def test_a_long_conversation_may_be_cut_at_its_beginning():
    encoder = (ROOT / "stages/training/reward_models/encoder_chat.jinja").read_text()
    tokenizer = build_tokenizer("chatml", template=encoder)
    long = [ASK, SAY] * 20
    assert render_chat(tokenizer, [*long, ASK, SAY]).count(ASK["content"]) < 20
    only_last = "{{ messages[-1].content }}"
    tokenizer = build_tokenizer("chatml", template=only_last)
    with pytest.raises(TemplateRefusal, match="leaves out the user turn in silence"):
        render_chat(tokenizer, [ASK, SAY, ASK])


@pytest.mark.parametrize(
    "trouble",
    ["{{ 1 / 0 }}", "{{ 10.0 ** 400 }}", "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
     "{% for i in range(10 ** 9) %}{% endfor %}", "{{ messages[9].content }}"],
)  # fmt: skip
def test_whatever_a_template_raises_is_a_rows_failure(trouble):
    only_long = "{% if messages | length > 2 %}" + trouble + "{% endif %}"
    tokenizer = build_tokenizer("chatml", template=only_long + EACH + OPENING)
    examine_chat(tokenizer, stops_of(tokenizer))
    with pytest.raises(TemplateRefusal):
        render_chat(tokenizer, [ASK, SAY, ASK])
    always = build_tokenizer("chatml", template=trouble + EACH + OPENING)
    with pytest.raises(UserError, match="cannot write a request"):
        examine_chat(always, stops_of(always))


def test_a_lead_in_that_opens_a_turn_of_the_user_is_refused():
    wrong = EACH + OPENING.replace("assistant", "user")
    tokenizer = build_tokenizer("chatml", template=wrong)
    with pytest.raises(UserError, match="opens a turn of the user") as caught:
        examine_chat(tokenizer, stops_of(tokenizer), where="/models/some")
    assert "assistant" in caught.value.fix and caught.value.where == "/models/some"


def test_a_template_that_writes_the_date_is_said_unless_the_date_is_set():
    dated = "{{ date_string if date_string is defined else strftime_now('%d %b %Y') }}"
    tokenizer = build_tokenizer("chatml", template=dated + EACH + OPENING)
    (warning,) = examine_chat(tokenizer, stops_of(tokenizer)).warnings
    assert "today's date" in warning and "template_arguments" in warning
    fixed = {"date_string": "26 Jul 2024"}
    assert not examine_chat(tokenizer, stops_of(tokenizer), fixed).warnings
