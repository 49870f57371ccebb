"""Conversations in a cell of a table: lists of messages, hh-rlhf transcripts, or plain text."""

import hashlib
import re
from typing import Any, Literal

from stages.runtime.artifacts import canonical
from stages.runtime.errors import UserError
from stages.runtime.rows import Message

Turns = Literal["last", "first", "each"]

_SPEAKER = re.compile(r"(?:^|\n\n)(Human|Assistant): ?")
_ROLES = {"Human": "user", "Assistant": "assistant"}


def read_prompts(value: Any, turns: Turns, location: str) -> list[list[Message]]:
    """Turn a cell into prompts: conversations that end with a user turn.

    Args:
        turns: "last" keeps the conversation up to its last user turn, "first" only the first user
            turn, "each" gives one prompt per user turn (Bai et al. 2022b, section 3).
        location: where the cell is, for messages.

    Returns:
        The prompts; an empty list if there is no user turn.

    Raises:
        UserError: the value is neither text nor messages.
    """
    messages = read_messages(value, location)
    user_turns = []
    for index, message in enumerate(messages):
        if message["role"] == "user" and message["content"]:
            user_turns.append(index)
    if turns == "first":
        user_turns = user_turns[:1]
    elif turns == "last":
        user_turns = user_turns[-1:]
    return [messages[: index + 1] for index in user_turns]


def read_messages(value: Any, location: str) -> list[Message]:
    """Turn a cell into messages.

    A list is taken as messages, a text with hh-rlhf's Human/Assistant marks is split at them (only
    where a mark starts a paragraph, so `: ` inside a text splits nothing), any other text is one
    user turn.

    Raises:
        UserError: the value is neither text nor messages.
    """
    if isinstance(value, list):
        if not all(_is_message(item) for item in value):
            raise UserError(
                "the messages lack `role` or `content`",
                where=location,
                fix='give [{"role": "user", "content": "..."}]',
            )
        return [{"role": item["role"], "content": item["content"]} for item in value]
    if not isinstance(value, str):
        raise UserError(
            f"a {type(value).__name__} where text or messages are expected",
            where=location,
            fix="choose another column",
        )
    if not _SPEAKER.match(value):
        return [{"role": "user", "content": value.strip()}]
    pieces = _SPEAKER.split(value)[1:]
    messages = []
    for speaker, text in zip(pieces[::2], pieces[1::2], strict=True):
        messages.append({"role": _ROLES[speaker], "content": text.strip()})
    return messages


def _is_message(item: Any) -> bool:
    return (
        isinstance(item, dict)
        and isinstance(item.get("content"), str)
        and item.get("role") in ("system", "user", "assistant")
    )


def content_id(value: Any, location: str) -> str:
    """Return the first 12 hex digits of the SHA-256 of plain data.

    A prompt's id is the content id of its messages.

    Raises:
        UserError: a text with an unpaired surrogate, which UTF-8 cannot encode.
    """
    try:
        data = canonical(value).encode()
    except UnicodeEncodeError as error:
        lone = ascii(error.object[error.start])
        raise UserError(
            f"the text holds {lone}, an unpaired surrogate (broken Unicode)",
            where=location,
            fix="fix or delete the record",
        ) from None
    return hashlib.sha256(data).hexdigest()[:12]
