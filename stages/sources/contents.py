"""The content of one turn: a text, parts of text, or what is no text.

In: the value beside a role. Out: its text, without thoughts.
"""

import json
from collections.abc import Mapping
from typing import Any

from stages.guards.text import is_visible
from stages.runtime.context import Drop
from stages.sources.cells import is_empty

TEXT_PARTS = ("text", "input_text", "output_text")
OTHER_PARTS = ("image_url", "image", "input_image", "input_audio", "audio", "video", "file")
THOUGHT_PARTS = ("thinking", "reasoning", "redacted_thinking")


def read_content(content: Any) -> str:
    """Return the text of a turn; parts of text are joined by line breaks, thoughts left out.

    Raises:
        Drop: a part is not text.
    """
    if isinstance(content, str):
        parts = _parts_in(content)
        if parts is None:
            is_blank = bool(content.strip()) and not is_visible(content)
            return "" if is_blank else content
        content = parts
    if is_empty(content):
        return ""
    if isinstance(content, Mapping):
        content = content.get("parts", [content])
    if not isinstance(content, list):
        raise Drop(f"a {type(content).__name__} as the content of a turn")
    texts = []
    for part in content:
        kind, text = _read_part(part)
        if kind in TEXT_PARTS:
            texts.append(text)
        elif kind not in THOUGHT_PARTS:
            raise Drop("a part of a turn that is not text", kind)
    return "\n".join(texts)


def _parts_in(text: str) -> list[Any] | None:
    """Return the parts that a text holds as JSON; None for any other text."""
    if not text.startswith("["):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    kinds = (*TEXT_PARTS, *THOUGHT_PARTS, *OTHER_PARTS)
    if not isinstance(value, list) or not value:
        return None
    for part in value:
        if not isinstance(part, Mapping) or part.get("type") not in kinds or len(part) < 2:
            return None
    return value


def _read_part(part: Any) -> tuple[str, str]:
    """Return the kind of a part, and its text."""
    if isinstance(part, str):
        return "text", part
    if not isinstance(part, Mapping):
        return type(part).__name__, ""
    text = part.get("text")
    kind = str(part.get("type") or ("text" if isinstance(text, str) else min(part, default="")))
    return kind, text if isinstance(text, str) else ""
