"""Where an answer ends: what a chat template writes after the end of a turn is cut off.

ChatML's templates put a newline after the token that ends a turn, and some put more. No model ever
samples it: an answer's text, its length and its log-probability end with the end of its turn. In: a
tokenizer. Out: the same tokenizer, whose chat template ends there, for everything that learns or
measures answers by it: TRL's own trainers call it too. Between two turns the text stays, and
`spans.py` learns none of it. Left out: reward models, which read the whole text as other tools do;
templates that end a turn without a token of its own, whose text stays whole; several conversations
at once.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from stages.generators.examination import first_mark

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
