"""Where an answer ends: what a chat template writes after the end of a turn is cut off.

ChatML's templates put a newline after the token that ends a turn, and some put more. No model ever
samples it: an answer's text, its length and its log-probability end with the end of its turn. In: a
tokenizer. Out: the same tokenizer, whose chat template ends there, for everything that learns or
measures answers by it: TRL's own trainers call it too. Between two turns the text stays, and
`spans.py` learns none of it. Left out: reward models, which read the whole text as other tools do;
templates that end a turn without a token of its own, whose text stays whole; several conversations
at once.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from stages.generators.chat import TemplateRefusal, render_chat
from stages.generators.examination import first_mark
from stages.runtime.rows import Message

TURN_MARK = "holds a mark of turns"
"""Why a row is dropped whose text would be read as turns that nobody wrote."""
_PROBE = "§§"
"""An answer that no template contains."""
_FORMS = {
    "tokenize",
    "return_dict",
    "return_tensors",
    "return_assistant_tokens_mask",
    "padding",
    "truncation",
    "max_length",
    "tokenizer_kwargs",
    "add_generation_prompt",
    "continue_final_message",
}
"""Arguments of `apply_chat_template` that are no variables of the template."""


def cut_after_turns(tokenizer: Any) -> Any:
    """Let the tokenizer's chat template end where the last answer's turn ends; return it."""
    if not isinstance(tokenizer.apply_chat_template, TurnEnds):
        tokenizer.apply_chat_template = TurnEnds(tokenizer)
    return tokenizer


def turn_marks(tokenizer: Any, variables: Mapping[str, Any]) -> frozenset[str]:
    """The special tokens that the chat template writes around turns, such as `<|im_end|>`.

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


def forged_mark(messages: Sequence[Message], marks: Collection[str]) -> str:
    """A mark of turns that stands in the words of a conversation, or ""."""
    words = "\n".join(message["content"] for message in messages)
    return next((mark for mark in sorted(marks) if mark in words), "")


class TurnEnds:
    """A tokenizer's `apply_chat_template` without what follows the last answer's end of turn."""

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer
        self.surpluses: dict[str, tuple[str, list[int]]] = {}

    def __call__(self, conversation: Any, *args: Any, **kwargs: Any) -> Any:
        output = self._apply(conversation, *args, **kwargs)
        if not _ends_with_answer(conversation, kwargs):
            return output
        text, tokens = self._surplus(conversation, kwargs)
        if isinstance(output, str):
            return output.removesuffix(text)
        ids = output["input_ids"] if isinstance(output, Mapping) else output
        if not tokens or list(ids[-len(tokens) :]) != tokens:
            return output
        if isinstance(output, list):
            return output[: -len(tokens)]
        for name, column in output.items():
            output[name] = column[: -len(tokens)]
        return output

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        # Through the class: the tokenizer's own attribute may be this object.
        return type(self.tokenizer).apply_chat_template(self.tokenizer, *args, **kwargs)

    def _surplus(
        self, conversation: Sequence[Any], arguments: Mapping[str, Any]
    ) -> tuple[str, list[int]]:
        """What the template writes after the end of the last turn, as text and as tokens."""
        variables = {name: value for name, value in arguments.items() if name not in _FORMS}
        key = f"{self.tokenizer.chat_template}\0{sorted(variables.items())}"
        if key not in self.surpluses:
            probe = [*conversation[:-1], {"role": "assistant", "content": _PROBE}]
            text = self._apply(probe, tokenize=False, **variables)
            _, found, rest = text.rpartition(_PROBE)
            self.surpluses[key] = self._after_turn(rest if found else "")
        return self.surpluses[key]

    def _after_turn(self, rest: str) -> tuple[str, list[int]]:
        """Of the text that follows an answer, what follows the token that ends its turn."""
        tokens, place = first_mark(self.tokenizer, rest)
        if place is None:
            return "", []
        mark = self.tokenizer.convert_ids_to_tokens(tokens[place])
        return rest.partition(mark)[2], tokens[place + 1 :]


def _ends_with_answer(conversation: Any, arguments: Mapping[str, Any]) -> bool:
    """Whether a text is one whole conversation whose last turn is the assistant's."""
    goes_on = arguments.get("add_generation_prompt") or arguments.get("continue_final_message")
    if goes_on or arguments.get("return_tensors") or not conversation:
        return False
    last = conversation[-1]
    return isinstance(last, Mapping) and last.get("role") == "assistant"
