"""Conversations in a cell of a table: lists of messages, transcripts, or plain text.

In: a cell. Out: messages of the roles system, user and assistant. A turn that Credo cannot read (a
tool's, an image, an unknown role) is no reason to drop a row as long as nobody needs the turn.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from typing import Any, Literal

from stages.guards.errors import UserError
from stages.runtime.context import Drop
from stages.runtime.manifest import canonical
from stages.runtime.rows import Message
from stages.sources.cells import NotStructured, is_empty, parse_structured
from stages.sources.contents import read_content
from stages.sources.transcripts import (
    find_assistant,
    has_answer,
    hides_answer,
    is_rendered,
    marks_inside,
    read_escaped,
    read_transcript,
)

Turns = Literal["last", "first", "each"]

ROLE_KEYS = ("role", "from", "speaker", "author")
TEXT_KEYS = ("content", "value", "text", "message", "parts")
EXCHANGES = (("input", "output"), ("user", "assistant"), ("human", "assistant"))
"""Keys of items that hold a request and its answer (Capybara)."""
WRAPPERS = ("messages", "conversations", "conversation", "turns")
USERS = ("user", "human", "prompter")
ASSISTANTS = ("assistant", "gpt", "chatgpt", "bot", "chatbot", "model", "bing", "bard", "ai")
SYSTEMS = ("system", "developer")
TOOLS = ("tool", "function", "observation", "ipython")
ROLES = (
    dict.fromkeys(USERS, "user")
    | dict.fromkeys(ASSISTANTS, "assistant")
    | dict.fromkeys(SYSTEMS, "system")
)
UNREADABLE = "unreadable"
"""The role of a turn that cannot be read; its content is the reason, `of` its own role."""
LIKE_MESSAGES = re.compile(
    r"^\W*(?:array\(\W*)?['\"](?:role|from|content|value)['\"]\s*:.*['\"](?:role|from)['\"]\s*:"
    r"|^\W*(?:array\(\W*)?['\"](?:role|from)['\"]\s*:"
    r"|^\[?\w*Message\(\w+=",
    re.DOTALL,
)
EXAMINED = 1000
"""How many texts decide where transcripts mark their speakers: most of them do."""
BROKEN_UNICODE = "broken Unicode"


@dataclass(frozen=True)
class Style:
    """What the cells of a column have in common."""

    by_line: bool = False
    """Transcripts mark their speakers at the start of lines, not of paragraphs."""
    assistant: str = ""
    """Another name by which transcripts mark the assistant's turns."""
    lists: bool = False
    """Texts are lists of one text, written as JSON or by Python."""


PLAIN = Style()


def find_style(values: Iterable[Any]) -> Style:
    """Return what holds for all cells of a column, so that no cell is read in a way of its own."""
    texts = (value for value in values if isinstance(value, str) and value.strip())
    examined = list(islice(texts, EXAMINED))
    others = [text for text in examined if not has_answer(read_transcript(text))]
    paragraphs = len(examined) - len(others)
    lines = sum(has_answer(read_transcript(text, by_line=True)) for text in others)
    by_line = lines > paragraphs and lines > len(others) / 2
    assistant = "" if paragraphs or lines else find_assistant(examined)
    return Style(
        by_line or bool(assistant),
        assistant,
        bool(examined) and all(map(_is_list_of_one, chain(examined, texts))),
    )


def read_prompts(value: Any, turns: Turns, style: Style = PLAIN) -> list[list[Message]]:
    """Turn a cell into prompts: conversations that end with a user turn.

    Args:
        turns: "last" keeps the conversation up to its last user turn, "first" only the first user
            turn (with a system turn before it), "each" gives one prompt per user turn (Bai et al.
            2022b, section 3).
        style: what the cells of the column have in common.

    Returns:
        The prompts; an empty list if there is no user turn.

    Raises:
        Drop: the value is neither text nor messages, or a turn of a prompt cannot be read.
    """
    messages, _ = read_messages(value, style)
    user_turns = []
    for index, message in enumerate(messages):
        role = message.get("of", message["role"])
        if role == "user" and message["content"]:
            user_turns.append(index)
    if turns == "first":
        user_turns = user_turns[:1]
    elif turns == "last":
        user_turns = user_turns[-1:]
    prompts = [messages[: index + 1] for index in user_turns]
    if prompts:
        refuse_unreadable(prompts[-1])
    else:
        refuse_unreadable(messages)
    return prompts


def read_messages(value: Any, style: Style = PLAIN) -> tuple[list[Message], str]:
    """Turn a cell into messages, and name its form.

    A list is taken as messages, also where it is written as JSON or as Python prints it; a text
    with hh-rlhf's Human/Assistant marks is split at them; any other text is one user turn.

    Returns:
        The messages, with the role `unreadable` where a turn cannot be read.

    Raises:
        Drop: the value is neither text nor messages.
    """
    if isinstance(value, str):
        return _read_text(value, style)
    if isinstance(value, (list, Mapping)):
        return _read_list(value), _name_list(value)
    if is_empty(value):
        return [], "text"
    raise Drop(f"a {type(value).__name__} where text or messages are expected")


def refuse_unreadable(messages: Sequence[Message]) -> None:
    """Raise what is wrong with the first turn that cannot be read.

    Raises:
        Drop: there is one.
    """
    for message in messages:
        if message["role"] == UNREADABLE:
            reason, _, detail = message["content"].partition("|")
            raise Drop(reason, printable(detail))
        check_text(message["content"])


def check_text(text: str) -> None:
    """Refuse what UTF-8 cannot encode.

    Raises:
        Drop: the text holds half of a surrogate pair.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        lone = ascii(error.object[error.start])
        raise Drop(BROKEN_UNICODE, f"{lone}, an unpaired surrogate") from None


def printable(text: str) -> str:
    """Return a text with a question mark for what UTF-8 cannot encode."""
    return text.encode("utf-8", "replace").decode()


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


def odd_turns(messages: Sequence[Message]) -> list[str]:
    """Return what is unusual about the order of the turns; such rows are counted, not dropped."""
    odd = []
    roles = [message["role"] for message in messages]
    if any(one == other for one, other in pairwise(roles)):
        odd.append("two turns of one role in a row")
    if "system" in roles[1:]:
        odd.append("a system turn after the first turn")
    spoken = [role for role in roles if role != "system"]
    if spoken and spoken[0] == "assistant":
        odd.append("the assistant speaks first")
    if any(not message["content"].strip() for message in messages):
        odd.append("an empty turn")
    return odd


def _read_text(text: str, style: Style) -> tuple[list[Message], str]:
    text = read_escaped(text)
    try:
        value, writing = parse_structured(text)
    except NotStructured:
        value, writing = None, ""
    if style.lists and isinstance(value, list):
        return _read_list(value), f"list of texts as {writing}"
    if value == [] or _holds_messages(value):
        return _read_list(value), f"{_name_list(value)} as {writing}"
    if LIKE_MESSAGES.match(text):
        raise Drop("a text that looks like messages and cannot be read")
    if is_rendered(text):
        raise Drop("a text that a chat template has already rendered")
    turns = read_transcript(text, style.by_line, style.assistant)
    if not has_answer(turns) and hides_answer(text):
        raise Drop("a transcript whose speakers are not marked at the start of paragraphs")
    if turns is not None:
        return turns, "transcript"
    form = "text with marks of speakers inside" if marks_inside(text) else "text"
    return [{"role": "user", "content": text.strip()}], form


def _holds_messages(value: Any) -> bool:
    """Whether what a text holds is a conversation; other JSON is text."""
    if isinstance(value, Mapping):
        return any(_holds_messages(value.get(key)) for key in WRAPPERS)
    if not isinstance(value, list) or not value or not all(_is_turn(item) for item in value):
        return False
    return any(turn["role"] != UNREADABLE for turn in _read_list(value))


def _is_turn(item: Any) -> bool:
    if isinstance(item, str):
        try:
            item, _ = parse_structured(item)
        except NotStructured:
            return False
    if not isinstance(item, Mapping):
        return False
    if any(set(keys) <= item.keys() for keys in EXCHANGES):
        return True
    has_text = any(key in item for key in TEXT_KEYS) or _calls_tool(item)
    return has_text and any(key in item for key in ROLE_KEYS)


def _name_list(value: Any) -> str:
    if isinstance(value, Mapping):
        for key in WRAPPERS:
            if key in value:
                return _name_list(value[key])
        value = [value]
    first = value[0] if value else None
    if isinstance(first, Mapping):
        for keys in EXCHANGES:
            if set(keys) <= first.keys():
                return f"messages ({', '.join(keys)})"
        role = next((key for key in ROLE_KEYS if key in first), "")
        text = next((key for key in TEXT_KEYS if key in first), "")
        return f"messages ({role}, {text})"
    return "list of texts" if isinstance(first, str) else "messages"


def _read_list(value: Any) -> list[Message]:
    """Return the turns of a list, or of a mapping around it or of its columns.

    Raises:
        Drop: an item is no turn.
    """
    if isinstance(value, Mapping):
        for key in WRAPPERS:
            if key in value:
                return _read_list(value[key])
        value = _from_columns(value)
    if isinstance(value, str):
        return read_messages(value)[0]
    if len(value) == 1 and isinstance(value[0], str) and not _is_turn(value[0]):
        return [{"role": "user", "content": value[0].strip()}]
    messages: list[Message] = []
    for item in value:
        messages += _read_turn(item)
    return messages


def _from_columns(value: Mapping[str, Any]) -> list[Any]:
    """Return the turns of {"role": [...], "content": [...]}, or the one turn of a mapping."""
    lists = {key: inner for key, inner in value.items() if isinstance(inner, list)}
    if not any(key in lists for key in ROLE_KEYS):
        return [value]
    turns = []
    for values in zip(*lists.values(), strict=False):
        turns.append(dict(zip(lists, values, strict=True)))
    return turns


def _read_turn(item: Any) -> list[Message]:
    if isinstance(item, str) and _is_turn(item):
        item, _ = parse_structured(item)
    if not isinstance(item, Mapping):
        raise Drop("a list of texts without roles")
    for request, answer in EXCHANGES:
        if request in item and answer in item:
            return [_message("user", item[request]), _message("assistant", item[answer])]
    role_key = _filled_key(item, ROLE_KEYS)
    text_key = _filled_key(item, TEXT_KEYS)
    if role_key is None or (text_key is None and not _calls_tool(item)):
        raise Drop("the messages lack `role` or `content`")
    if _calls_tool(item):
        return [_unreadable("a tool turn")]
    role = item[role_key]
    if isinstance(role, Mapping):
        role = role.get("role", role.get("name"))
    return [_message(str(role).strip().lower(), item[text_key or ""])]


def _filled_key(item: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    """Return the first of some keys that has a value, else the first that is there.

    Where files of two layouts were merged, each turn has the keys of both.
    """
    present = [key for key in keys if key in item]
    filled = [key for key in present if item[key] is not None]
    return next(iter(filled or present), None)


def _calls_tool(item: Mapping[str, Any]) -> bool:
    return bool(item.get("tool_calls") or item.get("function_call"))


def _message(role: str, content: Any) -> Message:
    """Return a turn in Credo's roles, or an unreadable one."""
    if role.startswith(TOOLS):
        return _unreadable("a tool turn")
    name = ROLES.get(role)
    if name is None:
        return _unreadable("a turn of an unknown role", role)
    try:
        return {"role": name, "content": read_content(content)}
    except Drop as drop:
        return _unreadable(drop.reason, drop.detail) | {"of": name}


def _unreadable(reason: str, detail: str = "") -> Message:
    return {"role": UNREADABLE, "content": f"{reason}|{detail}"}


def _is_list_of_one(text: str) -> bool:
    try:
        value, _ = parse_structured(text)
    except (NotStructured, Drop):
        return False
    return isinstance(value, list) and len(value) == 1 and isinstance(value[0], str)
