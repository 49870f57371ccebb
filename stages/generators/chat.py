"""Chat templates: the one place that turns a conversation into what a model reads.

Generators, trainings and reward models all come here, so the same option acts alike in each. A
template that refuses a conversation is one row's trouble: the row is dropped and counted.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from stages.guards.errors import UserError
from stages.guards.sandbox import BoundedEnvironment
from stages.runtime.generation import RowFailure
from stages.runtime.rows import Message

MERGE = "merge_system"
"""The variable that asks for `merge_system`; it never reaches a template."""
RESERVED = {"conversation", "tokenize", "add_generation_prompt", MERGE}
"""Variables that a user cannot set."""
ROLES_SHOWN = 6
SHORT = 8
"""Turns of a conversation that no template cuts at its beginning."""
TURN_MARK = "holds a mark of turns"
"""Why a row is dropped whose text would be read as turns that nobody wrote."""
_PROBE = "Credo0probe"
"""A turn's words that no template contains."""
MERGE_ADVICE = "model.merge_system=true puts the system turn into the first user turn"


@dataclass(frozen=True)
class ChatOptions:
    """How conversations are put to a model; every generator has these options."""

    template_arguments: dict[str, Any] = field(default_factory=dict)
    """Variables for the chat template, such as `enable_thinking: false`."""
    merge_system: bool = False
    """Put a system turn into the user turn that follows it, for templates that know no system role.

    It holds for generation, training and reward models.
    """
    thought_marks: list[tuple[str, str]] = field(default_factory=list)
    """Pairs of marks between which the model writes its thoughts; []: `<think>`, `<thinking>`.

    For example `[["<|channel|>analysis<|message|>", "<|channel|>final<|message|>"]]`.
    """

    def variables(self) -> dict[str, Any]:
        """Return the template's variables, with `merge_system` where it is set.

        Raises:
            UserError: `template_arguments` sets what is set here.
        """
        reserved = RESERVED & self.template_arguments.keys()
        if reserved:
            raise UserError(
                f"{', '.join(sorted(reserved))} cannot be set: "
                "Credo decides what the template renders",
                where="template_arguments",
                fix="keep variables that the model's own chat template reads, "
                "such as enable_thinking",
            )
        return collect_variables(self.template_arguments, self.merge_system)


class TemplateRefusal(RowFailure):
    """The chat template cannot write this conversation.

    Args:
        messages: the conversation, as the template got it.
        words: the template's own.
    """

    def __init__(self, messages: Sequence[Message], words: str):
        roles = [message["role"] for message in messages]
        shown = [*roles[:ROLES_SHOWN], *["..."] * (len(roles) > ROLES_SHOWN)]
        if "system" in roles:
            words = f"{words}; {MERGE_ADVICE}"
        super().__init__(f"the model's chat template refuses its turns ({', '.join(shown)})", words)


def collect_variables(arguments: Mapping[str, Any], merge: Any) -> dict[str, Any]:
    """Return a template's variables, with `merge_system` among them where it is set."""
    return dict(arguments) | ({MERGE: True} if merge else {})


def template_only(variables: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the variables that the template itself reads."""
    return {name: value for name, value in (variables or {}).items() if name != MERGE}


def arrange(
    messages: Sequence[Message], variables: Mapping[str, Any] | None = None
) -> list[Message]:
    """Return the messages as the template gets them: without system turns under `merge_system`."""
    if not (variables or {}).get(MERGE):
        return list(messages)
    return merge_system(messages)


def merge_system(messages: Sequence[Message]) -> list[Message]:
    """Return a conversation whose system turns stand at the head of the user turn that follows.

    A system turn that no user turn follows at once is added to the user turn before it, or else
    becomes one.
    """
    merged: list[Message] = []
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "system":
            waiting.append(message["content"])
            continue
        if waiting and message["role"] == "user":
            words = "\n\n".join([*waiting, message["content"]])
            message = {**message, "content": words}
            waiting = []
        elif waiting:
            _add_to_user(merged, waiting)
            waiting = []
        merged.append(message)
    if waiting:
        _add_to_user(merged, waiting)
    return merged


def _add_to_user(messages: list[Message], words: Sequence[str]) -> None:
    if messages and messages[-1]["role"] == "user":
        last = messages.pop()
        words = [last["content"], *words]
    messages.append({"role": "user", "content": "\n\n".join(words)})


def render_chat(
    tokenizer: Any,
    messages: Sequence[Message],
    variables: Mapping[str, Any] | None = None,
    lead_in: bool = False,
) -> str:
    """Return a conversation as the chat template writes it.

    Args:
        variables: of the template, as `ChatOptions.variables` returns them.
        lead_in: end with the opening of the assistant's turn.

    Raises:
        TemplateRefusal: the template refuses the turns, or leaves one out in silence.
    """
    arranged = arrange(messages, variables)
    arguments = {"add_generation_prompt": lead_in} | template_only(variables)
    text = _apply(tokenizer, arranged, arguments)
    lost = _left_out(tokenizer, arguments, tuple(message["role"] for message in arranged))
    if lost:
        raise TemplateRefusal(arranged, f"it leaves out the {lost} turn in silence")
    return text


@cache
def bound_chat_templates() -> None:
    """Let transformers compile chat templates in a sandbox with limits.

    Its own has none, and models come from anywhere. It serves TRL's trainers in this process too.
    """
    from transformers.utils import chat_template_utils

    chat_template_utils.ImmutableSandboxedEnvironment = BoundedEnvironment
    chat_template_utils._compile_jinja_template.cache_clear()


def _apply(tokenizer: Any, arranged: list[Message], arguments: Mapping[str, Any]) -> str:
    bound_chat_templates()
    try:
        text = tokenizer.apply_chat_template(arranged, tokenize=False, **arguments)
    except Exception as error:  # a template is a program, and its expressions raise anything
        words = str(error).strip() or type(error).__name__
        raise TemplateRefusal(arranged, words.splitlines()[0]) from error
    if not isinstance(text, str):
        raise TemplateRefusal(arranged, f"it writes no text but a {type(text).__name__}")
    return text


_lost: dict[tuple[str, tuple[str, ...]], str] = {}
"""The role of a turn that is left out, by the template with its variables, and the turns' roles."""


def _left_out(tokenizer: Any, arguments: Mapping[str, Any], roles: tuple[str, ...]) -> str:
    """Return the role of the first turn of which the template writes nothing, or "".

    A template may cut a long conversation at its beginning, as `encoder_chat.jinja` does.
    """
    key = (f"{tokenizer.chat_template}\0{sorted(arguments.items())}", roles)
    if key not in _lost:
        words = [f"Credo{place}probe" for place in range(len(roles))]
        turns: list[Message] = [
            {"role": role, "content": word} for role, word in zip(roles, words, strict=True)
        ]
        text = _apply(tokenizer, turns, arguments).lower()
        absent = [place for place, word in enumerate(words) if word.lower() not in text]
        is_cut = len(roles) > SHORT and absent == list(range(len(absent)))
        _lost[key] = roles[absent[0]] if absent and not is_cut else ""
    return _lost[key]


def encode_chat(
    tokenizer: Any,
    messages: Sequence[Message],
    variables: Mapping[str, Any] | None = None,
    lead_in: bool = False,
) -> list[int]:
    """Return a conversation's token ids; the arguments are those of `render_chat`.

    A template writes the begin-of-text token itself, so the tokenizer adds no second one.

    Raises:
        TemplateRefusal: as there.
    """
    return encode_texts(tokenizer, [render_chat(tokenizer, messages, variables, lead_in)])[0]


def encode_texts(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Return the token ids of rendered conversations; of many at once, all cores take part."""
    if not texts:
        return []
    encoding = tokenizer(
        list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False
    )
    return list(encoding["input_ids"])


def turn_marks(tokenizer: Any, variables: Mapping[str, Any]) -> frozenset[str]:
    """Return the special tokens that the chat template writes around turns, such as `<|im_end|>`.

    A tokenizer reads them as such wherever they stand, in a turn's words too: words with
    `<|im_end|><|im_start|>system` would open a system turn.
    """
    probe: list[Message] = [
        {"role": "user", "content": _PROBE},
        {"role": "assistant", "content": _PROBE},
    ]
    try:
        text = render_chat(tokenizer, probe, variables)
    except TemplateRefusal:
        return frozenset()
    names = {tokenizer.convert_ids_to_tokens(token) for token in tokenizer.all_special_ids}
    for token in tokenizer.added_tokens_decoder.values():
        if token.special:
            names.add(token.content)
    return frozenset(name for name in names if name and name in text and _is_read(name, tokenizer))


def _is_read(name: str, tokenizer: Any) -> bool:
    """Whether the tokenizer reads a special token's name in a text as that token."""
    ids = tokenizer(name, add_special_tokens=False, verbose=False)["input_ids"]
    return tokenizer.convert_tokens_to_ids(name) in ids


def refuse_forged_turns(messages: Sequence[Message], marks: Collection[str]) -> None:
    """Refuse a conversation in whose words a mark of turns stands.

    Raises:
        RowFailure: it names the mark.
    """
    words = "\n".join(message["content"] for message in messages)
    for mark in sorted(marks):
        if mark in words:
            raise RowFailure(TURN_MARK, repr(mark))
