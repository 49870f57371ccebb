"""Sides of a comparison beside a prompt: which part of a side is the answer.

In: a prompt and the cells of the sides, by column. Out: prompt and answer of each side. A text may
repeat its prompt, or begin with the assistant's mark; whether the column's texts do is decided
once, since a single answer may begin with its question by chance.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from stages.guards.errors import UserError
from stages.runtime.context import Drop
from stages.runtime.rows import Message
from stages.sources.cells import WRITTEN_LISTS, is_empty
from stages.sources.conversations import (
    PLAIN,
    Style,
    check_text,
    printable,
    read_messages,
    read_prompts,
    refuse_unreadable,
)
from stages.sources.transcripts import is_ended, is_rendered, read_escaped, read_transcript

Sides = Literal["auto", "answers", "whole"]
MARK = re.compile(
    r"\s*(?:(?:###\s*)?assistant[^\S\n]*[:\uff1a]|\*\*assistant(?:\*\*[^\S\n]*:|:\*\*)"
    r"|<(?:assistant|bot)>[^\S\n]*:)[^\S\n]*",
    re.IGNORECASE,
)

NEARLY_ALL = 0.95
"""From this share on, sides without their prompt are trouble of single rows."""
MANY = 0.25
FEWEST = 3
"""This share of sides, and so many, do not begin with their prompt by chance."""


@dataclass(frozen=True)
class Side:
    """One answer with the turns before it."""

    prompt: list[Message]
    answer: str


def read_request(value: Any, style: Style = PLAIN, system: Any = "") -> list[Message]:
    """Return the request as `prompts` reads it; [] if there is none or an answer follows it.

    Args:
        system: the text of a system turn to put first; "" for none.

    Raises:
        Drop: it cannot be read.
    """
    prompts = read_prompts(value, "last", style)
    if not prompts:
        return []
    (request,) = prompts
    rest = read_messages(value, style)[0][len(request) :]
    if any(message["content"] for message in rest):
        return []
    return with_system(request, system)


def with_system(messages: list[Message], system: Any) -> list[Message]:
    """Return messages with a system turn in front, if there is a text for one.

    Raises:
        Drop: it is not text, or holds broken Unicode.
    """
    if not isinstance(system, str) and not is_empty(system):
        raise Drop("a system turn that is not text", printable(str(system)))
    text = "" if is_empty(system) else system.strip()
    if not text or (messages and messages[0]["role"] == "system"):
        return messages
    check_text(text)
    return [{"role": "system", "content": text}, *messages]


def read_whole(value: Any, style: Style = PLAIN, system: Any = "") -> Side:
    """Return the side that a whole conversation holds.

    Args:
        system: as in `read_request`.

    Raises:
        Drop: its last turn is not from the assistant, or a turn cannot be read.
    """
    messages, _ = read_messages(value, style)
    refuse_unreadable(messages)
    if not messages or messages[-1]["role"] != "assistant":
        raise Drop("the last turn is not from the assistant")
    if is_ended(messages[-1]["content"]):
        raise Drop("an answer that a chat template has already rendered")
    return Side(with_system(messages[:-1], system), messages[-1]["content"].strip())


def read_beside(value: Any, prompt: Any, request: list[Message], cut: bool) -> Side:
    """Return a side that stands beside its request.

    Args:
        value: the side's cell: a text, or messages.
        prompt: the prompt's cell.
        request: what it holds.
        cut: texts repeat the prompt or begin with the assistant's mark.

    Raises:
        Drop: it does not belong to the request, or cannot be read.
    """
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        if len(value) > 1:
            raise Drop("several texts where one answer is expected")
        value = value[0]
    if isinstance(value, str) and not is_list(value):
        answer = value
        if cut:
            rest = after_prompt(value, prompt, request)
            if rest is None:
                raise Drop("the side does not begin with its prompt")
            answer = rest
        check_text(answer)
        if is_ended(answer):
            raise Drop("an answer that a chat template has already rendered")
        return Side(request, answer.strip())
    side = read_whole(value)
    return Side(_join(request, side.prompt), side.answer)


def _join(request: list[Message], earlier: list[Message]) -> list[Message]:
    """Return the conversation before the answer, which prompt and side may both hold in part.

    Raises:
        Drop: neither contains the other.
    """
    systems = [message for message in earlier if message["role"] == "system"]
    if len(systems) == len(earlier):
        return request if request and request[0]["role"] == "system" else systems + request
    for longer, shorter in ((earlier, request), (request, earlier)):
        if _begins_with(longer, shorter) or _ends_with(longer, shorter):
            return longer
    if request and not systems and earlier[0]["role"] == "assistant":
        return request + earlier
    spoken = [message for message in request if message["role"] != "system"]
    if len(spoken) < len(request) and _ends_with(earlier, spoken):
        return request[: len(request) - len(spoken)] + earlier
    raise Drop("the conversations differ")


def _turns(messages: Sequence[Message]) -> list[tuple[str, str]]:
    return [(message["role"], message["content"].strip()) for message in messages]


def _begins_with(longer: Sequence[Message], shorter: Sequence[Message]) -> bool:
    """Whether a conversation begins with another, but for a system turn in front."""
    turns = _turns(longer)
    if turns and turns[0][0] == "system" and shorter and shorter[0]["role"] != "system":
        turns = turns[1:]
    return turns[: len(shorter)] == _turns(shorter)


def _ends_with(longer: Sequence[Message], shorter: Sequence[Message]) -> bool:
    start = len(longer) - len(shorter)
    return start >= 0 and _turns(longer[start:]) == _turns(shorter)


def after_prompt(side: str, prompt: Any, request: list[Message]) -> str | None:
    """Return what a text says after its prompt or the assistant's mark; None if it has neither."""
    turns = read_transcript(read_escaped(side))
    if turns and turns[-1]["role"] == "assistant" and _turns(turns[:-1]) == _turns(request):
        return turns[-1]["content"]
    side = side.replace("\r\n", "\n")
    starts = [prompt] if isinstance(prompt, str) else []
    starts += [message["content"] for message in request[-1:]]
    for start in sorted(
        {start.strip().replace("\r\n", "\n") for start in starts}, key=len, reverse=True
    ):
        if not start or not side.strip().startswith(start):
            continue
        rest = side.strip()[len(start) :]
        if not (start[-1].isalnum() and rest[:1].isalnum()):  # a word of its own
            mark = MARK.match(rest)
            return rest[mark.end() :] if mark else rest
    mark = MARK.match(side)
    return side[mark.end() :] if mark else None


def decide_cut(
    sides: Iterable[tuple[str, Any, list[Message], str]], option: Sides, where: str
) -> tuple[bool, str]:
    """Decide whether texts repeat their prompts, for all of them at once.

    Args:
        sides: every text, with its prompt's cell, its request, and its location for messages.
        option: `answers` and `whole` decide; `auto` looks at the texts.

    Returns:
        Whether to cut, and a note on the decision; "" where there is nothing to say.

    Raises:
        UserError: so many texts begin with their prompt that it is no chance, and many do not.
    """
    if option != "auto":
        return option == "whole", ""
    repeated = others = 0
    repeated_in = other_in = ""
    for side, prompt, request, location in sides:
        if after_prompt(side, prompt, request) is not None:
            repeated += 1
            repeated_in = repeated_in or location
        else:
            others += 1
            other_in = other_in or location
    count = repeated + others
    if not repeated:
        return False, ""
    if not others:
        return True, "every side begins with its own prompt or the assistant's mark, which is cut"
    if repeated >= NEARLY_ALL * count:
        return True, (
            f"{repeated} of {count} sides begin with their own prompt or the assistant's "
            "mark, which is cut; the others are dropped"
        )
    if repeated > count / 2 or (repeated >= FEWEST and repeated >= MANY * count):
        raise UserError(
            f"{repeated} of {count} sides begin with their own prompt, the others do not "
            f"(as in {repeated_in}; not in {other_in})",
            where=where,
            fix="set `sides: whole` to cut the prompts and drop the other rows, or "
            "`sides: answers` to take every side as it is",
        )
    return False, f"{repeated} of {count} sides begin with their own prompt; none is cut"


def is_text_side(value: Any) -> bool:
    """Whether a side is a text that is not a list of messages."""
    return isinstance(value, str) and bool(value.strip()) and not is_list(value)


def is_list(text: str) -> bool:
    """Whether a text is a list of messages, as JSON or as Python prints it, or a broken one."""
    if not text.lstrip().startswith(WRITTEN_LISTS) and not is_rendered(text):
        return False
    try:
        _, form = read_messages(text)
    except Drop:
        return True  # `read_whole` raises it again
    return form.startswith(("messages (role", "messages (from"))
