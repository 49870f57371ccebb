"""Examine a tokenizer and its chat template once, when a model is opened.

In: a tokenizer, the tokens at which the model stops. Out: what a generator and a training must
know of the template, and warnings. What would make every answer wrong is a UserError.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from rich.console import Console

from stages.generators.chat import TemplateRefusal, render_chat
from stages.guards.console import open_console
from stages.guards.errors import UserError
from stages.runtime.generation import THOUGHT_MARKS, Marks
from stages.runtime.rows import Message

# Any conversation shows how a turn is opened and closed.
PROBE: tuple[Message, ...] = ({"role": "user", "content": "Which?"},)
ANSWER = "Credoprobe"
_ANSWERED: tuple[Message, ...] = (*PROBE, {"role": "assistant", "content": ANSWER})
_GOING_ON: tuple[Message, ...] = (
    *PROBE,
    {"role": "assistant", "content": "."},
    {"role": "user", "content": ANSWER},
)


@dataclass(frozen=True)
class Examination:
    """What a tokenizer's chat template does around an assistant's words."""

    end_token: int | None = None
    """The token with which the template ends the assistant's turn."""
    extra_stops: tuple[int, ...] = ()
    """`end_token`, where the model would not stop at it."""
    prefilled: str = ""
    """The mark, and what follows it, with which the template opens thoughts: `<think>\\n`."""
    before_option: str = ""
    """What closes or skips thoughts, so that an option stands where answers begin."""
    option_variables: Mapping[str, Any] | None = None
    """The template's variables for a question with options; None: the same as for an answer."""
    warnings: tuple[str, ...] = ()
    """One sentence each."""


def examine_chat(
    tokenizer: Any,
    stop_tokens: Collection[int],
    variables: Mapping[str, Any] | None = None,
    marks: Marks = THOUGHT_MARKS,
    where: str = "",
) -> Examination:
    """Look at what the chat template writes around an assistant's words.

    Args:
        stop_tokens: those of the tokenizer and of the model's generation config.
        variables: as `ChatOptions.variables` returns them.
        marks: of thoughts.
        where: the model's path, for messages.

    Raises:
        UserError: the template cannot be rendered, does not write the assistant's words, or renders
            nothing before them when asked to.
    """
    if not getattr(tokenizer, "chat_template", None):
        warning = (
            "the tokenizer has no chat template: the model reads conversations as a transcript "
            "(User: ... Assistant: ...)"
        )
        return Examination(warnings=(warning,))
    variables = dict(variables or {})
    option_variables = variables
    if "enable_thinking" in str(tokenizer.chat_template):
        # so the templates of models that think call the way past thoughts
        option_variables = {**variables, "enable_thinking": False}
    texts, option_texts = _write_probes(tokenizer, (variables, option_variables), where)
    _refuse_unopened(texts, where)
    _refuse_users_opening(texts, where)
    prefilled = _open_thoughts(texts.asked, marks)
    before_option = _before_option(option_texts, marks)
    end_token, is_first = _end_of_turn(tokenizer, texts.closing)
    extra: tuple[int, ...] = ()
    warnings = _begin_warnings(tokenizer, texts.asked)
    if texts.asked_another_day != texts.asked:
        warnings.append(
            "the chat template writes today's date, so a run of another day reads other prompts: "
            "fix it by a variable of the template in model.template_arguments (date_string in "
            "Llama's) or in the template itself"
        )
    if prefilled:
        mark = prefilled.strip()
        warnings.append(
            f"the chat template opens each answer with {mark!r}: thoughts are split off, and an "
            "option to choose stands after closed thoughts"
        )
        if not texts.written.startswith(texts.asked):
            warnings.append(
                f"the chat template writes a finished answer without {mark!r}: a model trained on "
                "such answers is sampled after words that it did not see in training"
            )
    if end_token is None:
        warnings.append(
            "the chat template ends an assistant's turn with no token of its own: the model cannot "
            "learn where to stop"
        )
    elif end_token not in stop_tokens:
        name = tokenizer.convert_ids_to_tokens(end_token)
        warnings.append(
            f"the chat template ends a turn with {name!r}, which is no stop token of this model "
            "(eos_token of the tokenizer, eos_token_id of generation_config.json)"
            + (": Credo stops there too" if is_first else ": answers may run on")
        )
        extra = (end_token,) if is_first else ()
    return Examination(
        end_token=end_token,
        extra_stops=extra,
        prefilled=prefilled,
        before_option=before_option,
        option_variables=option_variables,
        warnings=tuple(warnings),
    )


@dataclass(frozen=True)
class ProbeTexts:
    """What a chat template writes for a short conversation."""

    request: str
    """A request."""
    asked: str
    """A request with the opening of an answer."""
    asked_another_day: str
    """The same where the template reads another date."""
    written: str
    """What a conversation holds before an answer."""
    closing: str
    """What it holds behind one."""
    before_user: str
    """What it holds before the user's second turn; "" if the template refuses one."""


def _write_probes(
    tokenizer: Any, variants: Sequence[Mapping[str, Any]], where: str
) -> list[ProbeTexts]:
    """Return what the template writes under each of several variables.

    Raises:
        UserError: it refuses a request and its answer, or does not write the answer's words.
    """
    fix = (
        "fix chat_template.jinja (or chat_template in tokenizer_config.json) in the model's folder"
    )
    probes = []
    for variables in variants:
        other_day = {**variables, "strftime_now": lambda _: ANSWER}
        try:
            request = render_chat(tokenizer, PROBE, variables)
            asked = render_chat(tokenizer, PROBE, variables, lead_in=True)
            another_day = render_chat(tokenizer, PROBE, other_day, lead_in=True)
            conversation = render_chat(tokenizer, _ANSWERED, variables)
        except TemplateRefusal as refusal:
            raise UserError(
                f"the chat template cannot write a request and its answer: {refusal.detail}",
                where=where,
                fix=fix,
            ) from refusal
        try:
            before_user = render_chat(tokenizer, _GOING_ON, variables).rpartition(ANSWER)[0]
        except TemplateRefusal:
            before_user = ""
        written, answer, closing = conversation.rpartition(ANSWER)
        if not answer:
            raise UserError(
                "the chat template does not write an assistant's words", where=where, fix=fix
            )
        probes.append(ProbeTexts(request, asked, another_day, written, closing, before_user))
    return probes


def _refuse_unopened(texts: ProbeTexts, where: str) -> None:
    """Refuse a template that ignores `add_generation_prompt` though it opens answers."""
    pairs = zip(texts.written, texts.request, strict=False)
    shared = takewhile(lambda pair: pair[0] == pair[1], pairs)
    opening = texts.written[sum(1 for _ in shared) :]
    if texts.asked == texts.request and opening.strip():
        raise UserError(
            f"the chat template writes {opening!r} before an assistant's words in a conversation, "
            "and nothing when asked to open an answer (add_generation_prompt)",
            where=where,
            fix="append to chat_template.jinja in the model's folder: "
            f"{{% if add_generation_prompt %}}{{{{ {opening!r} }}}}{{% endif %}}",
        )


def _refuse_users_opening(texts: ProbeTexts, where: str) -> None:
    """Refuse a template that opens the user's turn when asked to open an answer."""
    asked = texts.asked
    written = texts.written
    opening = asked.removeprefix(texts.request)
    if not opening.strip() or written.startswith(asked) or asked.startswith(written):
        return
    if texts.before_user.endswith(opening):
        raise UserError(
            f"the chat template opens a turn of the user ({opening!r}) when asked to open an "
            "answer (add_generation_prompt)",
            where=where,
            fix="write there what stands before an assistant's words: the end of "
            f"{written[-40:]!r}",
        )


def _open_thoughts(text: str, marks: Marks) -> str:
    """Return the end of a prompt from the opening mark that nothing closes, or ""."""
    lowered = text.lower()
    for opening, closing in marks:
        place = lowered.rfind(opening.lower())
        if place >= 0 and lowered.find(closing.lower(), place) < 0:
            return text[place:]
    return ""


def _before_option(texts: ProbeTexts, marks: Marks) -> str:
    """Return the further words that end a prompt where answers begin."""
    if texts.written.startswith(texts.asked):
        # What stands between them is the template's own way past thoughts.
        skipped = texts.written.removeprefix(texts.asked)
        return skipped if skipped.strip() else ""
    prefilled = _open_thoughts(texts.asked, marks)
    for opening, closing in marks:
        if prefilled.lower().startswith(opening.lower()):
            breaks = len(prefilled) - len(prefilled.rstrip("\n"))
            return "\n" * max(0, 2 - breaks) + f"{closing}\n\n"
    return ""


def _end_of_turn(tokenizer: Any, closing: str) -> tuple[int | None, bool]:
    """Return the first token behind an answer that is not plain text, and whether it comes first.

    Spaces may stand before it.
    """
    ids, place = first_mark(tokenizer, closing)
    if place is None:
        return None, False
    return ids[place], not tokenizer.decode(ids[:place]).strip()


def first_mark(tokenizer: Any, closing: str) -> tuple[list[int], int | None]:
    """Return the tokens behind an answer, and the place of the first one that is not plain text."""
    special = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}
    ids = list(tokenizer(closing, add_special_tokens=False, verbose=False)["input_ids"])
    places = [place for place, token in enumerate(ids) if token in special]
    return ids, places[0] if places else None


def _begin_warnings(tokenizer: Any, asked: str) -> list[str]:
    """What is unusual about the begin-of-text token."""
    begin = tokenizer.bos_token_id
    if begin is None:
        return []
    plain = tokenizer("a", verbose=False)["input_ids"]
    ids = tokenizer(asked, add_special_tokens=False, verbose=False)["input_ids"]
    name = tokenizer.bos_token
    if ids[:2] == [begin, begin]:
        return [f"the chat template begins a conversation with two {name!r}"]
    if plain[:1] != [begin]:
        return []
    if ids[:1] != [begin]:
        return [f"the tokenizer begins every text with {name!r}, and the chat template does not"]
    return [
        f"the chat template writes {name!r} and the tokenizer would add another: Credo reads one"
    ]


_shown: set[tuple[str, str]] = set()


def show_once(path: str, warnings: Iterable[str], console: Console | None = None) -> None:
    """Print warnings about a model, each once in this process."""
    for warning in warnings:
        if (path, warning) not in _shown:
            _shown.add((path, warning))
            console = console or open_console(stderr=True)
            console.print(f"warning: {path}: {warning}")
